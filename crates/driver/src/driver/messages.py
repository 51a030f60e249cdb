"""The driver of a cell: starts what blocks need, writes and collects files, and exchanges messages
with the host over one stream.

It is the cell's first process. Block code never runs in it: Python runs in a worker, a fork of the
driver that keeps its variables from block to block; other languages run in programs of their own.
The files of this directory are one program, in the order that `program.rs` names; `notebook.py` and
`host.py` stand before them. Every session starts the program anew, so it imports little, and
nothing of a package.

Only the host's stream is trusted. Programs hold the other ends of all pipes, run as the same user
and change files at any time: whatever the driver reads, opens or writes may be anything, and must
neither block nor end it.

This file has the messages. A message is a byte for its kind, four bytes of length, and fields: each
four bytes of length and its content. All numbers are little-endian or decimal text.
"""

import _signal
import _thread
import os
import select
import sys

# Kinds of messages. `protocol.rs` has the same tables, and a test compares the two.
# To the driver:
_RUN = b"r"
_WRITE = b"w"
_STOP = b"k"
_SET_ENVIRONMENT = b"s"
_USE_PACKAGES = b"u"
_ANSWER = b"n"
# From the driver:
_PROGRAM = b"p"
_HELLO = b"h"
_STDOUT = b"o"
_STDERR = b"e"
_ARTIFACT = b"a"
_CONTENT = b"b"
_REFUSED = b"f"
_DONE = b"y"
_ENDED = b"d"
_CONNECT = b"c"
_QUESTION = b"q"
_FAILED = b"l"
# In both directions:
_DATA = b"x"
_PASSED = b"v"
_CLOSED = b"z"
# Only between the worker and the driver, beside some of the above:
_BEGUN = b"g"
# Words in fields:
_CPU = b"cpu"
_MEMORY = b"memory"
_DISK = b"disk"
_FILES = b"files"
# The beginning of an answer that reports a failure, as the host writes it:
_FAILURE = b"e"

_HOST_IN, _HOST_OUT = 0, 1
_CHUNK = 1 << 16
# From this length on, a message may exhaust memory.
_LONG = 1 << 20
_SIGINT, _SIGKILL, _SIGPIPE, _SIGCHLD, _SIGXFSZ = 2, 9, 13, 17, 25


class _EndOfStream(Exception):
    """The other end of a stream is closed."""


class _InvalidMessage(Exception):
    """The bytes are not a message."""


def _encode(kind, *fields):
    body = b"".join([len(field).to_bytes(4, "little") + field for field in fields])
    return kind + len(body).to_bytes(4, "little") + body


def _pieces(kind, *fields):
    """Returns a message, in pieces if it is long, so that memory does not hold a long field
    twice."""
    length = sum(map(len, fields)) + 4 * len(fields)
    if length <= _CHUNK:
        return [_encode(kind, *fields)]
    pieces = [kind + length.to_bytes(4, "little")]
    for field in fields:
        pieces += (len(field).to_bytes(4, "little"), field)
    return pieces


def _write(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _send(kind, *fields):
    """Sends a message to the host. The host always reads, so waiting is safe."""
    try:
        _write(_HOST_OUT, _encode(kind, *fields))
    except OSError:
        raise _EndOfStream from None


def _read(descriptor, length):
    data = os.read(descriptor, min(length, _CHUNK))
    if len(data) == length:
        return data
    whole, at = bytearray(length), len(data)
    whole[:at] = data
    view, count = memoryview(whole), at
    while at < length:
        if not count:
            raise _EndOfStream
        count = os.readv(descriptor, [view[at : at + _LONG]])
        at += count
    return bytes(whole) if length <= _CHUNK else whole


def _receive(descriptor, before_long=None):
    """Waits for the next message of a trusted stream, and returns its kind and its fields. Calls
    `before_long` before it reads a long one."""
    head = _read(descriptor, 5)
    length = int.from_bytes(head[1:], "little")
    if length > _LONG and before_long is not None:
        before_long()
    return head[:1], _fields(_read(descriptor, length))


def _fields(body):
    """Returns the fields of a message. Long ones are views, so that memory does not hold them
    twice."""
    fields, at, end = [], 0, len(body)
    is_long = end > _CHUNK
    view = memoryview(body) if is_long else body
    while at < end:
        start = at + 4
        at = start + int.from_bytes(view[at:start], "little")
        if at > end:
            raise _InvalidMessage
        field = view[start:at]
        fields.append(bytes(field) if is_long and at - start <= _CHUNK else field)
    return fields


def _number(value):
    return b"" if value is None else str(value).encode()


def _flag(value):
    """Returns a field that stands for true if it is not empty."""
    return b"1" if value else b""


class _Inbox:
    """Messages from the worker. Its program holds the same end of the pipe, and may write anything
    there: half a message, or bytes without end. So the inbox never waits, and no message is longer
    than `max_length`."""

    def __init__(self, descriptor, max_length):
        os.set_blocking(descriptor, False)
        self.descriptor, self.max_length = descriptor, max_length
        # The number of bytes that are read at once.
        self.room = min(_CHUNK, 2 * (5 + max_length))
        self.arrived = bytearray()
        # No further message can arrive: the other end is closed, or the bytes are not messages.
        self.is_over, self.is_invalid = False, False

    def take(self):
        """Returns the messages that have arrived whole."""
        if self.is_over:
            return []
        try:
            data = os.read(self.descriptor, self.room)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.is_over = not data
        arrived, messages = self.arrived, []
        if not arrived and len(data) >= 5:
            end = 5 + int.from_bytes(data[1:5], "little")
            if len(data) == end <= 5 + self.max_length:
                # The common case: exactly one message.
                try:
                    return [(data[:1], _fields(data[5:]))]
                except _InvalidMessage:
                    self.is_over = self.is_invalid = True
                    return []
        arrived += data
        while len(arrived) >= 5:
            end = 5 + int.from_bytes(arrived[1:5], "little")
            if end > 5 + self.max_length:
                self.is_over = self.is_invalid = True
                break
            if len(arrived) < end:
                break
            kind, body = bytes(arrived[:1]), bytes(arrived[5:end])
            del arrived[:end]
            try:
                messages.append((kind, _fields(body)))
            except _InvalidMessage:
                self.is_over = self.is_invalid = True
                break
        return messages


class _Outbox:
    """Messages to the worker. It may not read; then the rest waits until it does."""

    def __init__(self, descriptor):
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.waiting = []
        # True while the loop waits for the other end to read.
        self.is_stuck = False

    def put(self, *parts):
        """Queues bytes, and sends as many as the other end takes now."""
        self.waiting += parts
        self.send()

    def send(self):
        """Sends as many bytes as the other end takes now."""
        waiting = self.waiting
        try:
            while waiting:
                sent = os.write(self.descriptor, waiting[0])
                if sent < len(waiting[0]):
                    waiting[0] = memoryview(waiting[0])[sent:]
                else:
                    del waiting[0]
        except BlockingIOError:
            if not self.is_stuck:
                self.is_stuck = True
                _cell.poll.register(self.descriptor, select.POLLOUT)
            return
        except OSError:
            # The worker has ended, or closed its end; another event reports that.
            waiting.clear()
        if self.is_stuck:
            self.is_stuck = False
            _unregister(self.descriptor)
