# Files of the workspace. Programs may change them at any time, even between a look and an open: any
# name may be a link, a FIFO or gone. So directories are walked by their descriptors, no link is
# followed, and no open waits.

_EBADF, _EAGAIN, _EBUSY, _ENXIO, _ENOSPC, _EFBIG, _EPIPE = 9, 11, 16, 6, 28, 27, 32
_ENOTDIR, _EINVAL, _ELOOP, _EDQUOT = 20, 22, 40, 122
_MAX_ARTIFACTS, _MAX_ARTIFACT_BYTES = 1000, 64 << 20
# The maximum number of files and directories that are listed, and the maximum length of a path.
_MAX_ENTRIES, _MAX_PATH = 1 << 20, 4096
_KIND, _REGULAR, _LINK = 0o170000, 0o100000, 0o120000
_KINDS = {0o010000: "a FIFO", 0o140000: "a socket", 0o020000: "a device", 0o060000: "a device"}
_NO_WAIT = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | _NO_WAIT
# Enough to reach what is below, even without the right to list the directory.
_PASSAGE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Parent:
    """The directory of the workspace that was used last, opened step by step."""

    def __init__(self):
        self.path, self.descriptor = b"", None

    def of(self, path, is_to_be_made=False):
        """Returns the descriptor of the directory that a path is in, and the path's last name."""
        directory, _, name = path.rpartition(b"/")
        if self.descriptor is None or directory != self.path:
            self.close()
            self.path, self.descriptor = directory, _cell.workspace
            for step in directory.split(b"/") if directory else ():
                self._enter(step, is_to_be_made)
        return self.descriptor, name

    def _enter(self, name, is_to_be_made):
        try:
            try:
                inside = os.open(name, _PASSAGE, dir_fd=self.descriptor)
            except FileNotFoundError:
                if not is_to_be_made:
                    raise
                try:
                    os.mkdir(name, dir_fd=self.descriptor)
                except FileExistsError:
                    pass
                inside = os.open(name, _PASSAGE, dir_fd=self.descriptor)
        except BaseException:
            self.close()
            raise
        self.close()
        self.descriptor = inside

    def close(self):
        if self.descriptor not in (None, _cell.workspace):
            os.close(self.descriptor)
        self.descriptor = None


def _write_file(path, content):
    """Puts a file into the workspace. The answer has the error number if it failed."""
    try:
        _put_file(path, content)
    except (OSError, ValueError) as error:
        errno = getattr(error, "errno", None) or _EINVAL
        full = errno == _ENOSPC and _has_too_many_files()
        _send(_DONE, _number(errno), _FILES if full else b"")
    else:
        _send(_DONE)


def _has_too_many_files():
    try:
        room = os.fstatvfs(_cell.workspace)
    except OSError:
        return False
    return bool(room.f_files) and room.f_favail == 0


def _put_file(path, content):
    parent = _Parent()
    try:
        directory, name = parent.of(path, True)
        descriptor = _open_to_write(name, directory)
        try:
            _write(descriptor, content)
            _cell.files[path] = _stamp(os.fstat(descriptor))
        except OSError:
            # No file is better than half a file, and the space is needed.
            os.ftruncate(descriptor, 0)
            _remove(name, directory)
            raise
        finally:
            os.close(descriptor)
    finally:
        parent.close()


def _open_to_write(name, directory):
    """Opens a regular file, and replaces anything else: the target of a link is not meant, and a
    FIFO or a lease would block the driver."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_WAIT
    for _ in range(64):
        try:
            descriptor = os.open(name, flags, 0o644, dir_fd=directory)
        except OSError as error:
            if error.errno not in (_ELOOP, _ENXIO, _EAGAIN):
                raise
        else:
            if os.fstat(descriptor).st_mode & _KIND == _REGULAR:
                return descriptor
            os.close(descriptor)
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
    raise OSError(_EBUSY, os.strerror(_EBUSY))


def _stamp(status):
    # A program cannot set the change time.
    return (status.st_ino, status.st_ctime_ns, status.st_size, status.st_mode & _KIND)


def _send_changed_files():
    """Sends the files that are new or changed since the last call, and the names of those that are
    not sent."""
    before, now = _cell.files, _list_workspace()
    _cell.files = now
    changed = [path for path, stamp in now.items() if before.get(path) != stamp]
    if changed:
        changed.sort()
        _send_files(changed, now)


def _send_files(paths, stamps):
    sent, room = 0, _cell.config["disk"]
    parent = _Parent()
    try:
        for path in paths:
            _, _, size, kind = stamps[path]
            try:
                if kind == _LINK:
                    directory, name = parent.of(path)
                    target = os.readlink(name, dir_fd=directory)
                    _refuse(path, "a symbolic link, to " + target.decode("utf-8", "replace"))
                elif kind != _REGULAR:
                    _refuse(path, _KINDS.get(kind, "no regular file"))
                elif size > _MAX_ARTIFACT_BYTES:
                    maximum = _MAX_ARTIFACT_BYTES
                    _refuse(path, f"{size} bytes, more than the {maximum} of an artifact")
                elif sent >= _MAX_ARTIFACTS:
                    _refuse(path, f"more than {_MAX_ARTIFACTS} artifacts in one block")
                elif size > room:
                    _refuse(path, "all artifacts together are larger than the disk quota")
                else:
                    room -= _send_file(path, size, *parent.of(path))
                    sent += 1
            except OSError as error:
                # Another file has taken its place, or it is gone.
                _refuse(path, f"cannot be read: {error.strerror}")
    finally:
        parent.close()


def _list_workspace():
    """Returns the stamps of all files of the workspace, by their paths."""
    found = {}
    # Directories whose subdirectories are not listed yet: a descriptor, the beginning of paths in
    # it, and the names of the subdirectories.
    names = _list_directory(_cell.workspace, b"", found)
    if not names:
        return found
    levels = [(_cell.workspace, b"", names)]
    try:
        while levels:
            descriptor, prefix, names = levels[-1]
            if not names:
                levels.pop()
                if levels:
                    os.close(descriptor)
                continue
            name = names.pop()
            path = prefix + name
            if len(path) >= _MAX_PATH:
                _refuse(path, "its path is too long")
                continue
            try:
                inside = os.open(name, _DIRECTORY, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in (_ENOTDIR, _ELOOP):
                    _refuse(path, f"cannot be listed: {error.strerror}")
                continue
            levels.append((inside, path + b"/", _list_directory(inside, path + b"/", found)))
    finally:
        for descriptor, _, _ in levels[1:]:
            os.close(descriptor)
    return found


def _list_directory(descriptor, prefix, found):
    """Adds the files of a directory to `found`. Returns the names of its subdirectories."""
    names = []
    # The workspace is the current directory, whose path costs less than its descriptor.
    place = descriptor if prefix else b"."
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if len(found) + len(names) >= _MAX_ENTRIES:
                    _refuse(prefix[:-1] or b".", "more files than are listed")
                    break
                name = os.fsencode(entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        names.append(name)
                    else:
                        found[prefix + name] = _stamp(entry.stat(follow_symlinks=False))
                except OSError:
                    # It is gone.
                    continue
    except OSError as error:
        _refuse(prefix[:-1] or b".", f"cannot be listed: {error.strerror}")
    return names


def _send_file(path, size, directory, name):
    """Sends a file. Returns the number of bytes sent: at most the size that was seen before."""
    descriptor = os.open(name, os.O_RDONLY | _NO_WAIT, dir_fd=directory)
    try:
        if os.fstat(descriptor).st_mode & _KIND != _REGULAR:
            raise OSError(_EBUSY, "it has become another kind of file")
        _send(_ARTIFACT, path)
        rest = size
        while rest and (data := os.read(descriptor, min(rest, 4 * _CHUNK))):
            rest -= len(data)
            _send(_CONTENT, data)
    finally:
        os.close(descriptor)
    return size - rest


def _refuse(path, reason):
    _send(_REFUSED, path, reason.encode(errors="replace"))
