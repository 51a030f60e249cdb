# Blocks: how they start, their output, and their end.


class _Run:
    """A running block."""

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
        # Memory may have run out while the block's message was read.
        self.oom, _cell.oom = _times_out_of_memory() if _cell.oom is None else _cell.oom, None
        self.pids = _meter("pids", b"max ")
        self.exception, self.errno = b"", b""
        # A note for people about the block's end.
        self.note = ""
        self.request = None
        # The file with the block's code that the driver made.
        self.file = None

    def ran_out_of_memory(self):
        return _times_out_of_memory() > self.oom


def _begin(number, language, filename, name, code, stdin):
    """Starts a block. If it has a file name, its code is in the workspace already."""
    run = _cell.run = _Run(number)
    _resume_listening()
    if language == b"python":
        run.request = _pieces(_RUN, number, name, code, stdin)
        _cell.failed_starts = 0
        _give_to_worker(run)
        return
    try:
        _start_program(run, *_cell.interpreters[language.decode()], filename, code, stdin)
    except (OSError, ValueError) as error:
        _fail(run, "it could not be started", error)


def _fail(run, what, error):
    """Ends a block that could not start."""
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
    _kill_first(run.pid)


def _give_to_worker(run):
    """Gives a Python block to the worker."""
    if _cell.worker is None:
        try:
            _cell.worker = _start_worker()
        except OSError as error:
            _fail(run, "its Python interpreter could not be started", error)
            return
    worker = run.worker = _cell.worker
    run.outputs = worker.outputs
    # Between two blocks the driver does not read: a program's output waits in the pipe for the next
    # block.
    for descriptor in worker.outputs:
        _cell.poll.register(descriptor, select.POLLIN)
    worker.requests.put(*run.request)


def _block_file(run, extension, code):
    """Puts the code of a block into a file, because some interpreters depend on the extension.
    Returns the file's path."""
    descriptor, run.file = _new_file(f".{extension}", _cell.temporary, "")
    try:
        _write(descriptor, code)
    finally:
        os.close(descriptor)
    return f"{_cell.config['temporary']}/{run.file}"


def _new_file(extension, directory, prefix):
    """Creates a file with a name that no program can predict, so that no link or FIFO can wait
    there. Returns its descriptor and its name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = f".{os.urandom(16).hex()}{extension}"
        try:
            return os.open(prefix + name, flags, 0o600, dir_fd=directory), name
        except FileExistsError:
            continue


def _memory_file(content):
    """Returns a descriptor from which a program can read the content."""
    if not content:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    except OSError:
        # Where memory is watched, memory that belongs to no process is denied. O_TMPFILE is no
        # alternative: it fails under Landlock on the overlay of a container.
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
        # A program has removed it, or has put a directory there.
        pass


def _kill_first(process):
    """Makes the kernel kill a program before the driver when memory runs out."""
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
    """Sends output to the host. Returns false if there is none now."""
    try:
        data = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return False
    except OSError:
        data = b""
    if not data:
        _unregister(descriptor)
        return False
    _send(run.outputs[descriptor], data)
    return True


def _drain(run, descriptor):
    """Sends the remaining output, at most as much as a pipe holds: a program that still writes no
    longer belongs to the block."""
    for _ in range(32):
        try:
            if not _forward(run, descriptor):
                break
        except _EndOfStream:
            raise
        except Exception as error:
            # No known event leads here. The block has ended nevertheless.
            run.note = run.note or f"some of its output may be missing: {_described(error)}"


def _finish(run, code, signal):
    """Sends the end of a block, after all its output and files."""
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
            # It reported the end of a block that it has not read yet.
            _end_worker(worker, "")
    if run.file is not None:
        _remove(run.file, _cell.temporary)
    try:
        _send_changed_files()
    except _EndOfStream:
        raise
    except Exception as error:
        # No known change of files leads here. The block has ended nevertheless.
        run.note = run.note or f"its files could not be sent: {_described(error)}"
    _send(
        _ENDED,
        run.number,
        _number(code),
        _number(signal),
        run.exception,
        run.errno,
        run.stopped,
        _flag(run.lost),
        _flag(run.ran_out_of_memory()),
        _flag(_meter("pids", b"max ") > run.pids),
        _full_quota(run) if code != 0 else b"",
        _number(max(_cpu_us() - run.cpu, 0)),
        _number(_meter("memory")),
        run.note.encode(errors="replace"),
    )
    _cell.run = None


def _full_quota(run):
    """Returns the quota of the workspace that is used up."""
    if _has_too_many_files():
        return _FILES
    try:
        is_full = os.fstatvfs(_cell.workspace).f_bavail == 0
    except OSError:
        is_full = False
    is_refused = run.errno in [_number(errno) for errno in (_EFBIG, _ENOSPC, _EDQUOT)]
    return _DISK if is_full or is_refused else b""
