# Relays: connections of programs to the hosts that the session may reach. The driver listens for
# each host, and passes bytes between the program and our host over the stream.

_WINDOW = 1 << 18
# The maximum number of connections; more are accepted only once one of these has ended. Each takes
# a descriptor, which blocks need, too.
_MAX_CONNECTIONS = 256


class _Connection:
    """A connection of a program, or a listener of the driver (`relay` is set)."""


def _listen(relays):
    import socket

    for number, relay in enumerate(relays):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((relay["address"], relay["port"]))
        listener.listen(64)
        listener.setblocking(False)
        _cell.listeners.append(_register(listener, relay=number))
    _cell.next_name = 0
    _cell.is_listening = True


def _register(socket, relay=None):
    connection = _Connection()
    connection.socket, connection.relay = socket, relay
    connection.name, connection.unsent, connection.ending = None, b"", False
    # The number of bytes that were sent to the host and not passed on by it.
    connection.ahead = 0
    connection.is_open = True
    _cell.connections[socket.fileno()] = connection
    _cell.poll.register(socket.fileno(), select.POLLIN)
    return connection


def _relay(descriptor):
    """Handles an event of a connection of a program, or of a listener."""
    connection = _cell.connections[descriptor]
    if connection.relay is not None:
        _accept(connection)
        return
    if connection.unsent:
        _flush(connection)
    if not connection.is_open:
        return
    if connection.ahead < _WINDOW:
        try:
            data = connection.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            # The program has reset it.
            _close_connection(connection)
            return
        connection.ahead += len(data)
        _send(_DATA, connection.name, data)
        if not data:
            connection.ahead = _WINDOW
    _wait_for(connection)


def _accept(listener):
    if len(_cell.names) >= _MAX_CONNECTIONS:
        _stop_listening()
        return
    try:
        accepted, _ = listener.socket.accept()
    except (BlockingIOError, ConnectionError):
        return
    except OSError:
        # No descriptor or no memory is free. To try again at once would keep the loop busy.
        _stop_listening()
        return
    accepted.setblocking(False)
    new = _register(accepted)
    new.name = _number(_cell.next_name)
    _cell.next_name += 1
    _cell.names[new.name] = new
    _send(_CONNECT, new.name, _number(listener.relay))


def _stop_listening():
    _cell.is_listening = False
    for listener in _cell.listeners:
        _unregister(listener.socket.fileno())


def _resume_listening():
    if _cell.listeners and not _cell.is_listening:
        _cell.is_listening = True
        for listener in _cell.listeners:
            _cell.poll.register(listener.socket.fileno(), select.POLLIN)


def _take_from_host(kind, name, data=b""):
    connection = _cell.names.get(name)
    if connection is None:
        return
    if kind == _PASSED:
        connection.ahead -= int(data)
        _wait_for(connection)
    elif kind == _CLOSED:
        _drop_connection(connection)
    else:
        if data:
            connection.unsent += data
        else:
            connection.ending = True
        _flush(connection)


def _flush(connection):
    """Sends as many bytes as the program takes now."""
    try:
        while connection.unsent:
            sent = connection.socket.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]
            _send(_PASSED, connection.name, _number(sent))
        if connection.ending:
            connection.ending = False
            connection.socket.shutdown(1)
    except BlockingIOError:
        pass
    except OSError:
        _close_connection(connection)
        return
    _wait_for(connection)


def _wait_for(connection):
    events = select.POLLIN if connection.ahead < _WINDOW else 0
    if connection.unsent:
        events |= select.POLLOUT
    if events:
        _cell.poll.register(connection.socket.fileno(), events)
    else:
        # Even without an event to wait for, the end of the connection would wake the loop forever.
        _unregister(connection.socket.fileno())


def _close_connection(connection):
    """Ends a connection from the program's side."""
    _drop_connection(connection)
    _send(_CLOSED, connection.name or b"")


def _drop_connection(connection):
    if connection.is_open:
        connection.is_open = False
        descriptor = connection.socket.fileno()
        _unregister(descriptor)
        _cell.connections.pop(descriptor, None)
        _cell.names.pop(connection.name, None)
        if connection in _cell.listeners:
            _cell.listeners.remove(connection)
        connection.socket.close()
        _resume_listening()
