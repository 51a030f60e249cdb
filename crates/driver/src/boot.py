import marshal
import os
import sys

# The byte before a compiled program; `protocol.rs` has the same.
_COMPILED = b"c"


def read(length):
    parts = []
    while length:
        parts.append(os.read(0, length))
        length -= len(parts[-1])
        if not parts[-1]:
            os._exit(0)
    return b"".join(parts)


magic = sys.modules["_frozen_importlib_external"].MAGIC_NUMBER
compiled, length = read(1) == _COMPILED, int.from_bytes(read(4), "little")
program = read(length)
if compiled and not program.startswith(magic):
    os._exit(3)
code = marshal.loads(program[len(magic) :]) if compiled else compile(program, "<cellblock>", "exec")
module = type(sys)
driver = sys.modules["_cellblock"] = module("_cellblock")
sys.modules["__main__"] = module("__main__")
exec(code, driver.__dict__)
if not compiled:
    driver._send(driver._PROGRAM, magic + marshal.dumps(code))
driver.start(eval(sys.argv[1], {"true": True, "false": False, "null": None}))
