# SPDX-License-Identifier: Apache-2.0
"""Readers for files in /proc (proc_pid_mountinfo(5) and others).

A name in /proc is chosen by whoever made the mount, the cgroup or the process, and can contain any
byte. So each reader splits the bytes at the kernel's separators first, and decodes the fields then.
A line that does not have the kernel's form is an error: if it were skipped, a mount could stay
writable.

An init in a container imports this module, so it imports only built-in modules.
"""

from __future__ import annotations

import posix
from errno import EINVAL

from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Mount",
    "cgroups",
    "has_admin",
    "has_executed",
    "is_mapped",
    "mounts",
    "parent_of",
    "read",
    "start_time_of",
    "stat",
    "state_letter_of",
    "status",
    "status_field",
    "unescape",
]

_MOUNTINFO = "/proc/self/mountinfo"
_DELETED = "//deleted"  # an existing path never has two slashes
_CHUNK = 1 << 16
_CAP_SYS_ADMIN = 21
_OCTAL = frozenset(b"01234567")
# Fields 3, 4, 9 and 22 of proc_pid_stat(5), counted from the field after the name.
_STAT_STATE, _STAT_PARENT, _STAT_FLAGS, _STAT_START_TIME = 0, 1, 6, 19
_PF_FORKNOEXEC = 0x40  # linux/sched.h: made by clone(2), and no execve(2) has succeeded since


class Mount:
    """One mount, a line of /proc/PID/mountinfo.

    Attributes:
        id, parent: the ids of the mount and of its parent mount.
        device: "major:minor" of the file system.
        root: the directory or file of the file system that is mounted.
        deleted: whether `root` has been removed.
        point: the mount point, below the root of the process.
        options: the options of the mount.
        propagation: "shared:N", "master:N", "propagate_from:N", "unbindable", or none of these.
        fstype, source: the type of the file system, and its source, which can be any text.
        super_options: the options of the file system.
    """

    __slots__ = (
        "deleted", "device", "fstype", "id", "options", "parent", "point", "propagation", "root",
        "source", "super_options",
    )  # fmt: skip

    def __init__(self, line: bytes) -> None:
        left, _, right = line.partition(b" - ")
        fields, kinds = left.split(b" "), right.split(b" ", 2)
        if len(fields) < 6 or len(kinds) < 3 or not (fields[0] + fields[1]).isdigit():
            raise Failure("read a line of mountinfo", repr(line)[1:], EINVAL)
        self.id, self.parent = int(fields[0]), int(fields[1])
        self.device, root, self.point = map(unescape, fields[2:5])
        self.root = root.removesuffix(_DELETED) or "/"
        self.deleted = root.endswith(_DELETED)
        self.options = tuple(map(unescape, fields[5].split(b",")))
        self.propagation = tuple(map(unescape, fields[6:]))
        self.fstype, self.source = unescape(kinds[0]), unescape(kinds[1])
        self.super_options = tuple(map(unescape, kinds[2].split(b",")))


def mounts(text: str | bytes | None = None) -> list[Mount]:
    """Return the mounts below the root of the reader, in the kernel's order.

    If several are mounted on the same mount point, all of them are returned.

    Args:
        text: the content of a mountinfo file; None means /proc/self/mountinfo.

    Raises:
        OSError: the file cannot be read, or a line is not valid.
    """
    lines = _bytes(read(_MOUNTINFO) if text is None else text).split(b"\n")
    return [Mount(line) for line in lines if line]


def cgroups(text: str | bytes) -> Iterator[tuple[str, str]]:
    """Yield each controller in a /proc/PID/cgroup file and the path of its cgroup (cgroups(7)).

    The controller of version 2 is "".

    Raises:
        OSError: a line is not valid.
    """
    for line in filter(None, _bytes(text).split(b"\n")):
        number, *rest = line.split(b":", 2)
        if len(rest) < 2 or not number.isdigit():
            raise Failure("read a line of a process's cgroups", repr(line)[1:], EINVAL)
        path = _decode(rest[1])
        for controller in rest[0].split(b","):
            yield _decode(controller), path


def status(text: bytes) -> dict[str, str]:
    """Return the fields of a /proc/PID/status file (proc_pid_status(5))."""
    pairs = (line.partition(b":") for line in text.split(b"\n") if line)
    return {_decode(name): _decode(value.removeprefix(b"\t")) for name, _, value in pairs}


def is_mapped(kind: str, id: int) -> bool:
    """Return whether the user namespace of this process maps an id (user_namespaces(7)).

    Args:
        kind: "uid" or "gid".
    """
    lines = (map(int, line.split()) for line in read(f"/proc/self/{kind}_map").splitlines())
    return any(first <= id < first + count for first, _, count in lines)


def stat(text: bytes) -> list[str]:
    """Return the fields of a /proc/PID/stat file (proc_pid_stat(5)) that follow the command.

    The first one is the state, field 3 in the manual page. The command itself can contain blanks,
    brackets and newlines.
    """
    return _decode(text[text.rfind(b")") + 1 :]).split()


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of `stat`; an empty list if there is no such process."""
    try:
        return stat(read(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return []


def start_time_of(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if it is gone or a zombie.

    Args:
        pid: the pid of the process.
    """
    fields = _stat_fields(pid)
    return 0 if not fields or fields[_STAT_STATE] in ("Z", "X") else int(fields[_STAT_START_TIME])


def parent_of(pid: int) -> int:
    """Return the pid of the parent of a process; 0 if the process is gone."""
    fields = _stat_fields(pid)
    return int(fields[_STAT_PARENT]) if fields else 0


def has_executed(pid: int) -> bool | None:
    """Return whether a process, or a zombie, has executed a program since it was cloned.

    Return None if /proc does not tell: the process has already been waited for, or /proc hides it.
    """
    fields = _stat_fields(pid)
    return not int(fields[_STAT_FLAGS]) & _PF_FORKNOEXEC if fields else None


def state_letter_of(pid: int) -> str:
    """Return the state of a process as a letter (proc_pid_stat(5)); "" if it is gone."""
    fields = _stat_fields(pid)
    return fields[_STAT_STATE] if fields else ""


def unescape(text: bytes) -> str:
    r"""Decode a text in which the kernel has escaped bytes: "\040" is a blank, "\134" a backslash.

    Bytes that are not UTF-8 become surrogates (PEP 383), as in Python's own paths.
    """
    first, *rest = text.split(b"\\")
    for part in rest:
        octal = part[:3]
        known = len(octal) == 3 and _OCTAL.issuperset(octal) and octal[0] < ord("4")
        first += bytes((int(octal, 8),)) + part[3:] if known else b"\\" + part
    return _decode(first)


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def read(path: str, folder: int | None = None) -> bytes:
    """Return the whole content of a file in /proc.

    Args:
        path: its path.
        folder: the descriptor of the directory that `path` is relative to.

    Raises:
        OSError: the file cannot be read.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=folder)
    try:
        text = b""
        while piece := posix.read(fd, _CHUNK):
            text += piece
        return text
    finally:
        close(fd)


def status_field(name: str) -> str:
    """Return a field of /proc/self/status (proc_pid_status(5)), or "" if there is none."""
    try:
        return status(read("/proc/self/status")).get(name, "").strip()
    except OSError:
        return ""


def has_admin() -> bool:
    """Return whether this process has CAP_SYS_ADMIN in its user namespace."""
    return bool(int(status_field("CapEff") or "0", 16) >> _CAP_SYS_ADMIN & 1)
