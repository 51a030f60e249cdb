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
        # Memory may have run out while the block's message came.
        self.oom, _cell.oom = _times_out_of_memory() if _cell.oom is None else _cell.oom, None
        self.pids = _meter("pids", b"max ")
        self.exception, self.errno = b"", b""
        # What a person should know of its end besides.
        self.note = ""
        self.request = None
        # The file with its code that we made.
        self.file = None

    def ran_out_of_memory(self):
        return _times_out_of_memory() > self.oom


def _begin(number, language, filename, name, code, stdin):
    """Runs a block. With a file name its code is in the workspace already."""
    run = _cell.run = _Run(number)
    _resume_listening()
    if language == b"python":
        run.request = _pieces(_RUN, number, name, code, stdin)
        _cell.barren = 0
        _hand_over(run)
        return
    try:
        _start_program(run, *_cell.interpreters[language.decode()], filename, code, stdin)
    except (OSError, ValueError) as error:
        _fail(run, "it could not be started", error)


def _fail(run, what, error):
    """Ends a block that could not begin."""
    run.exception, run.errno = b"OSError", _number(getattr(error, "errno", None))
    run.note = f"{what}: {getattr(error, 'strerror', None) or error}"
    _finish(run, 126, None)


def _start_program(run, program, interpreter, path, code, stdin):
    if not path:
        path = _block_file(run, interpreter["extension"], code)
    arguments = [program, *interpreter["arguments"], os.fsdecode(path)]
    ends = []
    try:
        ends.append(_memory_file(stdin))
        for kind in (_STDOUT, _STDERR):
            descriptor, end = os.pipe2(os.O_CLOEXEC)
            ends.append(end)
            run.outputs[descriptor] = kind
            os.set_blocking(descriptor, False)
            _cell.poll.register(descriptor, select.POLLIN)
        run.pid = os.posix_spawn(
            program,
            arguments,
            _program_environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, end, to) for to, end in enumerate(ends)],
            setsigdef=[_SIGINT, _SIGPIPE, _SIGCHLD, _SIGXFSZ],
        )
    finally:
        for end in ends:
            os.close(end)
    _prefer_to_kill(run.pid)


def _hand_over(run):
    """Gives a Python block to the worker."""
    if _cell.worker is None:
        try:
            _cell.worker = _start_worker()
        except OSError as error:
            _fail(run, "its Python interpreter could not be started", error)
            return
    worker = run.worker = _cell.worker
    run.outputs = worker.outputs
    # Between two blocks nobody reads: what a program writes then waits in the pipe for the next
    # one.
    for descriptor in worker.outputs:
        _cell.poll.register(descriptor, select.POLLIN)
    worker.requests.put(*run.request)


def _block_file(run, extension, code):
    """Puts the code of a block into a file. It needs a name, because interpreters go by its
    extension."""
    descriptor, run.file = _new_file(f".{extension}", _cell.temporary, "")
    try:
        _write(descriptor, code)
    finally:
        os.close(descriptor)
    return f"{_cell.config['temporary']}/{run.file}"


def _new_file(extension, directory, prefix):
    """Makes a file with a name that no program can foresee, so that nothing can wait there: neither
    a link that leads elsewhere nor a FIFO. Gives its descriptor and its name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = f".{os.urandom(16).hex()}{extension}"
        try:
            return os.open(prefix + name, flags, 0o600, dir_fd=directory), name
        except FileExistsError:
            continue


def _memory_file(content):
    """A descriptor from which a program can read this."""
    if not content:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    except OSError:
        # Where memory is watched there must be none that belongs to no process.
        # Not O_TMPFILE, which fails under Landlock on the overlay of a container.
        prefix = f"{_cell.config['temporary']}/" if _cell.temporary is None else ""
        descriptor, name = _new_file("", _cell.temporary, prefix)
        _remove(prefix + name, _cell.temporary)
    try:
        _write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove(name, directory):
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        # A program was faster, or has put a directory there.
        pass


def _prefer_to_kill(process):
    """When memory runs out, programs go before their driver."""
    try:
        descriptor = os.open(f"/proc/{process}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(descriptor, b"1000")
    except OSError:
        pass
    finally:
        os.close(descriptor)


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
    except OSError:
        data = b""
    if not data:
        _unregister(descriptor)
        return False
    _tell(run.outputs[descriptor], data)
    return True


def _drain(run, descriptor):
    """Passes on what is left of the output: as much as a pipe holds, for who still writes belongs
    to no block any more."""
    for _ in range(32):
        try:
            if not _forward(run, descriptor):
                break
        except _Gone:
            raise
        except Exception as error:
            # No known event leads here. The block has ended all the same.
            run.note = run.note or f"some of its output may be missing: {_described(error)}"


def _finish(run, code, signal):
    """Tells how a block ended, after all its output and files."""
    for descriptor in run.outputs:
        _drain(run, descriptor)
    for descriptor in run.outputs:
        _unregister(descriptor)
        if run.worker is None:
            os.close(descriptor)
    worker = run.worker
    if worker is not None:
        worker.has_worked = _has_begun(worker) or worker.has_worked
        _end_question(worker)
        if worker.requests.is_stuck:
            # It has ended a block that it was not even told of.
            _end_worker(worker, "")
    if run.file is not None:
        _remove(run.file, _cell.temporary)
    try:
        _hand_out_files()
    except _Gone:
        raise
    except Exception as error:
        # No known change of files leads here. The block has ended all the same.
        run.note = run.note or f"its files could not be handed out: {_described(error)}"
    _tell(
        _ENDED,
        run.number,
        _number(code),
        _number(signal),
        run.exception,
        run.errno,
        run.stopped,
        b"1" if run.lost else b"",
        b"1" if run.ran_out_of_memory() else b"",
        b"1" if _meter("pids", b"max ") > run.pids else b"",
        _full(run) if code != 0 else b"",
        _number(max(_cpu_us() - run.cpu, 0)),
        _number(_meter("memory")),
        run.note.encode(errors="replace"),
    )
    _cell.run = None


def _full(run):
    """What of the workspace is full."""
    if _has_too_many_files():
        return b"files"
    try:
        is_full = os.fstatvfs(_cell.workspace).f_bavail == 0
    except OSError:
        is_full = False
    return b"disk" if is_full or run.errno in (b"27", b"28", b"122") else b""
