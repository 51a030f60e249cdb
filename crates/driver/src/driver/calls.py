# Functions of the host, which the worker calls through the driver. A question and an answer are
# messages of two fields: a name, and the content, which `host.py` defines. The worker chooses the
# name, so that it can tell a late answer from the one that it waits for.

# The maximum length of a message with a question: its two lengths, its name and the question.
_MAX_QUESTION = 4 + 4 + 4 + _MAX_BYTES + 1


class _HostLine:
    """The worker's connection to the driver."""


_line = _HostLine()
_line.lock, _line.busy, _line.name = _thread.RLock(), False, 0
_line.outgoing, _line.incoming = bytearray(), bytearray()


def _ask(question):
    """Asks the host, and waits for the answer. Threads take turns."""
    if os.getpid() != _line.pid:
        # Two processes on one line would read each other's answers.
        raise ToolError(
            "host functions can be called only by the process that runs the block, not by one "
            "that it started"
        )
    with _line.lock:
        if _line.busy:
            raise ToolError(
                "a host function cannot be called while this thread waits for another one"
            )
        _line.busy = True
        try:
            return _exchange(question)
        except (_EndOfStream, _InvalidMessage, OSError) as error:
            # A signal handler may raise an OSError of its own, such as a TimeoutError.
            if isinstance(error, OSError) and error.errno not in (_EBADF, _EPIPE):
                raise
            raise ToolError("the connection to the host is broken") from None
        finally:
            _line.busy = False


def _exchange(question):
    _line.name = (_line.name + 1) & 0xFFFFFFFF
    name = _line.name.to_bytes(4, "little")
    # A signal handler may raise an exception at any point. The rest of a message is then sent
    # before the next one, and the part of an answer that was read is kept.
    outgoing, incoming = _line.outgoing, _line.incoming
    outgoing += _encode(_QUESTION, name, question)
    while outgoing:
        del outgoing[: os.write(_line.questions, outgoing)]
    while True:
        end = 5 + int.from_bytes(incoming[1:5], "little")
        if len(incoming) < max(end, 5):
            data = os.read(_line.answers, _CHUNK)
            if not data:
                raise _EndOfStream
            incoming += data
            continue
        body = bytes(incoming[5:end])
        del incoming[:end]
        answered, answer = _fields(body)
        if answered == name:
            return bytes(answer)


def _take_questions(worker):
    """Forwards each question of the worker that has arrived whole."""
    box = worker.questions
    for kind, fields in box.take():
        if kind != _QUESTION or len(fields) != 2 or len(fields[0]) != 4:
            # Our part of the worker does not send this.
            box.is_over = True
            break
        _forward_question(worker, *fields)
    if box.is_over:
        _close_questions(worker)


def _forward_question(worker, name, question):
    run = _cell.run
    if run is None or run.worker is not worker:
        why = b"no Python block is running; host functions can be called only while one is"
        _answer(worker, name, _FAILURE + why)
        return
    # A worker waits for one answer at a time: one that asks again has given up its earlier
    # question.
    _cell.questions += 1
    worker.asked = (_number(_cell.questions), name)
    _send(_QUESTION, run.number, worker.asked[0], question)


def _take_answer(number, answer):
    worker = _cell.worker
    if worker is not None and worker.asked is not None and worker.asked[0] == number:
        name, worker.asked = worker.asked[1], None
        _answer(worker, name, answer)


def _end_question(worker):
    """Answers the question that a thread of an ended block still waits for."""
    if worker.asked is not None:
        name, worker.asked = worker.asked[1], None
        _answer(worker, name, _FAILURE + b"the block has ended, and the call with it")


def _answer(worker, name, answer):
    if worker.questions.descriptor in worker.handlers:
        worker.answers.put(*_pieces(_ANSWER, name, answer))
        _listen_unless_stuck(worker)


def _send_answers(worker):
    worker.answers.send()
    _listen_unless_stuck(worker)


def _listen_unless_stuck(worker):
    """Reads questions only from a worker that reads its answers, so that answers do not pile up."""
    if worker.answers.is_stuck:
        _unregister(worker.questions.descriptor)
    else:
        _cell.poll.register(worker.questions.descriptor, select.POLLIN)


def _close_questions(worker):
    for box in (worker.questions, worker.answers):
        if worker.handlers.pop(box.descriptor, None) is not None:
            _unregister(box.descriptor)
            os.close(box.descriptor)
