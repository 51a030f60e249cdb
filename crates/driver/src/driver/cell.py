# The cell, and the loop


class _Cell:
    """What the driver knows: its configuration, and what happens now."""


_cell = _Cell()
_MOST_DESCRIPTORS = 4096
# Errors of ours that are survived in one session.
_MOST_ERRORS = 100


def start(config):
    """Makes this process the driver, until the host closes the stream."""
    try:
        _prepare(config)
        while True:
            _turn()
    except _Gone:
        code = 0
    except BaseException as error:
        code = 1
        _tell_failure(error)
    _kill_programs()
    os._exit(code)


def _tell_failure(error):
    """Tells the host why there will be no driver any more."""
    is_memory = isinstance(error, MemoryError)
    try:
        _tell(_FAILED, _described(error).encode(errors="replace"), b"memory" if is_memory else b"")
    except BaseException:
        # Nobody listens, or there is no memory for that either.
        pass


def _described(error):
    """An error of ours, and where it happened."""
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
    # Workers in a row that have ended without beginning with a block.
    _cell.barren = 0
    # The worker has ended since a block said so.
    _cell.lost = False
    # How often memory had run out before a long message came.
    _cell.oom = None
    _cell.files = {}
    _cell.connections, _cell.listeners, _cell.names = {}, [], {}
    # Counts questions to the host, and errors of ours.
    _cell.questions = _cell.errors = 0
    _set_limits(config)
    os.umask(0o022)
    # Held open, so that what a program puts in the place of either leads nowhere.
    _cell.temporary = _open_place(config["temporary"])
    _cell.workspace = _open_place(config["workspace"])
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
    _tell(_HELLO, version, *[name.encode() for name in _cell.interpreters])
    # Programs of the cell run as the same user; none may look into this process.
    _set_dumpable(0)


def _open_place(path):
    """Opens a directory of the cell. Where programs of an earlier driver have put something else
    in its place, that is removed."""
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
        # Without it a program could lie about itself a little more; what the kernel and the host
        # enforce stays.
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
        programs = interpreter["programs"]
        paths = (f"{directory}/{name}" for name in programs for directory in directories)
        program = next((path for path in paths if os.access(path, os.X_OK)), None)
        if program is not None:
            found[interpreter["language"]] = (program, interpreter)
    return found


# What the cell uses, as its control group counts it

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
        # Then what stands there is not the cell's own group.
        return
    for name, places in _METERS.items():
        for place in places:
            try:
                _cell.meters[name] = os.open("/sys/fs/cgroup/" + place, os.O_RDONLY)
            except OSError:
                continue
            if place.endswith("usage"):
                # Version 1 counts nanoseconds and has nothing but the number.
                _cell.cpu_divisor = 1000
            break


def _meter(name, key=None):
    """The value that a control group tells; 0 where it tells none."""
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
        except _Gone:
            raise
        except Exception as error:
            _survive(descriptor, error)
            break
        if is_round_over:
            break
    run = _cell.run
    if run is not None and run.cpu_limit is not None and _cpu_us() - run.cpu >= run.cpu_limit:
        run.cpu_limit = None
        run.stopped, run.lost = b"cpu", True
        _kill_programs()


def _handle(descriptor):
    """Handles one event. True: it may have closed descriptors and opened others, so that the number
    of one that is still on the list may now be another's."""
    run, worker = _cell.run, _cell.worker
    if descriptor == _HOST_IN:
        _obey()
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


def _survive(descriptor, error):
    """Gives up what could not be handled, so that the session goes on. No known event leads here.
    Raises the error again where it is not known what to give up."""
    run, worker, connection = _cell.run, _cell.worker, _cell.connections.get(descriptor)
    _cell.errors += 1
    _complain(f"the driver could not handle an event: {_described(error)}")
    if _cell.errors > _MOST_ERRORS:
        raise error
    if connection is not None:
        _hang_up(connection)
    elif run is not None and descriptor in run.outputs:
        _unregister(descriptor)
    elif worker is not None and descriptor in worker.handlers:
        _end_worker(worker, f"the driver could not handle it: {_described(error)}")
    else:
        raise error


def _obey():
    """Does what the host says."""
    try:
        kind, fields = _receive(_HOST_IN, _note_memory)
    except OSError:
        raise _Gone from None
    if kind == _RUN:
        _begin(*fields)
    elif kind == _WRITE:
        _write_file(*fields)
    elif kind == _STOP:
        if _cell.run is not None and _cell.run.number == fields[0]:
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
        _tell(_DONE)
    elif kind == _ANSWER:
        _hear_answer(*fields)
    elif kind in (_DATA, _PASSED, _CLOSED):
        _from_host(kind, *fields)


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
    """A child has ended. A negative status is the signal that ended it."""
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
            # As process 1 this reaches every other process of the cell, and nothing else.
            os.kill(-1, _SIGKILL)
        except OSError:
            pass
        return
    # The host has killed what is below the direct children.
    for child in (_cell.run, _cell.worker):
        if child is not None and child.pid is not None:
            _kill(child.pid)


def _kill(pid):
    try:
        os.kill(pid, _SIGKILL)
    except OSError:
        # It has ended, or signals are denied to all programs here, ours too: then the host alone
        # kills.
        pass
