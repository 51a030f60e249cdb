"""The module `host`, through which a program calls functions of the host: `from host import tools`.

This is the program's side in all executors. It stands between `notebook.py` and the driver's own
text, in the same namespace. The driver must define `_ask(question)`, which sends bytes to the host
and returns its answer, and must call `_forget_offers` when a block begins. `calls.rs` is the host's
side, and describes questions and answers.

Nothing is asked and nothing is imported before a program uses `tools`: most programs never do.
"""

import _thread

_MAX_BYTES = 8 << 20  # MAX_HOST_CALL_BYTES
# JSON's types, as annotations.
_TYPES = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
}
_libraries = {}
_loading = _thread.RLock()
# The functions that this block may call, by name; None until they are requested.
_offers = None


class ToolError(Exception):
    """A call of a function of the host failed, for the reason in its text."""


class Tools:
    """The functions of the host that this block may call.

    `tools.search(query="x")` calls one; `tools["any name"](x=1)` calls one whose name is not a
    Python name. `help(tools.search)` shows its arguments. Iterating over `tools` gives the names.
    """

    __slots__ = ()

    def __getattr__(self, name):
        # Python itself looks for such names on every object, so the host is not asked.
        if name.startswith("__"):
            raise AttributeError(f"host.tools has no attribute {name!r}")
        function = _offered().get(name)
        if function is None:
            raise AttributeError(_unknown(name))
        return function

    def __getitem__(self, name):
        function = _offered().get(name)
        if function is None:
            raise KeyError(_unknown(name))
        return function

    def __dir__(self):
        return [name for name in _offered() if name.isidentifier()]

    def __iter__(self):
        return iter(list(_offered()))

    def __len__(self):
        return len(_offered())

    def __contains__(self, name):
        return name in _offered()

    def __repr__(self):
        functions = list(_offered().values())
        if not functions:
            return "<host.tools: this block cannot call host functions>"
        return "<host.tools:" + "".join(f"\n  {function._line()}" for function in functions) + ">"


class Function:
    # No docstring: `help` shows that of the instance.

    def __init__(self, offer):
        self.__name__ = self.__qualname__ = offer["name"]
        self.__module__ = "host"
        schema = offer["parameters"] if isinstance(offer["parameters"], dict) else {}
        properties = schema.get("properties")
        self._properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        self._required = [name for name in required if name in self._properties]
        # As in Python, optional arguments come last.
        optional = [name for name in self._properties if name not in self._required]
        self._order = self._required + optional
        self._closed = schema.get("additionalProperties") is False
        self.__doc__ = _documentation(offer["description"], self._order, self._properties)

    def __get__(self, instance, owner=None):
        # This makes `help` treat it as a function, and not as an object of a class.
        return self

    def __call__(self, /, *values, **named):
        return _call(self.__name__, self._arguments(values, named))

    def __repr__(self):
        return f"<host.tools function {self._line()}>"

    def _line(self):
        try:
            return f"{self.__name__}{self.__signature__}"
        except ValueError:
            return self.__name__

    def _arguments(self, values, named):
        """Returns the arguments by name."""
        if len(values) > len(self._order):
            maximum = len(self._order)
            arguments = f"{maximum} argument{'' if maximum == 1 else 's'}"
            raise TypeError(
                f"{self.__name__}() takes {arguments} without a name, not {len(values)}"
            )
        arguments = dict(zip(self._order, values))
        for name, value in named.items():
            if name in arguments:
                raise TypeError(f"{self.__name__}() got two values for {name!r}")
            if self._closed and name not in self._properties:
                known = ", ".join(self._order) or "none"
                raise TypeError(f"{self.__name__}() has no argument {name!r}; it takes {known}")
            arguments[name] = value
        missing = [repr(name) for name in self._required if name not in arguments]
        if missing:
            raise TypeError(f"{self.__name__}() needs {', '.join(missing)}")
        return arguments

    @property
    def __signature__(self):
        inspect = _library("inspect")
        Parameter = inspect.Parameter
        parameters, others = [], not self._closed and not self._order
        for name in self._order:
            schema = self._properties[name] if isinstance(self._properties[name], dict) else {}
            if not name.isidentifier() or _library("keyword").iskeyword(name):
                # It can be given as `**{name: value}`, and later arguments only by name.
                others = True
                continue
            default = Parameter.empty
            if name not in self._required:
                default = schema.get("default", _Omitted())
            kind = Parameter.KEYWORD_ONLY if others else Parameter.POSITIONAL_OR_KEYWORD
            annotation = Parameter.empty
            if isinstance(schema.get("type"), str):
                annotation = _TYPES.get(schema["type"], annotation)
            parameters.append(Parameter(name, kind, default=default, annotation=annotation))
        if others:
            rest = "others"
            while rest in self._order:
                rest += "_"
            parameters.append(Parameter(rest, Parameter.VAR_KEYWORD))
        return inspect.Signature(parameters)


class _Omitted:
    """The default of an argument that is passed only if it is given."""

    def __repr__(self):
        return "..."


def _documentation(description, order, properties):
    lines = []
    for name in order:
        schema = properties[name]
        if isinstance(schema, dict) and isinstance(schema.get("description"), str):
            lines.append(f"{name}: {schema['description']}")
    return "\n\n".join(part for part in (description, "\n".join(lines)) if part)


def _offered():
    """Returns the functions that this block may call, by name."""
    global _offers
    offers = _offers
    if offers is None:
        offers = {offer["name"]: Function(offer) for offer in _decoded(_ask(b"l"))}
        _offers = offers
    return offers


def _forget_offers():
    """Forgets the functions of the previous block when a block begins. If they were not requested,
    nothing is written: a page of memory that a turn writes to is a page to copy."""
    global _offers
    if _offers is not None:
        _offers = None


def _unknown(name):
    offers = _offered()
    if not offers:
        return f"host.tools has no function {name!r}: this block cannot call host functions"
    return f"host.tools has no function {name!r}; there are: {', '.join(offers)}"


def _call(name, arguments):
    try:
        # Without escapes, which would make a text of another script three times as long.
        text = _library("json").dumps(
            [name, arguments], allow_nan=False, ensure_ascii=False, separators=(",", ":")
        )
        question = b"c" + text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name}(): the arguments are not valid JSON: {error}") from None
    if len(question) > _MAX_BYTES:
        raise ToolError(
            f"{name}(): the arguments are longer than {_MAX_BYTES} bytes as JSON; pass less at once"
        )
    return _decoded(_ask(question))


def _decoded(answer):
    if answer[:1] != b"v":
        raise ToolError(answer[1:].decode(errors="replace") or "the host did not answer")
    return _library("json").loads(answer[1:])


def _library(name):
    """Returns a module of the library, imported without the directories of the program: a program
    may have a file called `json.py`."""
    module = _libraries.get(name)
    if module is None:
        # Another thread may be importing it.
        with _loading:
            path, sys.path = sys.path, _PATH
            try:
                __import__(name)
            finally:
                sys.path = path
            module = _libraries[name] = sys.modules[name]
    return module


def _make_host_module():
    """Registers the module, so that it exists in all blocks. A file `host.py` of the program does
    not replace it: it would do so in some blocks, but not in those after an `import host`."""
    text = "Functions of the host: `from host import tools`, then `dir(tools)`."
    module = type(sys)("host", text)
    for kind in (ToolError, Tools, Function):
        kind.__module__ = "host"
    module.tools, module.ToolError = Tools(), ToolError
    module.__all__ = ["tools", "ToolError"]
    sys.modules["host"] = module


_make_host_module()
