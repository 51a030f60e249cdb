"""The guest's side of a turn: runs a block as a notebook would, and tells the host how it ended.

It follows `notebook.py` and `host.py`, with which it lives in the memory image as the module `_cellblock`. The host calls `run`, under a
name among the builtins that costs nothing to look up; everything else here serves it. A block comes in and its status goes
out through the control device, because what the host passes to the guest as source has to be compiled first, and that is
most of the cost of a short turn.
"""

# Some of these are only for the memory image to have them: no program shall wait for them when it fails.
import ast  # noqa: F401
import builtins
import gc
import io
import json
import linecache  # noqa: F401
import os
import random  # noqa: F401
import traceback  # noqa: F401

_CONTROL = os.open("/dev/cellblock", os.O_RDWR)


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


def _ask(question):
    """Asks the host. Reading is what waits for the answer, which ends as a file does."""
    parts = []
    try:
        os.write(_CONTROL, question)
        while part := os.read(_CONTROL, 1 << 16):
            parts.append(part)
    except OSError as error:
        raise ToolError(f"the line to the host is broken: {error}") from None
    return b"".join(parts)


def run(length, fresh=False, stdin=False):
    """Runs the block that the host has ready: `length` bytes, the first line of which is its name. With `fresh`, it is the
    first one in this copy of the image; with `stdin`, there is new input. The value of a last expression is shown."""
    filename, _, source = os.read(_CONTROL, length).decode().partition("\n")
    try:
        _forget_offers()
        if fresh:
            _reseed()
        if stdin:
            # What an earlier block left in the old one's buffer is gone with it.
            sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", False)), "utf-8")
    except BaseException as error:
        status = _report(error)
    else:
        status = _run_block(source, filename)
    if status["code"]:
        os.write(_CONTROL, json.dumps(status).encode())
