# SPDX-License-Identifier: Apache-2.0
"""The program to execute: its environment, and where it is in the container."""

from __future__ import annotations

import _stat as stat
import errno
import posix

from libcontainer.runc_messages import errno_text
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGEST_PASSWD = 1 << 20
_PASSWD = "/etc/passwd"
_NOT_FOUND = "executable file not found in $PATH"
# Where a program is looked for in the next folder (execvp(3)).
_LOOKED_ON = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EPERM, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT),
)


def environment(lines: tuple[str, ...], uid: int) -> dict[str, str]:
    """Return the variables of `named`, with a HOME."""
    found = named(lines)
    if not found.get("HOME"):
        found["HOME"] = _home(uid)
    return found


def named(lines: tuple[str, ...]) -> dict[str, str]:
    """Names and values; of a name that is given twice, the last."""
    found = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not name:
            raise Failure("environment", line, errno.EINVAL, "expected NAME=value")
        found[name] = value
    return found


def _home(uid: int) -> str:
    """Return the home directory according to the container's /etc/passwd; "/" if it names none."""
    for line in _lines(_PASSWD):
        fields = line.split(":")
        if len(fields) > 5 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"


def _lines(path: str) -> Iterator[str]:
    """Yield the lines of a file of the container, up to a limit: the file may be anything."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError:
        return
    try:
        if stat.S_ISREG(posix.fstat(fd).st_mode):
            text = posix.read(fd, _LARGEST_PASSWD).decode("utf-8", "surrogateescape")
            yield from text.split("\n")
    except OSError:
        return
    finally:
        close(fd)


def find(name: str, env: dict[str, str]) -> str:
    """Return the path of a program as execvp(3) finds it, in the container and with its ids.

    Raises:
        Failure: the program does not exist or is not executable; the error says which.
    """
    if not name:
        raise Failure("exec:", '""', errno.ENOENT, f"{_NOT_FOUND} (process.args[0] is empty)")
    if "/" in name:
        number, why = _why_not(name)
        if number:
            raise Failure("exec:", f'"{name}"', number, why)
        return name
    useless = ""
    for folder in env.get("PATH", _DEFAULT_PATH).split(":"):
        path = f"{folder or '.'}/{name}"
        number, why = _why_not(path)
        if not number:
            return path
        if number not in _LOOKED_ON:
            raise Failure("exec:", f'"{path}"', number, why)
        if number == errno.EACCES:
            useless = useless or f" ({path} is not executable)"
    raise Failure("exec:", f'"{name}"', errno.ENOENT, f"{_NOT_FOUND}{useless}")


def _why_not(path: str) -> tuple[int, str]:
    """Return an errno and Go's text for it if a file cannot be executed; 0 if it can."""
    try:
        mode = posix.stat(path).st_mode
    except OSError as error:
        number = error.errno or errno.ENOENT
        return number, f"stat {path}: {errno_text(number)}"
    if stat.S_ISDIR(mode):
        # An engine that does not know the one text knows the other, and both mean 126.
        return errno.EISDIR, f"{errno_text(errno.EISDIR)}: {errno_text(errno.EACCES)}"
    # Real and effective ids are the same by now; the effective ones take faccessat2(2), which the
    # filter of a container around us may refuse.
    if posix.access(path, posix.X_OK):
        return 0, ""
    return errno.EACCES, errno_text(errno.EACCES)
