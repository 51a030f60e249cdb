"""Runs a block of Python as a notebook does: in `__main__`, whose variables stay, with `await` at
the top level. The value of a last expression is shown, and open figures are written as files.

The drivers of all executors share this part. A driver is this text followed by its own, in one
namespace that is not `__main__`'s. It runs before directories of the program are added to
`sys.path`, and calls `_run_block` for each block. Nothing is imported before it is needed: a
session must not wait for modules that its program may never use.
"""

import sys

_MAIN = sys.modules["__main__"].__dict__
_FLAGS = 0x2000  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST
_COROUTINE = 0x80  # inspect.CO_COROUTINE
_PATH = list(sys.path)
_sources = {}
_figures = 0


def _run_block(source, filename):
    """Runs a block, which tracebacks call `filename`. Returns its status: `code`, the exit code,
    and after an exception the keys of `_report`."""
    status = {"code": 0}
    try:
        _remember(source, filename)
        _execute(source, filename)
    except SystemExit as end:
        status["code"] = _exit_code(end.code)
    except BaseException as error:
        status = _report(error)
    try:
        _save_figures()
    except BaseException as error:
        status = status if status["code"] else _report(error)
    return status


def _execute(source, filename):
    if _shows_nothing(source):
        _evaluate(compile(source, filename, "exec", _FLAGS))
        return
    import _ast

    tree = compile(source, filename, "exec", _FLAGS | _ONLY_AST)
    last = None
    if tree.body and isinstance(tree.body[-1], _ast.Expr):
        last = _ast.Expression(tree.body.pop().value)
    if tree.body:
        _evaluate(compile(tree, filename, "exec", _FLAGS))
    if last is not None:
        sys.displayhook(_evaluate(compile(last, filename, "eval", _FLAGS)))


def _shows_nothing(source):
    """True if the block surely has no value to show, so that it need not be parsed: its last line
    is only an assignment or a call of `print`. In doubt it is false: a line that could be the end
    of something longer, or hold a second statement, is not trusted."""
    source = source.rstrip()
    if source.endswith(";"):
        return True
    start = source.rfind("\n") + 1
    line = source[start:]
    calls = line.count("(")
    if calls != line.count(")") or line.count("[") != line.count("]"):
        return False
    if line.count("{") != line.count("}") or ";" in line or '"""' in line or "'''" in line:
        return False
    if source[:start].rstrip("\r\n").endswith("\\"):
        return False
    if calls == 1 and line.startswith("print(") and line.endswith(")"):
        only_called = source.count("print") == source.count("print(")
        return only_called and "def print(" not in source and "print" not in _MAIN
    target, equals, value = line.partition("=")
    if not equals or value.startswith("="):
        return False
    if target.endswith(("+", "-", "*", "/")):
        target = target[:-1]
    return target.rstrip().replace(".", "_").isidentifier()


def _evaluate(code):
    value = eval(code, _MAIN)
    if code.co_flags & _COROUTINE:
        import asyncio

        return asyncio.run(value)
    return value


def _exit_code(code):
    """Returns the exit code for the argument of `sys.exit`, as CPython documents it."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _report(error):
    """Shows an exception without the frames of the driver. Returns the status of its block."""
    trace = _without_own(error.__traceback__)
    try:
        shown = _traceback().TracebackException(type(error), error, trace)
        _drop_site_hint(shown)
        # Printing to no file would print to standard output.
        shown.print(file=sys.stderr or sys.__stderr__)
    except MemoryError:
        _complain(type(error).__name__)
    except BaseException:
        # The program hides a module of the library, or closed `sys.stderr`, or the exception
        # cannot be shown.
        _complain(_plain(error, trace))
    # The host knows which limits were reached. The kind of the error says if one of them ended the
    # program.
    kinds = [kind.__name__ for kind in (MemoryError, OSError) if isinstance(error, kind)]
    status = {"code": 1, "exception": kinds[0] if kinds else type(error).__name__}
    if isinstance(error, OSError) and isinstance(error.errno, int):
        status["errno"] = error.errno
    return status


def _without_own(trace):
    """Returns a traceback without the frames of the driver: those at its start, and those of our
    hooks further in."""
    own = globals()
    while trace is not None and trace.tb_frame.f_globals is own:
        trace = trace.tb_next
    last = trace
    while last is not None:
        following = last.tb_next
        while following is not None and following.tb_frame.f_globals is own:
            following = following.tb_next
        if following is not last.tb_next:
            last.tb_next = following
        last = following
    return trace


def _traceback():
    """Returns the module `traceback`, imported without the directories of the program: a program
    may have a file called `token.py`."""
    if "traceback" not in sys.modules:
        path, sys.path = sys.path, _PATH
        try:
            import traceback
        finally:
            sys.path = path
    return sys.modules["traceback"]


def _plain(error, trace):
    """Returns an exception as text, without any module: the last frames are enough."""
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}')
        trace = trace.tb_next
    kind = type(error).__name__
    try:
        return "\n".join(["Traceback (most recent call last):", *frames[-20:], f"{kind}: {error}"])
    except BaseException:
        return kind


def _complain(text):
    """Writes to standard error, even if the program has changed `sys.stderr`."""
    import os

    try:
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass


def _drop_site_hint(shown):
    """Removes the hint about site initialisation, which is always off here and not the reason why
    a module is missing."""
    while shown is not None:
        if isinstance(getattr(shown, "_str", None), str):
            shown._str = shown._str.partition(". Site initialization is disabled")[0]
        shown = shown.__cause__ or shown.__context__


def _reseed():
    """Gives new seeds to generators whose numbers must differ between copies of a process."""
    from os import urandom

    random = sys.modules.get("random")
    if random is not None:
        random.seed(int.from_bytes(urandom(16), "big"))
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(int.from_bytes(urandom(4), "big"))


class _Watch:
    """Calls a function once a module has been imported. It stands before the finders of modules,
    and finds none itself."""

    def __init__(self):
        self.actions = {}

    def upon(self, name, action):
        """Calls `action` now if the module is imported, else once it is. It must not fail the
        import, so its exceptions are ignored."""
        if name in sys.modules:
            action()
            return
        self.actions[name] = action
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name not in self.actions:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if finder is not self and find is not None else None
            if spec is not None:
                self._wrap(spec.loader, name)
                return spec
        return None

    def _wrap(self, loader, name):
        # Some loaders are classes, shared by all modules of their kind.
        if isinstance(loader, type) or not hasattr(loader, "exec_module"):
            return
        load = loader.exec_module

        def exec_module(module):
            load(module)
            if module.__name__ == name:
                loader.__dict__.pop("exec_module", None)
                self._imported(name)

        try:
            loader.exec_module = exec_module
        except AttributeError:
            pass

    def _imported(self, name):
        action = self.actions.pop(name, None)
        if not self.actions and self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            if action is not None:
                action()
        except Exception:
            pass


_watch = _Watch()


def _remember(source, filename):
    """Records a block's text for tracebacks, which read it from `linecache`."""
    linecache = sys.modules.get("linecache")
    cache = _sources if linecache is None else linecache.cache
    cache[filename] = (len(source), None, source.splitlines(True), filename)


def _pass_on_sources():
    sys.modules["linecache"].cache.update(_sources)
    _sources.clear()


_watch.upon("linecache", _pass_on_sources)


def hook_figures_on_import():
    """Calls `hook_figures` as soon as the program imports pyplot. The environment should have
    `MPLBACKEND=agg`, or matplotlib tries every window system first."""
    _watch.upon("matplotlib.pyplot", hook_figures)


def hook_figures():
    """Makes `plt.show()` write pictures. Called after `matplotlib.pyplot` is imported."""
    pyplot = sys.modules["matplotlib.pyplot"]
    Figure = pyplot.Figure
    save = Figure.savefig

    def savefig(self, *arguments, **options):
        result = save(self, *arguments, **options)
        self._cellblock_saved = True
        return result

    def show(*_arguments, **_options):
        _save_figures()

    Figure.savefig = savefig
    Figure.show = show
    Figure._cellblock_saved = False
    pyplot.show = show


def _save_figures():
    """Writes the open figures as `figure-1.png` and so on, except those that the program saved."""
    global _figures
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not pyplot._pylab_helpers.Gcf.figs:
        return
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        if not getattr(figure, "_cellblock_saved", False):
            _figures += 1
            figure.savefig(f"figure-{_figures}.png")
    pyplot.close("all")
