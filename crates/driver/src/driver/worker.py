# Python: the worker, as the driver sees it

# The longest message about the end of a block, and the longest name of an exception in it.
_MOST_STATUS, _MOST_NAME = 1024, 200
# Workers in a row that may end without beginning with a block.
_MOST_BARREN = 3
# How long a process may take to end after its descriptors were closed, in milliseconds.
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
    worker.status = _Inbox(inputs[status], _MOST_STATUS)
    worker.begun = _Inbox(inputs[begun], 0)
    worker.outputs = {inputs[out]: _STDOUT, inputs[err]: _STDERR}
    for descriptor in worker.outputs:
        os.set_blocking(descriptor, False)
    worker.questions = _Inbox(inputs[questions], _MOST_QUESTION)
    worker.answers = _Outbox(inputs[answers])
    # The question that the host has: its number there, and its name here.
    worker.asked = None
    # It has begun with a block.
    worker.has_worked = False
    worker.handlers = {
        worker.requests.descriptor: lambda worker: worker.requests.send(),
        worker.status.descriptor: _hear_status,
        worker.questions.descriptor: _hear_questions,
        worker.answers.descriptor: _send_answers,
    }
    _cell.poll.register(worker.status.descriptor, select.POLLIN)
    _cell.poll.register(worker.questions.descriptor, select.POLLIN)
    return worker


def _drop_worker():
    worker, _cell.worker = _cell.worker, None
    _hang_up_questions(worker)
    boxes = (worker.requests, worker.status, worker.begun)
    for descriptor in (*[box.descriptor for box in boxes], *worker.outputs):
        _unregister(descriptor)
        os.close(descriptor)


def _end_worker(worker, note):
    """Ends a worker that cannot be understood any more. That it has ended is heard as usual."""
    run = _cell.run
    if worker.pid is None:
        return
    if run is not None and run.worker is worker:
        run.note = run.note or note
    _unregister(worker.status.descriptor)
    _kill(worker.pid)


def _is_ending(pid):
    """Whether a child ends by itself within a moment: its descriptors are closed just before. Not
    asked of `/proc`, which cells without one of their own cannot read."""
    try:
        process = os.pidfd_open(pid)
    except (OSError, AttributeError):
        # Only a Python older than 3.9 has no such call.
        return True
    try:
        end = select.poll()
        end.register(process, select.POLLIN)
        return bool(end.poll(_MOMENT_MS))
    finally:
        os.close(process)


def _has_begun(worker):
    """Whether it has begun with its block, if this was not asked before."""
    return bool(worker.begun.take()) or worker.begun.is_garbage


def _worker_ended(worker, code, signal):
    run = _cell.run
    # The number may be another process's from now on.
    worker.pid = None
    is_concerned = run is not None and run.worker is worker
    if is_concerned:
        run.lost = True
        # What it said before it ended counts.
        _hear_last_words(worker)
    else:
        # The next block's result tells it, or this one's if it is of another language.
        _cell.lost = True
    has_begun = _has_begun(worker)
    worker.has_worked = worker.has_worked or has_begun
    _cell.barren = 0 if worker.has_worked else _cell.barren + 1
    is_barren = _cell.barren >= _MOST_BARREN
    if is_concerned and _cell.run is run:
        if has_begun or is_barren or run.stopped or run.ran_out_of_memory():
            if not has_begun and is_barren:
                run.note = run.note or "Python ended several times before it began with the block"
            _finish(run, code, signal)
    _drop_worker()
    if not is_barren:
        try:
            _cell.worker = _start_worker()
        except OSError:
            # The next block of Python tries again, and tells why there is none.
            pass
    if is_concerned and _cell.run is run:
        # What killed it was something else, left running by an earlier block.
        run.worker, run.outputs = None, {}
        _hand_over(run)


def _to_worker(kind, *fields):
    if _cell.worker is not None:
        _cell.worker.requests.put(_encode(kind, *fields))


def _hear_status(worker):
    """Hears how blocks end. Gives what it has heard."""
    messages = worker.status.take()
    for kind, fields in messages:
        run = _cell.run
        if kind != _ENDED or len(fields) != 4:
            worker.status.is_over = worker.status.is_garbage = True
            break
        number, code, exception, errno = fields
        # A program can say that its block has ended. It may run on then, as what it starts may.
        if run is not None and run.worker is worker and run.number == number:
            run.exception, run.errno = exception, errno
            _finish(run, int(code) if code.isdigit() else 1, None)
    if worker.pid is None or not worker.status.is_over:
        return messages
    if worker.status.is_garbage:
        _end_worker(worker, "it wrote into the pipe in which Python tells how blocks end")
    elif _is_ending(worker.pid):
        _unregister(worker.status.descriptor)
    else:
        # It can tell no end of a block any more.
        _end_worker(worker, "it closed the pipe in which Python tells how blocks end")
    return messages


def _hear_last_words(worker):
    """Hears what a worker that has ended still said."""
    # Others may hold the pipe and write on.
    for _ in range(100):
        if _cell.run is None or not _hear_status(worker):
            return


# Python: the worker itself


def _be_worker(out, err, requests, status, begun, questions, answers):
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
    # It was closed just now.
    _cell.temporary = None
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
    begins = _encode(_BEGUN)
    while True:
        try:
            kind, fields = _receive(requests)
        except (_Gone, _Garbage):
            os._exit(0)
        if kind == _RUN:
            try:
                os.write(begun, begins)
            except BlockingIOError:
                # The program has filled the pipe: that says the same.
                pass
            _write(status, _encode(_ENDED, *_perform(fields)))
        elif kind == _SET_ENVIRONMENT:
            pairs = [os.fsdecode(field) for field in fields]
            os.environ.update(zip(pairs[::2], pairs[1::2]))
        elif kind == _USE_PACKAGES:
            _use_packages(*[field.decode() for field in fields])


def _open_standard_streams():
    import io

    # Unbuffered: what a program has printed is out, also when it is stopped a moment later.
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


def _perform(fields):
    """Runs a Python block. Gives its number, its exit code, the kind of its exception and its error
    number."""
    number, name, code = fields[0], os.fsdecode(fields[1]), str(fields[2], "utf-8")
    try:
        _use_input(fields.pop())
    except OSError as error:
        _complain(f"the standard input cannot be kept for the block: {error.strerror}")
        return number, b"1", b"OSError", _number(error.errno)
    # Nothing of the message stays in memory meanwhile.
    fields.clear()
    _forget_offers()
    status = _run_block(code, name)
    exception = status.get("exception", "").encode(errors="replace")[:_MOST_NAME]
    return number, _number(status["code"]), exception, _number(status.get("errno"))


def _use_input(content):
    global _has_input
    if content or _has_input:
        _has_input = bool(content)
        descriptor = _memory_file(content)
        os.dup2(descriptor, 0)
        os.close(descriptor)
        import io

        # What an earlier block left in the old one's buffer is gone with it.
        _open_standard_input(io)
