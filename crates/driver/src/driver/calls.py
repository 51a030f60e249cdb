# Functions of the host, which the worker calls by way of the driver. A question and an answer are
# messages of two fields: a name, and what `host.py` says. The name is the worker's and tells a late
# answer from the one that is waited for.

# The longest message with a question: its two lengths, its name and the question.
_MOST_QUESTION = 4 + 4 + 4 + _MOST_BYTES + 1
# What an answer that tells a failure begins with, as `host.py` has it.
_FAILURE = b"e"


class _Line:
    """The worker's side: how it reaches the driver."""


_line = _Line()
_line.lock, _line.busy, _line.name = _thread.RLock(), False, 0
_line.outgoing, _line.incoming = bytearray(), bytearray()


def _ask(question):
    """Asks the host, and waits for the answer. Threads do so one after another."""
    if os.getpid() != _line.pid:
        # Two processes on one line would take each other's answers.
        raise ToolError(
            "functions of the host can be called by the process that runs the block, not by one "
            "that it started"
        )
    with _line.lock:
        if _line.busy:
            raise ToolError(
                "a function of the host cannot be called while this thread waits for another one"
            )
        _line.busy = True
        try:
            return _exchange(question)
        except (_Gone, _Garbage, OSError) as error:
            # A handler of a signal may raise an OSError of its own, such as a TimeoutError.
            if isinstance(error, OSError) and error.errno not in (_EBADF, _EPIPE):
                raise
            raise ToolError("the line to the host is broken") from None
        finally:
            _line.busy = False


def _exchange(question):
    _line.name = (_line.name + 1) & 0xFFFFFFFF
    name = _line.name.to_bytes(4, "little")
    # A handler of a signal may raise an exception at any point. What remains of a message is then
    # sent before the next one, and what has been read of an answer is kept.
    outgoing, incoming = _line.outgoing, _line.incoming
    outgoing += _encode(_QUESTION, name, question)
    while outgoing:
        del outgoing[: os.write(_line.questions, outgoing)]
    while True:
        end = 5 + int.from_bytes(incoming[1:5], "little")
        if len(incoming) < max(end, 5):
            data = os.read(_line.answers, _CHUNK)
            if not data:
                raise _Gone
            incoming += data
            continue
        body = bytes(incoming[5:end])
        del incoming[:end]
        answered, answer = _fields(body)
        if answered == name:
            return bytes(answer)


def _hear_questions(worker):
    """Passes on each question of the worker that is whole."""
    box = worker.questions
    for kind, fields in box.take():
        if kind != _QUESTION or len(fields) != 2 or len(fields[0]) != 4:
            # This is not what our part of the worker says.
            box.is_over = True
            break
        _pass_on(worker, *fields)
    if box.is_over:
        _hang_up_questions(worker)


def _pass_on(worker, name, question):
    run = _cell.run
    if run is None or run.worker is not worker:
        why = b"no Python block runs now: only while one does can functions of the host be called"
        _answer(worker, name, _FAILURE + why)
        return
    # A worker waits for one answer at a time: one that asks again has given up on the question
    # before.
    _cell.questions += 1
    worker.asked = (_number(_cell.questions), name)
    _tell(_QUESTION, run.number, worker.asked[0], question)


def _hear_answer(number, answer):
    worker = _cell.worker
    if worker is not None and worker.asked is not None and worker.asked[0] == number:
        name, worker.asked = worker.asked[1], None
        _answer(worker, name, answer)


def _end_question(worker):
    """The block is over: what a thread of it still waits for does not come."""
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
    """One that does not listen to answers is not heard, so that no answers pile up."""
    if worker.answers.is_stuck:
        _unregister(worker.questions.descriptor)
    else:
        _cell.poll.register(worker.questions.descriptor, select.POLLIN)


def _hang_up_questions(worker):
    for box in (worker.questions, worker.answers):
        if worker.handlers.pop(box.descriptor, None) is not None:
            _unregister(box.descriptor)
            os.close(box.descriptor)
