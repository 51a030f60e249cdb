# The Python worker: first as the driver sees it, then the process itself.

# The maximum length of a message about the end of a block, and of the exception's name in it.
_MAX_STATUS, _MAX_NAME = 1024, 200
# The maximum number of workers in a row that may end without beginning a block.
_MAX_FAILED_STARTS = 3
# The maximum time from the end of a process's descriptors to its own end, in milliseconds.
_MOMENT_MS = 200


class _Worker:
    """The process that runs Python blocks and keeps their variables."""


def _start_worker():
    pipes = []
    try:
        for flags in (0, 0, 0, 0, os.O_NONBLOCK, 0, 0):
            pipes.append(os.pipe2(os.O_CLOEXEC | flags))
        pid = os.fork()
    except OSError:
        for pipe in pipes:
            for descriptor in pipe:
                os.close(descriptor)
        raise
    inputs, outputs = [pipe[0] for pipe in pipes], [pipe[1] for pipe in pipes]
    requests, status, out, err, begun, questions, answers = range(7)
    for sent in (requests, answers):
        inputs[sent], outputs[sent] = outputs[sent], inputs[sent]
    # Now `inputs` has the driver's ends and `outputs` the worker's.
    if pid == 0:
        try:
            ends = [outputs[end] for end in (requests, status, begun, questions, answers)]
            _be_worker(outputs[out], outputs[err], *ends)
        finally:
            os._exit(1)
    for descriptor in outputs:
        os.close(descriptor)
    worker = _Worker()
    worker.pid = pid
    worker.requests = _Outbox(inputs[requests])
    worker.status = _Inbox(inputs[status], _MAX_STATUS)
    worker.begun = _Inbox(inputs[begun], 0)
    worker.outputs = {inputs[out]: _STDOUT, inputs[err]: _STDERR}
    for descriptor in worker.outputs:
        os.set_blocking(descriptor, False)
    worker.questions = _Inbox(inputs[questions], _MAX_QUESTION)
    worker.answers = _Outbox(inputs[answers])
    # The question that the host is answering: its number there, and its name here.
    worker.asked = None
    # True once it has begun a block.
    worker.has_worked = False
    worker.handlers = {
        worker.requests.descriptor: lambda worker: worker.requests.send(),
        worker.status.descriptor: _take_status,
        worker.questions.descriptor: _take_questions,
        worker.answers.descriptor: _send_answers,
    }
    _cell.poll.register(worker.status.descriptor, select.POLLIN)
    _cell.poll.register(worker.questions.descriptor, select.POLLIN)
    return worker


def _drop_worker():
    worker, _cell.worker = _cell.worker, None
    _close_questions(worker)
    boxes = (worker.requests, worker.status, worker.begun)
    for descriptor in (*[box.descriptor for box in boxes], *worker.outputs):
        _unregister(descriptor)
        os.close(descriptor)


def _end_worker(worker, note):
    """Kills a worker that can no longer be understood. Its end is handled like any other."""
    run = _cell.run
    if worker.pid is None:
        return
    if run is not None and run.worker is worker:
        run.note = run.note or note
    _unregister(worker.status.descriptor)
    _kill(worker.pid)


def _is_ending(pid):
    """Returns true if a child ends by itself within a moment: its descriptors are closed just
    before its end. `/proc` is no alternative: cells without one of their own cannot read it."""
    try:
        process = os.pidfd_open(pid)
    except (OSError, AttributeError):
        # A Python older than 3.9 has no such call.
        return True
    try:
        end = select.poll()
        end.register(process, select.POLLIN)
        return bool(end.poll(_MOMENT_MS))
    finally:
        os.close(process)


def _has_begun(worker):
    """Returns true if the worker has begun its block since the last call."""
    return bool(worker.begun.take()) or worker.begun.is_invalid


def _worker_ended(worker, code, signal):
    run = _cell.run
    # From now on the number may be another process's.
    worker.pid = None
    is_concerned = run is not None and run.worker is worker
    if is_concerned:
        run.lost = True
        # Messages that it sent before its end still count.
        _take_last_status(worker)
    else:
        # The next block's result reports it, or this one's if it is of another language.
        _cell.lost = True
    has_begun = _has_begun(worker)
    worker.has_worked = worker.has_worked or has_begun
    _cell.failed_starts = 0 if worker.has_worked else _cell.failed_starts + 1
    is_hopeless = _cell.failed_starts >= _MAX_FAILED_STARTS
    if is_concerned and _cell.run is run:
        if has_begun or is_hopeless or run.stopped or run.ran_out_of_memory():
            if not has_begun and is_hopeless:
                run.note = run.note or "Python ended several times before it began the block"
            _finish(run, code, signal)
    _drop_worker()
    if not is_hopeless:
        try:
            _cell.worker = _start_worker()
        except OSError:
            # The next Python block tries again, and reports the error.
            pass
    if is_concerned and _cell.run is run:
        # Something else killed it, which an earlier block left running.
        run.worker, run.outputs = None, {}
        _give_to_worker(run)


def _to_worker(kind, *fields):
    if _cell.worker is not None:
        _cell.worker.requests.put(_encode(kind, *fields))


def _take_status(worker):
    """Handles the worker's messages about ends of blocks, and returns them."""
    messages = worker.status.take()
    for kind, fields in messages:
        run = _cell.run
        if kind != _ENDED or len(fields) != 4:
            worker.status.is_over = worker.status.is_invalid = True
            break
        number, code, exception, errno = fields
        # A program can report the end of its block. It may continue then, as its children may.
        if run is not None and run.worker is worker and run.number == number:
            run.exception, run.errno = exception, errno
            _finish(run, int(code) if code.isdigit() else 1, None)
    if worker.pid is None or not worker.status.is_over:
        return messages
    if worker.status.is_invalid:
        _end_worker(worker, "it wrote into the pipe on which Python reports how blocks end")
    elif _is_ending(worker.pid):
        _unregister(worker.status.descriptor)
    else:
        # It can no longer report the end of a block.
        _end_worker(worker, "it closed the pipe on which Python reports how blocks end")
    return messages


def _take_last_status(worker):
    """Handles the remaining messages of a worker that has ended."""
    # Other processes may hold the pipe and write without end.
    for _ in range(100):
        if _cell.run is None or not _take_status(worker):
            return


# The worker itself


def _be_worker(out, err, requests, status, begun, questions, answers):
    """Runs blocks until the driver is gone, in the forked process."""
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
    os.closerange(start, _MAX_DESCRIPTORS)
    # It has been closed.
    _cell.temporary = None
    _line.pid, _line.questions, _line.answers = os.getpid(), questions, answers
    _set_dumpable(1)
    _kill_first("self")
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
    begins = _encode(_BEGUN)
    while True:
        try:
            kind, fields = _receive(requests)
        except (_EndOfStream, _InvalidMessage):
            os._exit(0)
        if kind == _RUN:
            try:
                os.write(begun, begins)
            except BlockingIOError:
                # The program has filled the pipe, which means the same to the driver.
                pass
            _write(status, _encode(_ENDED, *_perform(fields)))
        elif kind == _SET_ENVIRONMENT:
            pairs = [os.fsdecode(field) for field in fields]
            os.environ.update(zip(pairs[::2], pairs[1::2]))
        elif kind == _USE_PACKAGES:
            _use_packages(*[field.decode() for field in fields])


def _open_standard_streams():
    import io

    # Unbuffered, so that no output is lost when the program is killed a moment later.
    _open_standard_input(io)
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(
        io.FileIO(1, "w", False), "utf-8", write_through=True
    )
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(
        io.FileIO(2, "w", False), "utf-8", errors="backslashreplace", write_through=True
    )


def _open_standard_input(io):
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(
        io.BufferedReader(io.FileIO(0, "r", False)), "utf-8"
    )


_old_packages = None
_has_input = False


def _use_packages(modules, programs):
    """Makes installed packages importable, in place of earlier ones."""
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


def _perform(fields):
    """Runs a Python block. Returns its number, its exit code, the type of its exception and its
    error number."""
    number, name, code = fields[0], os.fsdecode(fields[1]), str(fields[2], "utf-8")
    try:
        _use_input(fields.pop())
    except OSError as error:
        _complain(f"the standard input cannot be kept for the block: {error.strerror}")
        return number, _number(1), b"OSError", _number(error.errno)
    # Nothing of the message stays in memory while the block runs.
    fields.clear()
    _forget_offers()
    status = _run_block(code, name)
    exception = status.get("exception", "").encode(errors="replace")[:_MAX_NAME]
    return number, _number(status["code"]), exception, _number(status.get("errno"))


def _use_input(content):
    global _has_input
    if content or _has_input:
        _has_input = bool(content)
        descriptor = _memory_file(content)
        os.dup2(descriptor, 0)
        os.close(descriptor)
        import io

        # A new object, because the old one's buffer may hold input of an earlier block.
        _open_standard_input(io)
