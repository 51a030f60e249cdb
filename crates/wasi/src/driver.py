"""The driver in the guest: runs one block in each turn, and reports to the host how it ended.

It follows `notebook.py` and `host.py` in the module `_cellblock` of the memory image. The host
calls `run` by a name among the builtins, which is found without an import. A block and its status
pass through the control device: source that the host passes to the guest directly has to be
compiled first, and that is most of the cost of a short turn.
"""

# Some of these are imported only so that the memory image has them: a program that fails must not
# wait for them.
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
    """Prepares the interpreter, once, before the memory image is made."""
    os.environ.update(environment)
    os.chdir(workspace)
    # Unbuffered, so that output is complete when the program is stopped.
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(
        io.FileIO(1, "w", False), "utf-8", write_through=True
    )
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(
        io.FileIO(2, "w", False), "utf-8", errors="backslashreplace", write_through=True
    )
    _make_asyncio_work()
    sys.dont_write_bytecode = True
    sys.path.insert(0, "")
    builtins.exit = builtins.quit = sys.exit
    builtins.__cellblock__ = run


def _make_asyncio_work():
    """Removes the pair of sockets by which other threads wake an event loop.

    There are neither threads nor sockets here."""
    from asyncio.selector_events import BaseSelectorEventLoop

    def make(loop):
        loop._ssock = loop._csock = None
        loop._internal_fds += 1

    def close(loop):
        loop._internal_fds -= 1

    BaseSelectorEventLoop._make_self_pipe = make
    BaseSelectorEventLoop._close_self_pipe = close


def settle():
    """Ends the preparation of the memory image.

    Reference counts and the collector's marks would make a copy write to pages all over the image,
    only to manage objects that are never freed. Both stop here."""
    for name in [name for name in _MAIN if not (name.startswith("__") and name.endswith("__"))]:
        del _MAIN[name]
    gc.collect()
    _immortalize()
    gc.freeze()


def _immortalize():
    """Passes the addresses of all living objects to the host, which makes them immortal (PEP 683)
    while this function holds them. The first address is that of None, an immortal object to copy
    the reference count from."""
    from array import array
    from types import CodeType, FrameType

    living = [thing for thing in gc.get_objects() if not isinstance(thing, FrameType)]
    for start in range(0, len(living), 1000):
        held = living[start : start + 1000]
        held += gc.get_referents(*held)
        # The collector does not visit the parts of code objects.
        codes = [thing for thing in held if isinstance(thing, CodeType)]
        while codes:
            code = codes.pop()
            parts = [code.co_consts, code.co_names, code.co_varnames]
            parts += [code.co_name, code.co_qualname, code.co_filename]
            parts += [*code.co_consts, *code.co_names, *code.co_varnames]
            parts += [code.co_linetable, code.co_exceptiontable]
            codes += [part for part in code.co_consts if isinstance(part, CodeType)]
            held += parts
        os.write(_CONTROL, array("I", [id(None), *map(id, held)]).tobytes())


def _ask(question):
    """Asks the host a question. Reading waits for the answer, which ends like a file."""
    parts = []
    try:
        os.write(_CONTROL, question)
        while part := os.read(_CONTROL, 1 << 16):
            parts.append(part)
    except OSError as error:
        raise ToolError(f"the connection to the host is broken: {error}") from None
    return b"".join(parts)


def run(length, fresh=False, stdin=False):
    """Runs the block that the control device provides: `length` bytes, with its name as the first
    line.

    `fresh` is true for the first block in this copy of the image, `stdin` if there is new input.
    The value of a last expression is shown."""
    filename, _, source = os.read(_CONTROL, length).decode().partition("\n")
    try:
        _forget_offers()
        if fresh:
            _reseed()
        if stdin:
            # Discards what an earlier block left in the buffer of the old input.
            sys.stdin = sys.__stdin__ = io.TextIOWrapper(
                io.BufferedReader(io.FileIO(0, "r", False)), "utf-8"
            )
    except BaseException as error:
        status = _report(error)
    else:
        status = _run_block(source, filename)
    if status["code"]:
        os.write(_CONTROL, json.dumps(status).encode())
