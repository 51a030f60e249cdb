"""Python's semaphores and shared memory, kept in the cell's own files.

`multiprocessing` keeps both in `/dev/shm`, which belongs to all programs of the machine and is
closed to a cell that sees the host's root. Here a semaphore is a named pipe that contains a byte
for each time it can be acquired, and shared memory is a file, which counts against the limit on
disk.
"""

import os
import sys

# The capacity of every pipe, in bytes: at least a page.
_MAX_IN_PIPE = 4096
# The end of the name of the file with the rest of a semaphore's value.
_REST = ".rest"
_DIRECTORY = os.environ.get("TMPDIR", "/tmp") + "/.shared-memory"


def _place(name):
    os.makedirs(_DIRECTORY, 0o700, exist_ok=True)
    return f"{_DIRECTORY}/{name.strip('/').replace('/', '_')}"


def _shm_open(path, flags, mode=0o777):
    return os.open(_place(path), flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


def _unlink(path):
    os.unlink(_place(path))


def _unlink_semaphore(name):
    _unlink(name)
    os.unlink(_place(name) + _REST)


class SemLock:
    """A semaphore with the interface of `_multiprocessing.SemLock`.

    A pipe can contain few bytes, but queues start with a value that stands for "no bound". So a
    file contains the rest of a large value; it is used while the pipe is empty or full.
    """

    SEM_VALUE_MAX = 0x7FFFFFFF

    def __init__(self, kind, value, maxvalue, name, unlink):
        in_pipe = value if value <= _MAX_IN_PIPE else 0
        os.mkfifo(_place(name), 0o600)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        rest = os.open(_place(name) + _REST, flags, 0o600)
        os.write(rest, (value - in_pipe).to_bytes(8, "little"))
        os.close(rest)
        self._open(kind, maxvalue, name)
        os.write(self.handle, bytes(in_pipe))
        if unlink:
            _unlink_semaphore(name)
            self.name = None

    @classmethod
    def _rebuild(cls, handle, kind, maxvalue, name):
        self = cls.__new__(cls)
        self._open(kind, maxvalue, name)
        return self

    def _open(self, kind, maxvalue, name):
        import _thread

        self.kind, self.maxvalue, self.name = kind, maxvalue, name
        self._times, self._thread = 0, 0
        self._among_threads = _thread.allocate_lock()
        # For reading and writing, so that the bytes stay while any process has the pipe open.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        self.handle = os.open(_place(name), flags)
        self._rest = os.open(_place(name) + _REST, flags)

    def __del__(self):
        try:
            os.close(self.handle)
            os.close(self._rest)
        except (AttributeError, OSError):
            pass

    def acquire(self, block=True, timeout=None):
        import select
        import time

        if self.kind == 0 and self._is_mine():
            self._times += 1
            return True
        end = None if timeout is None else time.monotonic() + max(timeout, 0)
        while not self._take():
            remaining = None if end is None else max(end - time.monotonic(), 0) * 1000
            if not block or remaining == 0:
                return False
            poll = select.poll()
            poll.register(self.handle, select.POLLIN)
            poll.poll(remaining)
        self._times, self._thread = self._times + 1, _ident()
        return True

    def release(self):
        if self.kind == 0:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._times > 1:
                self._times -= 1
                return
        elif self._get_value() >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        self._times -= 1
        try:
            os.write(self.handle, b"\0")
        except BlockingIOError:
            self._change_rest(1)

    def _take(self):
        try:
            return bool(os.read(self.handle, 1))
        except BlockingIOError:
            return self._change_rest(-1)

    def _change_rest(self, change):
        """Adds to the number in the file. Returns False if it would be negative."""
        import fcntl

        # A file lock excludes other processes, but not threads of this one.
        with self._among_threads:
            fcntl.lockf(self._rest, fcntl.LOCK_EX)
            try:
                value = int.from_bytes(os.pread(self._rest, 8, 0), "little") + change
                if value < 0:
                    return False
                os.pwrite(self._rest, value.to_bytes(8, "little"), 0)
                return True
            finally:
                fcntl.lockf(self._rest, fcntl.LOCK_UN)

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()

    def _count(self):
        return self._times

    def _is_mine(self):
        return self._times > 0 and self._thread == _ident()

    def _get_value(self):
        import fcntl

        FIONREAD = 0x541B
        waiting = int.from_bytes(fcntl.ioctl(self.handle, FIONREAD, bytes(4)), sys.byteorder)
        return waiting + int.from_bytes(os.pread(self._rest, 8, 0), "little")

    def _is_zero(self):
        return self._get_value() == 0

    def _after_fork(self):
        import _thread

        self._times = 0
        self._among_threads = _thread.allocate_lock()


def _ident():
    import _thread

    return _thread.get_ident()


def _module(name, **members):
    module = type(sys)(name)
    module.__dict__.update(members)
    sys.modules[name] = module


_module("_multiprocessing", SemLock=SemLock, sem_unlink=_unlink_semaphore, flags={})
_module("_posixshmem", shm_open=_shm_open, shm_unlink=_unlink)


class _Finder:
    """Finds the one module that uses `/dev/shm` directly, and corrects it."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "multiprocessing.heap":
            return None
        import importlib.util

        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            # Without candidates, it uses the directory for temporary files.
            module.Arena._dir_candidates = []

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
