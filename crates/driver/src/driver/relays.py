# Connections to the hosts that the session may reach

_WINDOW = 1 << 18
# Connections at once: more are not accepted before one of these has ended. Each takes a descriptor,
# which blocks need, too.
_MOST_CONNECTIONS = 256


class _Connection:
    """A connection of a program, or a place where the driver listens (`relay` is set)."""


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
    # Bytes that the host has been sent and has not passed on.
    connection.ahead = 0
    connection.is_open = True
    _cell.connections[socket.fileno()] = connection
    _cell.poll.register(socket.fileno(), select.POLLIN)
    return connection


def _relay(descriptor):
    """Something has happened to a connection of a program, or there is a new one."""
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
            # It was reset.
            _hang_up(connection)
            return
        connection.ahead += len(data)
        _tell(_DATA, connection.name, data)
        if not data:
            connection.ahead = _WINDOW
    _await(connection)


def _accept(listener):
    if len(_cell.names) >= _MOST_CONNECTIONS:
        _stop_listening()
        return
    try:
        accepted, _ = listener.socket.accept()
    except (BlockingIOError, ConnectionError):
        return
    except OSError:
        # There is no descriptor, or no memory. To try again at once would keep the loop busy.
        _stop_listening()
        return
    accepted.setblocking(False)
    new = _register(accepted)
    new.name = _number(_cell.next_name)
    _cell.next_name += 1
    _cell.names[new.name] = new
    _tell(_CONNECT, new.name, _number(listener.relay))


def _stop_listening():
    _cell.is_listening = False
    for listener in _cell.listeners:
        _unregister(listener.socket.fileno())


def _resume_listening():
    if _cell.listeners and not _cell.is_listening:
        _cell.is_listening = True
        for listener in _cell.listeners:
            _cell.poll.register(listener.socket.fileno(), select.POLLIN)


def _from_host(kind, name, data=b""):
    connection = _cell.names.get(name)
    if connection is None:
        return
    if kind == _PASSED:
        connection.ahead -= int(data)
        _await(connection)
    elif kind == _CLOSED:
        _forget(connection)
    else:
        if data:
            connection.unsent += data
        else:
            connection.ending = True
        _flush(connection)


def _flush(connection):
    """Sends what the program takes now."""
    try:
        while connection.unsent:
            sent = connection.socket.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]
            _tell(_PASSED, connection.name, _number(sent))
        if connection.ending:
            connection.ending = False
            connection.socket.shutdown(1)
    except BlockingIOError:
        pass
    except OSError:
        _hang_up(connection)
        return
    _await(connection)


def _await(connection):
    events = select.POLLIN if connection.ahead < _WINDOW else 0
    if connection.unsent:
        events |= select.POLLOUT
    if events:
        _cell.poll.register(connection.socket.fileno(), events)
    else:
        # Without an event to wait for, an end of the connection would wake the loop for ever.
        _unregister(connection.socket.fileno())


def _hang_up(connection):
    """Ends a connection from the program's side."""
    _forget(connection)
    _tell(_CLOSED, connection.name or b"")


def _forget(connection):
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
