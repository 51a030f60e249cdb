# The cell: its configuration, its state, and the loop that handles events.


class _Cell:
    """The driver's state: configuration, running block, worker, and open descriptors."""


_cell = _Cell()
_MAX_DESCRIPTORS = 4096
# The maximum number of unexpected errors in one session.
_MAX_ERRORS = 100


def start(config):
    """Makes this process the driver, until the host closes the stream."""
    try:
        _prepare(config)
        while True:
            _turn()
    except _EndOfStream:
        code = 0
    except BaseException as error:
        code = 1
        _send_failure(error)
    _kill_programs()
    os._exit(code)


def _send_failure(error):
    """Sends the reason why the driver ends."""
    is_memory = isinstance(error, MemoryError)
    try:
        _send(_FAILED, _described(error).encode(errors="replace"), _MEMORY if is_memory else b"")
    except BaseException:
        # Nobody listens, or memory does not suffice for that either.
        pass


def _described(error):
    """Returns the text of an unexpected error, with the place where it happened."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f" ({trace.tb_frame.f_code.co_name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}"[:500] + place


def _prepare(config):
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
    _cell.run = None
    _cell.worker = None
    # The number of workers in a row that ended without beginning a block.
    _cell.failed_starts = 0
    # True if the worker has ended since the last block reported that.
    _cell.lost = False
    # The number of out-of-memory kills before a long message was read.
    _cell.oom = None
    _cell.files = {}
    _cell.connections, _cell.listeners, _cell.names = {}, [], {}
    # Counters of questions to the host, and of unexpected errors.
    _cell.questions = _cell.errors = 0
    _set_limits(config)
    os.umask(0o022)
    # Held open, so that whatever a program puts in their places leads nowhere.
    _cell.temporary = _open_directory(config["temporary"])
    _cell.workspace = _open_directory(config["workspace"])
    os.fchdir(_cell.workspace)
    _open_meters()
    _cell.poll = select.poll()
    _cell.poll.register(_HOST_IN, select.POLLIN)
    _cell.children, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _cell.poll.register(_cell.children, select.POLLIN)
    # Wakes the loop when a child ends, so that no zombie counts against the limit on processes for
    # long.
    _signal.signal(_SIGCHLD, lambda *_: None)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _cell.wake = wake
    _cell.interpreters = _find_interpreters(config)
    if config["relays"]:
        _listen(config["relays"])
    _cell.worker = _start_worker()
    version = ".".join(map(str, sys.version_info[:3])).encode()
    _send(_HELLO, version, *[name.encode() for name in _cell.interpreters])
    # Programs of the cell run as the same user, and must not look into this process.
    _set_dumpable(0)


def _open_directory(path):
    """Opens a directory of the cell. Removes what programs of an earlier driver have put in its
    place."""
    for _ in range(8):
        try:
            return os.open(path, _DIRECTORY)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (_ENOTDIR, _ELOOP):
                raise
            os.unlink(path)
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            pass
    return os.open(path, _DIRECTORY)


def _set_dumpable(value):
    """Keeps programs of the same user from reading or writing this process's memory, or allows it
    again."""
    try:
        import _ctypes

        PR_SET_DUMPABLE = 4
        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
        _ctypes.call_function(prctl, (PR_SET_DUMPABLE, value, 0, 0, 0))
    except Exception:
        # Without it a program could falsify a little more about itself. The limits of the kernel
        # and the host still hold.
        pass


def _set_limits(config):
    import resource

    def lower(which, value):
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)
    if config["disk"] < 1 << 62:
        # A sparse file would pass a quota of blocks.
        lower(resource.RLIMIT_FSIZE, config["disk"])
    if config["data"] is not None:
        lower(resource.RLIMIT_DATA, config["data"])
    if config["processes"] is not None:
        lower(resource.RLIMIT_NPROC, config["processes"])


def _find_interpreters(config):
    found = {}
    directories = config["path"].split(":")
    for interpreter in config["interpreters"]:
        programs = interpreter["programs"]
        paths = (f"{directory}/{name}" for name in programs for directory in directories)
        program = next((path for path in paths if os.access(path, os.X_OK)), None)
        if program is not None:
            found[interpreter["language"]] = (program, interpreter)
    return found


# The cell's usage, as its control group counts it

_METERS = {
    "cpu": (
        "cpuacct/cpuacct.usage",
        "cpu,cpuacct/cpuacct.usage",
        "cpu/cpuacct.usage",
        "cpu.stat",
    ),
    "memory": ("memory/memory.usage_in_bytes", "memory.current"),
    "oom": ("memory/memory.oom_control", "memory.events"),
    "pids": ("pids/pids.events", "pids.events"),
}


def _open_meters():
    _cell.meters, _cell.cpu_divisor = {}, 1
    if not _cell.config["alone"]:
        # The group at this path is not the cell's own.
        return
    for name, places in _METERS.items():
        for place in places:
            try:
                _cell.meters[name] = os.open("/sys/fs/cgroup/" + place, os.O_RDONLY)
            except OSError:
                continue
            if place.endswith("usage"):
                # Version 1 counts nanoseconds, and its file has only the number.
                _cell.cpu_divisor = 1000
            break


def _meter(name, key=None):
    """Returns a value of the control group; 0 if there is none."""
    descriptor = _cell.meters.get(name)
    if descriptor is None:
        return 0
    try:
        text = os.pread(descriptor, 4096, 0)
        if key is None or text[:1].isdigit():
            return int(text)
        for line in text.splitlines():
            if line.startswith(key):
                return int(line[len(key) :])
    except (OSError, ValueError):
        pass
    return 0


def _cpu_us():
    return _meter("cpu", b"usage_usec ") // _cell.cpu_divisor


def _times_out_of_memory():
    return _meter("oom", b"oom_kill ")


# The loop


def _turn():
    """Waits for something to happen, and handles it."""
    run = _cell.run
    limited = run is not None and run.cpu_limit is not None
    for descriptor, _ in _cell.poll.poll(10 if limited else None):
        try:
            is_round_over = _handle(descriptor)
        except _EndOfStream:
            raise
        except Exception as error:
            _recover(descriptor, error)
            break
        if is_round_over:
            break
    run = _cell.run
    if run is not None and run.cpu_limit is not None and _cpu_us() - run.cpu >= run.cpu_limit:
        run.cpu_limit = None
        run.stopped, run.lost = _CPU, True
        _kill_programs()


def _handle(descriptor):
    """Handles one event. Returns true if it may have closed and opened descriptors, so that numbers
    on the list of events may now belong to others."""
    run, worker = _cell.run, _cell.worker
    if descriptor == _HOST_IN:
        _handle_request()
    elif descriptor == _cell.children:
        _reap()
    elif run is not None and descriptor in run.outputs:
        _forward(run, descriptor)
        return False
    elif worker is not None and descriptor in worker.handlers:
        worker.handlers[descriptor](worker)
    elif descriptor in _cell.connections:
        _relay(descriptor)
    else:
        _unregister(descriptor)
        return False
    return True


def _recover(descriptor, error):
    """Gives up the connection, output or worker whose event failed, so that the session continues.
    No known event leads here. Raises the error again if the event belongs to none of them."""
    run, worker, connection = _cell.run, _cell.worker, _cell.connections.get(descriptor)
    _cell.errors += 1
    _complain(f"the driver could not handle an event: {_described(error)}")
    if _cell.errors > _MAX_ERRORS:
        raise error
    if connection is not None:
        _close_connection(connection)
    elif run is not None and descriptor in run.outputs:
        _unregister(descriptor)
    elif worker is not None and descriptor in worker.handlers:
        _end_worker(worker, f"the driver could not handle it: {_described(error)}")
    else:
        raise error


def _handle_request():
    """Reads and handles one message of the host."""
    try:
        kind, fields = _receive(_HOST_IN, _note_memory)
    except OSError:
        raise _EndOfStream from None
    if kind == _RUN:
        _begin(*fields)
    elif kind == _WRITE:
        _write_file(*fields)
    elif kind == _STOP:
        if _cell.run is not None and _cell.run.number == fields[0]:
            # Any text but `_CPU`: the host knows why it stopped the block.
            _cell.run.stopped = b"host"
            _cell.run.lost = True
            _kill_programs()
    elif kind == _SET_ENVIRONMENT:
        pairs = [os.fsdecode(field) for field in fields]
        _cell.environment.update(zip(pairs[::2], pairs[1::2]))
        _to_worker(kind, *fields)
    elif kind == _USE_PACKAGES:
        _cell.packages = tuple(field.decode() for field in fields)
        _to_worker(kind, *fields)
        _send(_DONE)
    elif kind == _ANSWER:
        _take_answer(*fields)
    elif kind in (_DATA, _PASSED, _CLOSED):
        _take_from_host(kind, *fields)


def _note_memory():
    _cell.oom = _times_out_of_memory()


def _unregister(descriptor):
    try:
        _cell.poll.unregister(descriptor)
    except (KeyError, ValueError):
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
        _ended(pid, os.waitstatus_to_exitcode(status))


def _ended(pid, status):
    """Handles the end of a child. A negative status is the signal that ended it."""
    run, worker = _cell.run, _cell.worker
    code, signal = (status, None) if status >= 0 else (None, -status)
    if worker is not None and pid == worker.pid:
        _worker_ended(worker, code, signal)
    elif run is not None and pid == run.pid:
        _finish(run, code, signal)


def _kill_programs():
    """Kills all programs of the cell."""
    if _cell.config["alone"]:
        try:
            # For process 1, -1 means every other process of the cell, and no other.
            os.kill(-1, _SIGKILL)
        except OSError:
            pass
        return
    # The host has killed the descendants of the direct children.
    for child in (_cell.run, _cell.worker):
        if child is not None and child.pid is not None:
            _kill(child.pid)


def _kill(pid):
    try:
        os.kill(pid, _SIGKILL)
    except OSError:
        # It has ended, or all programs here are denied signals, ours too: then only the host kills.
        pass
