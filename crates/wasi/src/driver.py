"""The guest's side of a turn: runs a block in `__main__` as a notebook would, and tells the host how it ended.

It lives in the memory image as the module `_cellblock`. The host calls `run`, under a name among the builtins that costs
nothing to look up; everything else here serves it. A block comes in and its status goes out through the control device,
because what the host passes to the guest as source has to be compiled first, and that is most of the cost of a short turn.
"""

import ast
import builtins
import gc
import io
import json
import linecache
import os
import random
import re
import sys
import traceback

_CONTROL = os.open("/dev/cellblock", os.O_RDWR)
_MAIN = sys.modules["__main__"].__dict__
_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_COROUTINE = 0x80  # inspect.CO_COROUTINE
_figures = 0


def prepare(environment, workspace):
    """Once, before the memory image is taken."""
    os.environ.update(environment)
    os.chdir(workspace)
    # Unbuffered: what a program has printed is out, also when it is stopped a moment later.
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.FileIO(1, "w", False), "utf-8", write_through=True)
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(
        io.FileIO(2, "w", False), "utf-8", errors="backslashreplace", write_through=True
    )
    _make_asyncio_work()
    sys.dont_write_bytecode = True
    sys.path.insert(0, "")
    builtins.exit = builtins.quit = sys.exit
    builtins.__cellblock__ = run


def _make_asyncio_work():
    """An event loop wakes itself up from other threads through a pair of sockets. Here are neither threads nor sockets."""
    from asyncio.selector_events import BaseSelectorEventLoop

    def make(loop):
        loop._ssock = loop._csock = None
        loop._internal_fds += 1

    def close(loop):
        loop._internal_fds -= 1

    BaseSelectorEventLoop._make_self_pipe = make
    BaseSelectorEventLoop._close_self_pipe = close


def settle():
    """Last of all before the memory image is taken. Two things would make a copy write to pages all over the image only to
    keep count of objects that are in it for good: reference counts, and the collector's marks. Both stop here."""
    for name in [name for name in _MAIN if not (name.startswith("__") and name.endswith("__"))]:
        del _MAIN[name]
    gc.collect()
    _immortalize()
    gc.freeze()


def _immortalize():
    """Tells the host where all living objects are; it makes them immortal (PEP 683) while they are held here. The first
    one is None, which shows how an immortal object looks in this interpreter."""
    from array import array
    from types import CodeType, FrameType

    living = [thing for thing in gc.get_objects() if not isinstance(thing, FrameType)]
    for start in range(0, len(living), 1000):
        held = living[start : start + 1000]
        held += gc.get_referents(*held)
        # The collector does not look into code.
        codes = [thing for thing in held if isinstance(thing, CodeType)]
        while codes:
            code = codes.pop()
            parts = [code.co_consts, code.co_names, code.co_varnames, code.co_name, code.co_qualname, code.co_filename]
            parts += [*code.co_consts, *code.co_names, *code.co_varnames, code.co_linetable, code.co_exceptiontable]
            codes += [part for part in code.co_consts if isinstance(part, CodeType)]
            held += parts
        os.write(_CONTROL, array("I", [id(None), *map(id, held)]).tobytes())


def _reseed():
    """What must not be the same in every copy of the image."""
    random.seed(int.from_bytes(os.urandom(16)))
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(int.from_bytes(os.urandom(4)))


def run(length, fresh=False, stdin=False):
    """Runs the block that the host has ready: `length` bytes, the first line of which is its name. With `fresh`, it is the
    first one in this copy of the image; with `stdin`, there is new input. The value of a last expression is shown."""
    filename, _, source = os.read(_CONTROL, length).decode().partition("\n")
    status = {"code": 0}
    try:
        if fresh:
            _reseed()
        if stdin:
            # What an earlier block left in the old one's buffer is gone with it.
            sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", False)), "utf-8")
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        _execute(source, filename)
    except SystemExit as end:
        status["code"] = _exit_code(end.code)
    except BaseException as error:
        status = _report(error)
    try:
        _save_figures()
    except BaseException as error:
        status = status if status["code"] else _report(error)
    if status["code"]:
        os.write(_CONTROL, json.dumps(status).encode())


def _execute(source, filename):
    if _shows_nothing(source):
        _evaluate(compile(source, filename, "exec", _FLAGS))
        return
    tree = compile(source, filename, "exec", _FLAGS | ast.PyCF_ONLY_AST)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    if tree.body:
        _evaluate(compile(tree, filename, "exec", _FLAGS))
    if last is not None:
        sys.displayhook(_evaluate(compile(last, filename, "eval", _FLAGS)))


# A last line that is an assignment, or a call of `print` and nothing else.
_ASSIGNMENT = re.compile(r"[A-Za-z_][\w.]*\s*[-+*/]?=(?!=)")
_PRINT = re.compile(r"print\([^()]*\)\s*$")


def _shows_nothing(source):
    """Whether the block surely has no value to show, so that it need not be taken apart. Only a guess that errs on the
    side of taking it apart: a line that could be the end of something longer is not trusted."""
    if source.rstrip().endswith(";"):
        return True
    line = source[source.rstrip().rfind("\n") + 1 :].rstrip()
    if "\"\"\"" in line or "'''" in line or line.count("(") != line.count(")") or line.count("[") != line.count("]"):
        return False
    if line.count("{") != line.count("}"):
        return False
    if _ASSIGNMENT.match(line):
        return True
    only_called = source.count("print") == source.count("print(") and "def print(" not in source
    return _PRINT.match(line) is not None and only_called and "print" not in _MAIN


def _evaluate(code):
    value = eval(code, _MAIN)
    if code.co_flags & _COROUTINE:
        import asyncio

        return asyncio.run(value)
    return value


def _exit_code(code):
    """As CPython's `sys.exit` documents it."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _report(error):
    """Shows an exception without the frames of this module."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    try:
        shown = traceback.TracebackException(type(error), error, trace)
        _drop_site_hint(shown)
        shown.print()
    except BaseException:
        # Out of memory, or an exception that cannot be shown.
        os.write(2, f"{type(error).__name__}\n".encode())
    # The host has seen which limits were hit; with the kind of the error it can tell whether one ended the program.
    kinds = [kind.__name__ for kind in (MemoryError, OSError) if isinstance(error, kind)]
    return {"code": 1, "exception": kinds[0] if kinds else type(error).__name__}


def _drop_site_hint(shown):
    """A missing module has nothing to do with site initialisation, which there is none of here."""
    while shown is not None:
        if isinstance(shown._str, str):
            shown._str = shown._str.partition(". Site initialization is disabled")[0]
        shown = shown.__cause__ or shown.__context__


def hook_figures():
    """Makes `plt.show()` write pictures. Called once matplotlib is imported, before the memory image is taken."""
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    save = Figure.savefig

    def savefig(self, *arguments, **options):
        result = save(self, *arguments, **options)
        self._cellblock_saved = True
        return result

    def show(*_arguments, **_options):
        _save_figures()

    Figure.savefig = savefig
    Figure.show = show
    pyplot.show = show


def _save_figures():
    """Writes the open figures as `figure-1.png` and so on, except those that the program saved itself."""
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
