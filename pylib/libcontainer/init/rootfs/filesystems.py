# SPDX-License-Identifier: Apache-2.0
"""New file systems: a mount of one that is nowhere yet (fsopen(2), fsmount(2))."""

from __future__ import annotations

import errno

from libcontainer.init.rootfs.attributes import attributes_of, failed, is_late_readonly
from nsenter._host import procfs, syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import (
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    Failure,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Mount

# What belongs to the file system rather than to the mount.
_SUPER_FLAGS = (
    (syscalls.MS_RDONLY, "ro"),
    (syscalls.MS_SYNCHRONOUS, "sync"),
    (syscalls.MS_DIRSYNC, "dirsync"),
    (syscalls.MS_MANDLOCK, "mand"),
    (syscalls.MS_LAZYTIME, "lazytime"),
)
_LONGEST_VALUE = 255  # of fsconfig(2)
_LONGEST_DATA = 4095  # of mount(2), that cuts off the rest without a word

_HINTS = {
    (errno.EPERM, "sysfs"): (
        "in a user namespace it takes a network namespace of its own; or bind the host's /sys"
    ),
    (errno.EPERM, "proc"): (
        "in a user namespace it takes a pid namespace of its own, and a /proc around us of which "
        "nothing is masked; or bind the host's /proc"
    ),
    (errno.EPERM, "mqueue"): "in a user namespace it takes an ipc namespace of its own",
    (errno.EPERM, "cgroup2"): "in a user namespace it takes a cgroup namespace of its own",
}


def hint_for(fstype: str, number: int) -> str:
    """Return what to try if a file system could not be mounted; "" if that is not known."""
    if number == errno.ENODEV:
        return f"this kernel has no file system {fstype!r}; is its module loaded?"
    return _HINTS.get((number, fstype), "")


def detached(mount: Mount, fstype: str, source: str, data: str, *, pid_namespace: int = -1) -> int:
    """Return a new detached mount. If it is to become read-only later, it can still be written.

    Args:
        mount: the mount whose flags it gets, and which an error names.
        fstype: the type of the file system.
        source: its source.
        data: its options, separated by commas.
        pid_namespace: a descriptor of the PID namespace that a /proc shows; -1 means this
            process's.

    Raises:
        Failure: the error has the message of the file system, and what to try.
    """
    late = syscalls.MS_RDONLY if is_late_readonly(mount) else 0
    flags = mount.flags & ~late
    context = -1
    try:
        context = syscalls.fsopen(fstype)
        syscalls.fsconfig(context, FSCONFIG_SET_STRING, "source", source or fstype)
        if pid_namespace >= 0:
            syscalls.set_pid_namespace(context, pid_namespace)
        for flag, name in _SUPER_FLAGS:
            if flags & flag:
                syscalls.fsconfig(context, FSCONFIG_SET_FLAG, name, None)
        for name, value in _options(fstype, data):
            command = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
            syscalls.fsconfig(context, command, name, value)
        syscalls.fsconfig(context, FSCONFIG_CMD_CREATE, None, None)
        return syscalls.fsmount(context, attributes_of(flags))
    except Failure as failure:
        hint = hint_for(fstype, failure.errno or 0) or _hint_for_ids(data)
        raise failed(mount, failure, hint) from None
    finally:
        if context >= 0:
            close(context)


def has_mount_flags_alone(mount: Mount) -> bool:
    """Return whether no flag of a mount, except "ro", is a flag of the file system.

    A bind mount can then have all of them.
    """
    of_the_file_system = sum(flag for flag, _ in _SUPER_FLAGS) & ~syscalls.MS_RDONLY
    return not mount.flags & of_the_file_system


def is_too_long(data: str) -> bool:
    """Return whether one option is too long for fsconfig(2), and all of them fit into mount(2)."""
    if not _LONGEST_VALUE < _size(data) <= _LONGEST_DATA:
        return False
    return any(_size(option.partition("=")[2]) > _LONGEST_VALUE for option in split(data))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def mount_here(mount: Mount, fstype: str, source: str, data: str) -> None:
    """Mount a file system on the working directory, by mount(2): its options may be longer.

    "." is the very directory, whatever its path leads to by now.
    """
    try:
        syscalls.mount(source or fstype, ".", fstype, mount.flags, data)
    except Failure as failure:
        hint = hint_for(fstype, failure.errno or 0) or _hint_for_ids(data)
        raise failed(mount, failure, hint) from None


def _hint_for_ids(data: str) -> str:
    """Return what to try if an option names a user or group that the container cannot have."""
    for option in split(data):
        kind, _, value = option.partition("=")
        if kind in ("uid", "gid") and value.isdecimal() and not procfs.is_mapped(kind, int(value)):
            return f"{option} is not mapped in this user namespace: map it, or leave out the option"
    return ""


def _options(fstype: str, data: str) -> list[tuple[str, str | None]]:
    options: list[tuple[str, str | None]] = []
    for option in split(data):
        name, equals, value = option.partition("=")
        if fstype == "overlay" and name == "lowerdir" and _size(value) > _LONGEST_VALUE:
            options += _layers(value)
        else:
            options.append((name, value if equals else None))
    return options


def _layers(lowerdir: str) -> list[tuple[str, str]]:
    r"""Yield the layers of an overlay one by one, as Linux 6.8 accepts them: "a:b\:c::data"."""
    layers, name, path = [], "lowerdir+", ""
    chars = iter(f"{lowerdir}:")
    for char in chars:
        if char == "\\":
            path += next(chars, "")
        elif char != ":":
            path += char
        elif path:
            layers.append((name, path))
            path = ""
        else:
            name = "datadir+"  # behind an empty one come those that hold data alone
    return layers


def split(data: str) -> list[str]:
    r"""Split mount data such as "a,b=c" at its commas.

    Commas in a value in double quotes do not count, nor do those with a backslash before them.
    """
    pieces = data.replace("\\,", "\\\0").split('"')
    pieces[1::2] = [piece.replace(",", "\0") for piece in pieces[1::2]]
    return [part.replace("\0", ",") for part in "".join(pieces).split(",") if part]
