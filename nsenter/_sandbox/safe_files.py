# SPDX-License-Identifier: Apache-2.0
"""Files of a directory that hostile code can write to, at any moment.

Every path is resolved below the directory, through no symbolic link (openat2(2)). A file is looked
at before it is opened, so that no device is opened and no pipe is waited for, and again afterwards,
because it may be another one by then.
"""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EFBIG, EISDIR, ELOOP, ENOTDIR, EPERM, EXDEV

from nsenter._host import syscalls
from nsenter._host.base_error import NsenterError
from nsenter._host.cleanup import close
from nsenter._host.printable import printable
from nsenter._host.sizes import in_bytes
from nsenter._host.suppress import suppress

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = [
    "UnsafeFile",
    "checked_limit",
    "checked_path",
    "install",
    "make_folders",
    "open_below",
    "open_folder",
    "open_regular",
    "read_regular",
    "type_name",
]

_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_LINK = "it is a symbolic link, or its path leads through one"


class UnsafeFile(NsenterError, OSError):
    """A file in a workspace is not one that the caller may use: hostile code may have made it.

    Attributes:
        path: the path in the workspace.
        reason: what is wrong with it.
        errno: as for every OSError.
    """

    def __init__(self, path: str, reason: str, number: int = EPERM) -> None:
        super().__init__(number, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"workspace: {printable(self.path)!s}: {self.reason}"

    def __reduce__(self) -> tuple[type[UnsafeFile], tuple[str, str, int]]:
        return UnsafeFile, (self.path, self.reason, self.errno or 0)


def checked_path(path: Path) -> str:
    """Return a relative path in its shortest form; "." is the directory itself.

    Raises:
        TypeError, ValueError: it is not a relative path that stays in the directory.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a path in the workspace, not {path!r}")
    text = os.fsdecode(path)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not text or text.startswith("/") or ".." in parts or "\0" in text:
        raise ValueError(f"path must be relative to the workspace, without '..', not {path!r}")
    return "/".join(parts) or "."


def checked_limit(limit: int | str) -> int:
    """Return a number of bytes.

    Raises:
        TypeError, ValueError: it is none.
    """
    number = in_bytes(limit)
    if number is None:
        raise TypeError(f'limit must be a number of bytes, also as "64M", not {limit!r}')
    if number < 0:
        raise ValueError(f"limit must be at least 0 bytes, not {limit!r}")
    return number


def type_name(mode: int) -> str:
    """Return what a file is, in words."""
    return _TYPES.get(stat.S_IFMT(mode), "unknown")


def open_below(root: int, path: str, flags: int) -> int:
    """Open a path below a directory, through no symbolic link.

    Raises:
        UnsafeFile: the path leads through a link.
        OSError: it cannot be opened.
    """
    try:
        return syscalls.openat2(root, path, flags | os.O_NOFOLLOW, resolve=_RESOLVE)
    except syscalls.Failure as failure:
        raise _in_words(failure, path) from None


def _in_words(failure: OSError, path: str) -> OSError:
    number = failure.errno or 0
    if number in (ELOOP, EXDEV):
        return UnsafeFile(path, _LINK, ELOOP)
    if number == EAGAIN:
        return UnsafeFile(path, "another process holds a lease on it, or moves it about", EAGAIN)
    return OSError(number, os.strerror(number), path)  # Python makes it FileNotFoundError and so on


def open_folder(root: int, path: str) -> int:
    """Open a directory to list it."""
    return open_below(root, path, _FOLDER)


def open_regular(root: int, path: str, owner: int | None = None) -> int:
    """Open a regular file to read it; this does not wait.

    Args:
        root: a descriptor of the directory.
        path: the path of the file below it.
        owner: the user that the code runs as; None means that its files are not looked at.

    Raises:
        UnsafeFile: it is a link, a pipe, a socket or a device, or a file of somebody else that
            only its owner may read.
        IsADirectoryError, FileNotFoundError, PermissionError: as for open().
    """
    handle = open_below(root, path, os.O_PATH)
    try:
        found = os.fstat(handle)
    finally:
        close(handle)
    _check_regular(path, found, owner)
    fd = open_below(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        opened = os.fstat(fd)
        if (opened.st_dev, opened.st_ino) != (found.st_dev, found.st_ino):
            raise UnsafeFile(path, "it was replaced while it was opened", EAGAIN)
        _check_regular(path, opened, owner)
    except BaseException:
        close(fd)
        raise
    return fd


def _check_regular(path: str, found: os.stat_result, owner: int | None) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), path)
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFile(path, _LINK, ELOOP)
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFile(path, f"it is a {type_name(found.st_mode)}, not a regular file")
    if owner is None or found.st_uid == owner:
        return
    # The code can rename and link files that it cannot read, and the caller may be root.
    if not found.st_mode & stat.S_IROTH or found.st_nlink > 1:
        whose = f"it belongs to user {found.st_uid}, not to user {owner}"
        raise UnsafeFile(path, f"{whose}, and has other names or is not for everybody to read")


def read_regular(root: int, path: str, limit: int, owner: int | None = None) -> bytes:
    """Return the content of a regular file.

    Raises:
        UnsafeFile: as for `open_regular`, or the file is larger than `limit`.
    """
    fd = open_regular(root, path, owner)
    try:
        return _read(fd, path, limit)
    finally:
        close(fd)


def _read(fd: int, path: str, limit: int) -> bytes:
    size = os.fstat(fd).st_size
    if size > limit:
        raise UnsafeFile(path, f"it has {size} bytes, more than the limit of {limit}", EFBIG)
    content = bytearray()
    while piece := os.read(fd, min(_CHUNK, limit + 1 - len(content))):
        content += piece
        if len(content) > limit:  # it grows
            raise UnsafeFile(path, f"it has more bytes than the limit of {limit}", EFBIG)
    return bytes(content)


def make_folders(root: int, path: str, owner: tuple[int, int]) -> int:
    """Open a directory below another, and make what is missing of it.

    Args:
        root: a descriptor of the directory at the top.
        path: the path below it.
        owner: the user and group of what is made.

    Returns:
        A descriptor.
    """
    fd = open_folder(root, ".")
    try:
        steps = path.split("/") if path not in ("", ".") else []
        for count, name in enumerate(steps, 1):
            inner = _enter(fd, name, owner, "/".join(steps[:count]))
            close(fd)
            fd = inner
    except BaseException:
        close(fd)
        raise
    return fd


def _enter(folder: int, name: str, owner: tuple[int, int], path: str) -> int:
    """Open a directory in another; `path` is for the error."""
    is_made = False
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=folder)
        is_made = True
    try:
        fd = open_folder(folder, name)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise UnsafeFile(path, _LINK, ELOOP) from None
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), path) from None
    if is_made:
        _own_empty(fd, owner)
    return fd


def _own_empty(fd: int, owner: tuple[int, int]) -> None:
    """Give a new directory to its owner.

    If another process has replaced it, the replacement is an empty directory of the caller, or it
    stays unchanged.
    """
    found = os.fstat(fd)
    is_ours = found.st_uid == os.geteuid() and found.st_mode & 0o7022 == 0
    if is_ours and owner != (found.st_uid, found.st_gid) and not os.listdir(fd):
        _give(fd, owner)


def _give(fd: int, owner: tuple[int, int]) -> None:
    if os.geteuid() == 0:
        os.fchown(fd, *owner)


def install(folder: int, name: str, pieces: object, mode: int, owner: tuple[int, int]) -> None:
    """Write a new file and put it into the place of what has that name.

    It is a new inode: nothing is written through a link, and no pipe is opened.

    Args:
        folder: a descriptor of the directory.
        name: the name in it.
        pieces: an iterable of bytes.
        mode: the permission bits.
        owner: the user and group that the file belongs to.

    Raises:
        IsADirectoryError: a directory has that name.
    """
    temporary = f".{os.urandom(12).hex()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        try:
            for piece in pieces:  # type: ignore[attr-defined]
                _write(fd, piece)
            _give(fd, owner)
            os.fchmod(fd, mode & 0o777)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _write(fd: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]
