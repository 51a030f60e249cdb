"""The driver of a cell: starts what blocks need, keeps files in order, and speaks with the host over one stream.

It is the cell's first process. Block code never runs in it: Python runs in a worker, a fork of it that keeps its variables
from block to block; other languages run in programs of their own. `notebook.py` and `host.py` stand before this text, in
the same module. Every session starts it anew, so it imports little, and nothing of a package.

A message is one byte that names its kind, four bytes of length, and fields: each four bytes of length and its content. All
numbers are little-endian or decimal text. `wire.rs` is the host's side and lists the kinds.
"""

import _signal
import _thread
import os
import select
import sys

_HOST_IN, _HOST_OUT = 0, 1
_CHUNK = 1 << 16
_SIGINT, _SIGKILL, _SIGPIPE, _SIGCHLD, _SIGXFSZ = 2, 9, 13, 17, 25
_EBADF, _ENOSPC, _EFBIG, _EPIPE, _EDQUOT = 9, 28, 27, 32, 122
_MOST_ARTIFACTS, _MOST_ARTIFACT_BYTES = 1000, 64 << 20
_MOST_DESCRIPTORS = 4096
_MOST_QUESTION = _MOST_BYTES + 1


class _Gone(Exception):
    """The other end of a stream is closed."""


# Messages


def _encode(kind, *fields):
    body = b"".join(len(field).to_bytes(4, "little") + field for field in fields)
    return kind + len(body).to_bytes(4, "little") + body


def _write(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _tell(kind, *fields):
    _write(_HOST_OUT, _encode(kind, *fields))


def _read(descriptor, length):
    data = os.read(descriptor, length)
    if len(data) == length:
        return data
    parts = [data]
    while length := length - len(parts[-1]):
        parts.append(os.read(descriptor, min(length, 1 << 20)))
        if not parts[-1]:
            raise _Gone
    return b"".join(parts)


def _receive(descriptor):
    head = _read(descriptor, 5)
    body = _read(descriptor, int.from_bytes(head[1:], "little"))
    fields, at = [], 0
    while at < len(body):
        end = at + 4 + int.from_bytes(body[at : at + 4], "little")
        fields.append(body[at + 4 : end])
        at = end
    return head[:1], fields


def _number(value):
    return b"" if value is None else str(value).encode()


# The cell


class _Cell:
    """What the driver knows: its configuration, and what goes on now."""


_cell = _Cell()


def start(config):
    """Makes this process the driver, until the host closes the stream."""
    _signal.signal(_SIGINT, _signal.SIG_IGN)
    _cell.config = config
    _cell.environment = {
        "PATH": config["path"],
        "HOME": config["temporary"],
        "TMPDIR": config["temporary"],
        "LANG": "C.UTF-8",
        "USER": "cell",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": config["temporary"] + "/.matplotlib",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        # One thread for each processor of the host would exhaust the limit on processes.
        "OPENBLAS_NUM_THREADS": "1",
    }
    if config["modules"]:
        _cell.environment["PYTHONPATH"] = config["modules"]
    _cell.packages = None
    _cell.worker = None
    _cell.run = None
    # Whether the worker ended since a block said so.
    _cell.lost = False
    _cell.files = {}
    _cell.connections = {}
    # Counts questions to the host.
    _cell.questions = 0
    _set_limits(config)
    os.umask(0o022)
    os.chdir(config["workspace"])
    _cell.meters = _open_meters()
    _cell.poll = select.poll()
    _cell.poll.register(_HOST_IN, select.POLLIN)
    _cell.children, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _cell.poll.register(_cell.children, select.POLLIN)
    # Wakes the loop when a child ends, so that no zombie counts against the limit on processes for long.
    os.set_blocking(wake, False)
    _signal.signal(_SIGCHLD, lambda *_: None)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _cell.wake = wake
    _cell.interpreters = _find_interpreters(config)
    if config["relays"]:
        _listen(config["relays"])
    _cell.worker = _start_worker()
    version = ".".join(map(str, sys.version_info[:3])).encode()
    _tell(b"h", version, *[name.encode() for name in _cell.interpreters])
    # Programs of the cell run as the same user; none may look into this process.
    _set_dumpable(0)
    try:
        while True:
            _turn()
    except (_Gone, BrokenPipeError, ConnectionError):
        _kill_programs()
        os._exit(0)


def _set_dumpable(value):
    """Keeps programs of the same user from reading or writing this process's memory, or allows it again."""
    try:
        import _ctypes

        PR_SET_DUMPABLE = 4
        _ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl"), (PR_SET_DUMPABLE, value, 0, 0, 0))
    except Exception:
        # Without it a program could lie about itself a little more; what the kernel and the host enforce stays.
        pass


def _set_limits(config):
    import resource

    def lower(which, value):
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, _MOST_DESCRIPTORS)
    if config["disk"] < 1 << 62:
        # A file that is almost all hole would pass a quota of blocks.
        lower(resource.RLIMIT_FSIZE, config["disk"])
    if config["data"] is not None:
        lower(resource.RLIMIT_DATA, config["data"])
    if config["processes"] is not None:
        lower(resource.RLIMIT_NPROC, config["processes"])


def _find_interpreters(config):
    found = {}
    directories = config["path"].split(":")
    for interpreter in config["interpreters"]:
        paths = (f"{directory}/{program}" for program in interpreter["programs"] for directory in directories)
        program = next((path for path in paths if os.access(path, os.X_OK)), None)
        if program is not None:
            found[interpreter["language"]] = (program, interpreter)
    return found


# What the cell uses, as its control group counts it


def _open_meters():
    meters = {}
    if not _cell.config["alone"]:
        # Then what stands there is not the cell's own group.
        return meters
    for name, places in {
        "cpu": ("cpuacct/cpuacct.usage", "cpu,cpuacct/cpuacct.usage", "cpu/cpuacct.usage", "cpu.stat"),
        "memory": ("memory/memory.usage_in_bytes", "memory.current"),
        "oom": ("memory/memory.oom_control", "memory.events"),
        "pids": ("pids/pids.events", "pids.events"),
    }.items():
        for place in places:
            try:
                meters[name] = os.open("/sys/fs/cgroup/" + place, os.O_RDONLY)
                break
            except OSError:
                continue
    return meters


def _meter(name, key=None):
    """The value that a control group tells; 0 where it tells none."""
    try:
        text = os.pread(_cell.meters[name], 4096, 0)
    except (KeyError, OSError):
        return 0
    if key is None or text[:1].isdigit():
        return int(text)
    for line in text.splitlines():
        if line.startswith(key):
            return int(line[len(key) :])
    return 0


def _cpu_us():
    if "cpu" not in _cell.meters:
        return 0
    value = _meter("cpu", b"usage_usec ")
    # Version 1 counts nanoseconds and has nothing but the number.
    return value // 1000 if os.pread(_cell.meters["cpu"], 1, 0).isdigit() else value


# The loop


def _turn():
    """Waits for something to happen, and sees to it."""
    run = _cell.run
    limited = run is not None and run.cpu_limit is not None
    for descriptor, _ in _cell.poll.poll(10 if limited else None):
        # What may close descriptors and open others ends the round: the number of one that is still on the list may now be
        # another's.
        if descriptor == _HOST_IN:
            _obey(*_receive(_HOST_IN))
            break
        elif descriptor == _cell.children:
            _reap()
            break
        elif _cell.run is not None and descriptor in _cell.run.outputs:
            _forward(_cell.run, descriptor)
        elif _cell.worker is not None and descriptor == _cell.worker.status:
            _hear_worker()
            break
        elif _cell.worker is not None and descriptor == _cell.worker.questions:
            _hear_questions(_cell.worker)
            break
        elif _cell.worker is not None and descriptor == _cell.worker.answers:
            _send_answers(_cell.worker)
            break
        elif descriptor in _cell.connections:
            _relay(descriptor)
        else:
            _unregister(descriptor)
    run = _cell.run
    if run is not None and run.cpu_limit is not None and _cpu_us() - run.cpu >= run.cpu_limit:
        run.cpu_limit = None
        run.stopped, run.lost = b"cpu", True
        _kill_programs()


def _obey(kind, fields):
    if kind == b"r":
        _begin(*fields)
    elif kind == b"w":
        _write_file(*fields)
    elif kind == b"k":
        if _cell.run is not None and _cell.run.number == fields[0]:
            _cell.run.stopped = b"host"
            _cell.run.lost = True
            _kill_programs()
    elif kind == b"s":
        pairs = [field.decode("utf-8", "surrogateescape") for field in fields]
        _cell.environment.update(zip(pairs[::2], pairs[1::2]))
        _to_worker(b"s", *fields)
    elif kind == b"u":
        _cell.packages = tuple(field.decode() for field in fields)
        _to_worker(b"u", *fields)
        _tell(b"y")
    elif kind == b"q":
        _hear_answer(*fields)
    elif kind in (b"x", b"z", b"v"):
        _from_host(kind, *fields)


def _unregister(descriptor):
    try:
        _cell.poll.unregister(descriptor)
    except KeyError:
        pass


def _reap():
    try:
        while os.read(_cell.children, 4096):
            pass
    except BlockingIOError:
        pass
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _ended(pid, status)


def _ended(pid, status):
    run, worker = _cell.run, _cell.worker
    code = os.waitstatus_to_exitcode(status)
    if worker is not None and pid == worker.pid:
        if run is not None and run.worker is worker:
            run.lost = True
            # What it said before it ended counts.
            untouched = not _last_words(worker) and not _has_begun(worker) and not run.stopped
            if _cell.run is not None and not untouched:
                _finish(run, code if code >= 0 else None, -code if code < 0 else None)
        else:
            # The next block's result tells it, or this one's if it is of another language.
            untouched, _cell.lost = False, True
        _drop_worker()
        _cell.worker = _start_worker()
        if untouched:
            # What killed it was something else, left running by an earlier block.
            _hand_over(run)
    elif run is not None and pid == run.pid:
        _finish(run, code if code >= 0 else None, -code if code < 0 else None)


def _kill_programs():
    """Kills all programs of the cell."""
    if _cell.config["alone"]:
        try:
            # As process 1 this reaches every other process of the cell, and nothing else.
            os.kill(-1, _SIGKILL)
        except OSError:
            pass
        return
    # The host has killed what is below the direct children.
    for pid in (_cell.run.pid if _cell.run is not None else None, _cell.worker.pid if _cell.worker is not None else None):
        if pid is not None:
            try:
                os.kill(pid, _SIGKILL)
            except OSError:
                # It has ended, or signals are denied to all programs here, ours too: then the host alone kills.
                pass


# Blocks


class _Run:
    """A block that runs."""

    def __init__(self, number):
        self.number = number
        self.pid = None
        self.worker = None
        self.outputs = {}
        self.stopped = b""
        self.lost, _cell.lost = _cell.lost, False
        limit = _cell.config["cpu_ms"]
        self.cpu_limit = None if limit is None else limit * 1000
        self.cpu = _cpu_us()
        self.oom = _meter("oom", b"oom_kill ")
        self.pids = _meter("pids", b"max ")
        self.exception, self.errno = b"", b""
        self.request = None


def _begin(number, language, filename, name, code, stdin):
    """Runs a block. With a file name its code is in the workspace already."""
    run = _cell.run = _Run(number)
    if language == b"python":
        run.request = _encode(b"r", name, code, stdin)
        _hand_over(run)
        return
    program, interpreter = _cell.interpreters[language.decode()]
    try:
        path = filename if filename else _temporary_file(interpreter["extension"], code)
    except OSError as error:
        run.exception, run.errno = b"OSError", _number(error.errno)
        _finish(run, 1, None)
        return
    out, out_end = os.pipe2(os.O_CLOEXEC)
    err, err_end = os.pipe2(os.O_CLOEXEC)
    input_end = _memory_file(stdin)
    arguments = [program, *interpreter["arguments"], os.fsdecode(path)]
    actions = [(os.POSIX_SPAWN_DUP2, input_end, 0), (os.POSIX_SPAWN_DUP2, out_end, 1), (os.POSIX_SPAWN_DUP2, err_end, 2)]
    try:
        run.pid = os.posix_spawn(
            program,
            arguments,
            _program_environment(),
            file_actions=actions,
            setsigdef=[_SIGINT, _SIGPIPE, _SIGCHLD, _SIGXFSZ],
        )
    except OSError as error:
        run.exception, run.errno = b"OSError", _number(error.errno)
    for descriptor in (input_end, out_end, err_end):
        os.close(descriptor)
    run.outputs = {out: b"o", err: b"e"}
    for descriptor in run.outputs:
        os.set_blocking(descriptor, False)
        _cell.poll.register(descriptor, select.POLLIN)
    if run.pid is None:
        _finish(run, 126, None)
    else:
        _prefer_to_kill(run.pid)


def _hand_over(run):
    """Gives a Python block to the worker."""
    worker = run.worker = _cell.worker
    run.outputs = worker.outputs
    # Between two blocks nobody reads: what a program writes then waits in the pipe for the next one.
    for descriptor in worker.outputs:
        _cell.poll.register(descriptor, select.POLLIN)
    try:
        _write(worker.requests, run.request)
    except BrokenPipeError:
        # It ended a moment ago; that news is on its way.
        pass


def _temporary_file(extension, code):
    path = f"{_cell.config['temporary']}/.block-{_cell.run.number.decode()}.{extension}"
    with open(path, "wb") as file:
        file.write(code)
    return path


def _memory_file(content):
    if not content:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    except OSError:
        # Where memory is watched there must be none that belongs to no process.
        # Not O_TMPFILE, which fails under Landlock on the overlay of a container.
        path = f"{_cell.config['temporary']}/.stdin"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
    _write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _prefer_to_kill(pid):
    """When memory runs out, programs go before their driver."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


def _program_environment():
    environment = dict(_cell.environment)
    if _cell.packages is not None:
        modules, programs = _cell.packages
        environment["PATH"] = programs + ":" + environment["PATH"]
        environment["PYTHONPATH"] = _python_path(modules)
    return environment


def _python_path(packages):
    modules = _cell.config["modules"]
    return f"{modules}:{packages}" if modules else packages


def _forward(run, descriptor):
    """Passes output on. False: there is none now."""
    try:
        data = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return False
    if not data:
        _unregister(descriptor)
        return False
    _tell(run.outputs[descriptor], data)
    return True


def _finish(run, code, signal):
    """Tells how a block ended, after all its output and files."""
    for descriptor in run.outputs:
        # A pipe holds so much; who still writes belongs to no block any more.
        for _ in range(32):
            if not _forward(run, descriptor):
                break
    for descriptor in run.outputs:
        _unregister(descriptor)
        if run.worker is None:
            os.close(descriptor)
    if run.worker is not None:
        _has_begun(run.worker)
        _end_question(run.worker)
    _hand_out_files()
    failed = code != 0
    full = b""
    if failed:
        room = os.statvfs(".")
        if room.f_files and room.f_favail == 0:
            full = b"files"
        elif room.f_bavail == 0 or run.errno in (b"27", b"28", b"122"):
            full = b"disk"
    _tell(
        b"d",
        run.number,
        _number(code),
        _number(signal),
        run.exception,
        run.errno,
        run.stopped,
        b"1" if run.lost else b"",
        b"1" if _meter("oom", b"oom_kill ") > run.oom else b"",
        b"1" if _meter("pids", b"max ") > run.pids else b"",
        full,
        _number(_cpu_us() - run.cpu),
        _number(_meter("memory")),
    )
    _cell.run = None


# Python


class _Worker:
    """The process that runs Python blocks and keeps their variables."""


def _start_worker():
    requests, requests_end = os.pipe2(os.O_CLOEXEC)
    status_end, status = os.pipe2(os.O_CLOEXEC)
    out_end, out = os.pipe2(os.O_CLOEXEC)
    err_end, err = os.pipe2(os.O_CLOEXEC)
    begun_end, begun = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    questions_end, questions = os.pipe2(os.O_CLOEXEC)
    answers, answers_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _be_worker(requests, status, begun, out, err, questions, answers)
        finally:
            os._exit(1)
    for descriptor in (requests, status, begun, out, err, questions, answers):
        os.close(descriptor)
    worker = _Worker()
    worker.pid, worker.requests, worker.status, worker.begun = pid, requests_end, status_end, begun_end
    worker.outputs = {out_end: b"o", err_end: b"e"}
    worker.questions, worker.answers = questions_end, answers_end
    # What has arrived of a question; what is left to be sent of answers; the question that the host has, and its name.
    worker.question, worker.unsent, worker.asked = bytearray(), bytearray(), None
    for descriptor in (*worker.outputs, questions_end, answers_end):
        os.set_blocking(descriptor, False)
    _cell.poll.register(status_end, select.POLLIN)
    _cell.poll.register(questions_end, select.POLLIN)
    return worker


def _drop_worker():
    worker, _cell.worker = _cell.worker, None
    _hang_up_questions(worker)
    for descriptor in (worker.requests, worker.status, worker.begun, *worker.outputs):
        _unregister(descriptor)
        os.close(descriptor)


def _to_worker(kind, *fields):
    try:
        _write(_cell.worker.requests, _encode(kind, *fields))
    except BrokenPipeError:
        # It has ended; the next one learns it when it starts.
        pass


def _hear_worker():
    worker, run = _cell.worker, _cell.run
    try:
        _, (code, exception, errno) = _receive(worker.status)
    except (_Gone, ValueError):
        # It is ending, or closed its side: then it can tell no end of a block any more.
        _unregister(worker.status)
        try:
            os.kill(worker.pid, _SIGKILL)
        except ProcessLookupError:
            pass
        return
    if run is not None and run.worker is worker:
        run.exception, run.errno = exception, errno
        _finish(run, int(code) if code.isdigit() else 1, None)


def _last_words(worker):
    """Hears what a worker that has ended still said. False: nothing."""
    poll = select.poll()
    poll.register(worker.status, select.POLLIN)
    if any(event & select.POLLIN for _, event in poll.poll(0)):
        _hear_worker()
    return _cell.run is None


def _has_begun(worker):
    """Whether it has begun with its block, if this was not asked before."""
    try:
        return bool(os.read(worker.begun, 16))
    except BlockingIOError:
        return False


def _be_worker(requests, status, begun, out, err, questions, answers):
    """Runs blocks until the driver is gone. This is the forked process."""
    _signal.set_wakeup_fd(-1)
    _signal.signal(_SIGCHLD, _signal.SIG_DFL)
    _signal.signal(_SIGINT, _signal.default_int_handler)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor, end in ((null, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, end)
    start = 3
    for descriptor in sorted((requests, status, begun, questions, answers)):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, _MOST_DESCRIPTORS)
    _line.pid, _line.questions, _line.answers = os.getpid(), questions, answers
    _set_dumpable(1)
    _prefer_to_kill("self")
    os.environ.clear()
    os.environ.update(_cell.environment)
    sys.argv = [""]
    _open_standard_streams()
    import site

    if _cell.config["modules"]:
        sys.path.insert(0, _cell.config["modules"])
    site.main()
    import builtins

    builtins.exit = builtins.quit = sys.exit
    sys.path.insert(0, "")
    sys.dont_write_bytecode = True
    if _cell.packages is not None:
        _use_packages(*_cell.packages)
    hook_figures_on_import()
    while True:
        try:
            kind, fields = _receive(requests)
        except _Gone:
            os._exit(0)
        if kind == b"r":
            os.write(begun, b"b")
            _write(status, _encode(b"d", *_perform(*fields)))
        elif kind == b"s":
            pairs = [os.fsdecode(field) for field in fields]
            os.environ.update(zip(pairs[::2], pairs[1::2]))
        elif kind == b"u":
            _use_packages(*[field.decode() for field in fields])


def _open_standard_streams():
    import io

    # Unbuffered: what a program has printed is out, also when it is stopped a moment later.
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", False)), "utf-8")
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.FileIO(1, "w", False), "utf-8", write_through=True)
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(
        io.FileIO(2, "w", False), "utf-8", errors="backslashreplace", write_through=True
    )


_old_packages = None
_has_input = False


def _use_packages(modules, programs):
    """Makes installed packages importable, in place of those before."""
    global _old_packages
    import importlib
    import site

    before = sys.path[:]
    site.addsitedir(modules)
    new = [entry for entry in sys.path if entry not in before]
    sys.path[:] = [before[0], *new, *[entry for entry in before[1:] if entry != _old_packages]]
    os.environ["PATH"] = programs + ":" + _cell.environment["PATH"]
    os.environ["PYTHONPATH"] = _python_path(modules)
    _old_packages = modules
    importlib.invalidate_caches()


def _perform(name, code, stdin):
    """Runs a Python block and gives its exit code, the kind of its exception and its error number."""
    global _has_input
    if stdin or _has_input:
        _has_input = bool(stdin)
        descriptor = _memory_file(stdin)
        os.dup2(descriptor, 0)
        os.close(descriptor)
        import io

        # What an earlier block left in the old one's buffer is gone with it.
        sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", False)), "utf-8")
    _forget_offers()
    status = _run_block(code.decode(), name.decode("utf-8", "surrogateescape"))
    return _number(status["code"]), status.get("exception", "").encode(), _number(status.get("errno"))


# Functions of the host, which the worker calls by way of the driver. A question and an answer have a name of four bytes, four
# bytes of length, and what `host.py` says. The name is the worker's and tells a late answer from the one that is waited for.


class _Line:
    """The worker's side: how it reaches the driver."""


_line = _Line()
_line.lock, _line.busy, _line.name = _thread.RLock(), False, 0
_line.outgoing, _line.incoming = bytearray(), bytearray()


def _ask(question):
    """Asks the host, and waits for the answer. Threads do so one after another."""
    if os.getpid() != _line.pid:
        # Two processes on one line would take each other's answers.
        raise ToolError("functions of the host can be called by the process that runs the block, not by one that it started")
    with _line.lock:
        if _line.busy:
            raise ToolError("a function of the host cannot be called while this thread waits for another one")
        _line.busy = True
        try:
            return _exchange(question)
        except (_Gone, OSError) as error:
            # A handler of a signal may raise an OSError of its own, such as a TimeoutError.
            if isinstance(error, OSError) and error.errno not in (_EBADF, _EPIPE):
                raise
            raise ToolError("the line to the host is broken") from None
        finally:
            _line.busy = False


def _exchange(question):
    _line.name = (_line.name + 1) & 0xFFFFFFFF
    name = _line.name.to_bytes(4, "little")
    # A handler of a signal may raise an exception at any point. What is left of a message is then sent before the next one,
    # and what has been read of an answer is kept.
    outgoing, incoming = _line.outgoing, _line.incoming
    outgoing += name + len(question).to_bytes(4, "little") + question
    while outgoing:
        del outgoing[: os.write(_line.questions, outgoing)]
    while True:
        end = 8 + int.from_bytes(incoming[4:8], "little")
        if len(incoming) < end:
            data = os.read(_line.answers, _CHUNK)
            if not data:
                raise _Gone
            incoming += data
            continue
        is_meant, answer = incoming[:4] == name, bytes(incoming[8:end])
        del incoming[:end]
        if is_meant:
            return answer


def _hear_questions(worker):
    """Takes what has arrived of the worker's questions, and passes on each that is whole."""
    try:
        data = os.read(worker.questions, _CHUNK)
    except BlockingIOError:
        return
    question = worker.question
    question += data
    while len(question) >= 8:
        length = int.from_bytes(question[4:8], "little")
        if length > _MOST_QUESTION:
            # This is not what our part of the worker says.
            data = b""
            break
        if len(question) < 8 + length:
            break
        name, content = bytes(question[:4]), bytes(question[8 : 8 + length])
        del question[: 8 + length]
        _pass_on(worker, name, content)
    if not data:
        _hang_up_questions(worker)


def _pass_on(worker, name, question):
    run = _cell.run
    if run is None or run.worker is not worker:
        _answer(worker, name, b"eno Python block runs now: only while one does can functions of the host be called")
        return
    # A worker waits for one answer at a time: one that asks again has given up on the question before.
    _cell.questions += 1
    worker.asked = (_number(_cell.questions), name)
    _tell(b"q", run.number, worker.asked[0], question)


def _hear_answer(number, answer):
    worker = _cell.worker
    if worker is not None and worker.asked is not None and worker.asked[0] == number:
        name, worker.asked = worker.asked[1], None
        _answer(worker, name, answer)


def _end_question(worker):
    """The block is over: what a thread of it still waits for does not come."""
    if worker.asked is not None:
        name, worker.asked = worker.asked[1], None
        _answer(worker, name, b"ethe block has ended, and the call with it")


def _answer(worker, name, answer):
    if worker.answers is not None:
        worker.unsent += name + len(answer).to_bytes(4, "little") + answer
        _send_answers(worker)


def _send_answers(worker):
    """Sends what the worker takes now. One that does not listen is not heard, so that no answers pile up."""
    unsent = worker.unsent
    try:
        while unsent:
            del unsent[: os.write(worker.answers, unsent)]
    except BlockingIOError:
        _unregister(worker.questions)
        _cell.poll.register(worker.answers, select.POLLOUT)
    except OSError:
        _hang_up_questions(worker)
    else:
        _unregister(worker.answers)
        _cell.poll.register(worker.questions, select.POLLIN)


def _hang_up_questions(worker):
    if worker.answers is not None:
        for descriptor in (worker.questions, worker.answers):
            _unregister(descriptor)
            os.close(descriptor)
        worker.questions = worker.answers = None
        worker.question, worker.unsent = bytearray(), bytearray()


# Files


def _write_file(path, content):
    """Puts a file into the workspace. The answer has the error number, or nothing."""
    try:
        directory = os.path.dirname(path)
        if directory:
            os.makedirs(directory, exist_ok=True)
        try:
            # A FIFO would hold us up, and what a link leads to is not meant.
            if os.lstat(path).st_mode & 0o170000 not in (0o100000, 0o040000):
                os.unlink(path)
        except FileNotFoundError:
            pass
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            _write(descriptor, content)
            _cell.files[path] = _stamp(os.fstat(descriptor))
        except OSError:
            os.ftruncate(descriptor, 0)
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        full = os.statvfs(".").f_favail == 0
        _tell(b"y", _number(error.errno), b"files" if full and error.errno == _ENOSPC else b"")
    else:
        _tell(b"y")


def _stamp(status):
    # A program cannot set the change time.
    return (status.st_ino, status.st_ctime_ns, status.st_size, status.st_mode & 0o170000)


def _hand_out_files():
    """Sends the files that are new or changed since the last time, and names those that are not sent."""
    before, now, changed = _cell.files, {}, []
    directories = [b""]
    while directories:
        directory = directories.pop()
        try:
            entries = list(os.scandir(directory or b"."))
        except OSError as error:
            if directory:
                _refuse(directory, f"cannot be listed: {os.strerror(error.errno)}")
            continue
        for entry in entries:
            path = directory + b"/" + entry.name if directory else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(path)
                    continue
                stamp = _stamp(entry.stat(follow_symlinks=False))
            except OSError:
                continue
            now[path] = stamp
            if before.get(path) != stamp:
                changed.append(path)
    _cell.files = now
    changed.sort()
    sent, room = 0, _cell.config["disk"]
    for path in changed:
        _, _, size, kind = now[path]
        if kind == 0o120000:
            _refuse(path, "a symbolic link, to " + os.readlink(path).decode("utf-8", "replace"))
        elif kind != 0o100000:
            kinds = {0o010000: "a FIFO", 0o140000: "a socket", 0o020000: "a device", 0o060000: "a device"}
            _refuse(path, kinds.get(kind, "no regular file"))
        elif size > _MOST_ARTIFACT_BYTES:
            _refuse(path, f"{size} bytes, more than the {_MOST_ARTIFACT_BYTES} of an artifact")
        elif sent >= _MOST_ARTIFACTS:
            _refuse(path, f"more than {_MOST_ARTIFACTS} artifacts in one block")
        elif size > room:
            _refuse(path, "all artifacts together are larger than the disk quota")
        else:
            sent += 1
            room -= _send_file(path, size)


def _send_file(path, size):
    """Sends a file, and gives the number of bytes sent: no more than it had when it was looked at."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        _refuse(path, f"cannot be read: {os.strerror(error.errno)}")
        return 0
    _tell(b"a", path)
    left = size
    try:
        while left and (data := os.read(descriptor, min(left, 4 * _CHUNK))):
            left -= len(data)
            _tell(b"b", data)
    except OSError:
        # A file of another kind has taken its place.
        pass
    finally:
        os.close(descriptor)
    return size - left


def _refuse(path, reason):
    _tell(b"f", path, reason.encode())


# Connections to the hosts that the session may reach


class _Connection:
    """A connection of a program, or a place where the driver listens (`relay` is set)."""


_WINDOW = 1 << 18


def _listen(relays):
    import socket

    for number, relay in enumerate(relays):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((relay["address"], relay["port"]))
        listener.listen(64)
        listener.setblocking(False)
        _register(listener, relay=number)
    _cell.names = {}
    _cell.next_name = 0


def _register(socket, relay=None):
    connection = _Connection()
    connection.socket, connection.relay = socket, relay
    connection.name, connection.unsent, connection.ending = None, b"", False
    # Bytes that the host has been sent and has not passed on.
    connection.ahead = 0
    _cell.connections[socket.fileno()] = connection
    _cell.poll.register(socket.fileno(), select.POLLIN)
    return connection


def _relay(descriptor):
    connection = _cell.connections[descriptor]
    if connection.relay is not None:
        try:
            accepted, _ = connection.socket.accept()
        except OSError:
            return
        accepted.setblocking(False)
        new = _register(accepted)
        new.name = _number(_cell.next_name)
        _cell.next_name += 1
        _cell.names[new.name] = new
        _tell(b"c", new.name, _number(connection.relay))
        return
    if connection.unsent:
        _flush(connection)
    if connection.ahead >= _WINDOW:
        _await(connection)
        return
    try:
        data = connection.socket.recv(_CHUNK)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    connection.ahead += len(data)
    _tell(b"x", connection.name, data)
    if not data:
        connection.ahead = _WINDOW
    _await(connection)


def _from_host(kind, name, data=b""):
    connection = _cell.names.get(name)
    if connection is None:
        return
    if kind == b"v":
        connection.ahead -= int(data)
        _await(connection)
    elif kind == b"z":
        _hang_up(connection)
    else:
        if data:
            connection.unsent += data
        else:
            connection.ending = True
        _flush(connection)


def _flush(connection):
    try:
        while connection.unsent:
            sent = connection.socket.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]
            _tell(b"v", connection.name, _number(sent))
        if connection.ending:
            connection.ending = False
            connection.socket.shutdown(1)
    except BlockingIOError:
        pass
    except OSError:
        _hang_up(connection)
        _tell(b"z", connection.name)
        return
    _await(connection)


def _await(connection):
    events = select.POLLIN if connection.ahead < _WINDOW else 0
    if connection.unsent:
        events |= select.POLLOUT
    if events:
        _cell.poll.register(connection.socket.fileno(), events)
    else:
        # Without an event to wait for, an end of the connection would wake the loop for ever.
        _unregister(connection.socket.fileno())


def _hang_up(connection):
    descriptor = connection.socket.fileno()
    if descriptor in _cell.connections:
        _unregister(descriptor)
        del _cell.connections[descriptor]
        _cell.names.pop(connection.name, None)
        connection.socket.close()
