# SPDX-License-Identifier: Apache-2.0
"""The mounts of a container, by descriptors alone (mount_setattr(2), fsopen(2), open_tree(2)).

A mount is made detached, gets its attributes, and is put on the directory whose descriptor we
hold: nothing of it is ever found by a path that somebody could exchange.
"""

from __future__ import annotations

import errno
import posix

from libcontainer.init import paths
from nsenter import system
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Mount

EXT_COPYUP = 1

# (of mount(2), of mount_setattr(2))
_ATTRIBUTES = (
    (system.MS_RDONLY, system.MOUNT_ATTR_RDONLY),
    (system.MS_NOSUID, system.MOUNT_ATTR_NOSUID),
    (system.MS_NODEV, system.MOUNT_ATTR_NODEV),
    (system.MS_NOEXEC, system.MOUNT_ATTR_NOEXEC),
    (system.MS_NODIRATIME, system.MOUNT_ATTR_NODIRATIME),
    (system.MS_NOSYMFOLLOW, system.MOUNT_ATTR_NOSYMFOLLOW),
)
_ATIME = (
    (system.MS_NOATIME, system.MOUNT_ATTR_NOATIME),
    (system.MS_STRICTATIME, system.MOUNT_ATTR_STRICTATIME),
    (system.MS_RELATIME, system.MOUNT_ATTR_RELATIME),
)
# What belongs to the file system rather than to the mount.
_SUPER_FLAGS = (
    (system.MS_RDONLY, "ro"),
    (system.MS_SYNCHRONOUS, "sync"),
    (system.MS_DIRSYNC, "dirsync"),
    (system.MS_MANDLOCK, "mand"),
    (system.MS_LAZYTIME, "lazytime"),
)
_PROPAGATION = system.MS_PRIVATE | system.MS_SLAVE | system.MS_SHARED | system.MS_UNBINDABLE
# Attributes that a mount out of another user namespace keeps (mount_setattr(2), "locked").
_ST_FLAGS = (
    (0x1, system.MOUNT_ATTR_RDONLY),
    (0x2, system.MOUNT_ATTR_NOSUID),
    (0x4, system.MOUNT_ATTR_NODEV),
    (0x8, system.MOUNT_ATTR_NOEXEC),
)

# Each is only itself on an ordinary directory of the root (CVE-2019-19921).
_NO_LINKS = ("proc", "sysfs")


def attributes_of(flags: int) -> tuple[int, int]:
    """The MOUNT_ATTR_* bits to set and to clear for MS_* bits."""
    set_bits = 0
    for flag, attribute in _ATTRIBUTES:
        if flags & flag:
            set_bits |= attribute
    for flag, attribute in _ATIME:
        if flags & flag:
            return set_bits | attribute, system.MOUNT_ATTR__ATIME
    return set_bits, 0


def is_late_readonly(mount: Mount) -> bool:
    """Whether a mount is read-only only when all is in it, as a tmpfs and /dev are."""
    late = mount.device == "tmpfs" or mount.destination.rstrip("/") == "/dev"
    return bool(late and mount.flags & system.MS_RDONLY)


def _late_flags(mount: Mount) -> int:
    return system.MS_RDONLY if is_late_readonly(mount) else 0


def describe(mount: Mount) -> str:
    """A mount in words, for an error."""
    source = f"{mount.source} " if mount.source else ""
    return f"{source}to {mount.destination} (type {mount.device or 'bind'})"


def propagate(fd: int, flags: int, subject: str) -> None:
    """Set the propagation of a mount: one of MS_PRIVATE …, with or without MS_REC."""
    recursive = bool(flags & system.MS_REC)
    kind = flags & _PROPAGATION
    system.mount_setattr(fd, propagation=kind, recursive=recursive, subject=subject)


def thawed(mount: Mount, **changes: object) -> Mount:
    """A copy of a mount with other values for some fields."""
    return type(mount)(**{**mount.__dict__, **changes})


class Mounter:
    """Puts mounts into a root.

    Args:
        root: a descriptor of the root.
        in_userns: whether there is a user namespace of the container's.
        mount_label: SELinux context of new file systems.
    """

    def __init__(self, root: int, *, in_userns: bool, mount_label: str) -> None:
        self.root = root
        self.in_userns = in_userns
        self._label = mount_label

    def mount(self, mount: Mount, tree: int = -1) -> None:
        """Do one mount.

        Args:
            tree: a detached tree to bind, where the caller has made it.
        """
        if mount.flags & system.MS_BIND or tree >= 0:
            self._bind(mount, tree)
        else:
            self.new(mount, mount.device, mount.source, mount.data)

    # ---- new file systems

    def new(self, mount: Mount, fstype: str, source: str, data: str) -> None:
        """Mount a new file system on the destination."""
        if fstype in _NO_LINKS:
            self._refuse_link(mount)
        target = paths.make_in(self.root, mount.destination, folder=True)
        try:
            fd = self.detached(mount, fstype, source, self._data_for(fstype, data, target, mount))
            try:
                if mount.extensions & EXT_COPYUP:
                    copy_up(target, fd)
                self.attach(mount, fd, target)
            finally:
                posix.close(fd)
        finally:
            posix.close(target)

    def _refuse_link(self, mount: Mount) -> None:
        if paths.is_link(self.root, mount.destination):
            raise Failure(
                "mount", describe(mount), errno.ELOOP,
                f"{mount.destination} is a symbolic link in the root; it has to be a directory",
            )  # fmt: skip

    def _data_for(self, fstype: str, data: str, target: int, mount: Mount) -> str:
        """A tmpfs without a mode has that of the directory below it, as with runc."""
        words = [data] if data else []
        if fstype == "tmpfs" and "mode=" not in data:
            words.append(f"mode={posix.fstat(target).st_mode & 0o7777:o}")
        if self._label and fstype not in ("mqueue", "proc", "sysfs", "cgroup", "cgroup2"):
            words.append(f'context="{self._label}"')
        return ",".join(words)

    def detached(self, mount: Mount, fstype: str, source: str, data: str) -> int:
        """A mount of a new file system that is nowhere yet."""
        subject = describe(mount)
        context = -1
        try:
            context = system.fsopen(fstype)
            self._configure(context, mount, source or fstype, data)
            set_bits, _ = attributes_of(mount.flags & ~_late_flags(mount))
            return system.fsmount(context, set_bits, subject)
        except Failure as failure:
            number = failure.errno or 0
            why = f"{failure.operation}: {failure.strerror}{_hint(fstype, number)}"
            raise Failure("mount", subject, number, why) from None
        finally:
            if context >= 0:
                posix.close(context)

    def _configure(self, context: int, mount: Mount, source: str, data: str) -> None:
        system.fsconfig(context, system.FSCONFIG_SET_STRING, "source", source)
        for flag, name in _SUPER_FLAGS:
            if mount.flags & ~_late_flags(mount) & flag:
                system.fsconfig(context, system.FSCONFIG_SET_FLAG, name, None)
        for option in split_options(data):
            name, equals, value = option.partition("=")
            if equals:
                system.fsconfig(context, system.FSCONFIG_SET_STRING, name, value)
            else:
                system.fsconfig(context, system.FSCONFIG_SET_FLAG, name, None)
        system.fsconfig(context, system.FSCONFIG_CMD_CREATE, None, None)

    def attach(self, mount: Mount, fd: int, target: int) -> None:
        """Put a detached mount on the directory or file that `target` is of."""
        system.move_mount(fd, target, describe(mount))
        for flags in mount.propagation_flags:
            propagate(fd, flags, describe(mount))
        if mount.rec_attr_set or mount.rec_attr_clr:
            system.mount_setattr(
                fd, set=mount.rec_attr_set, clear=mount.rec_attr_clr, recursive=True,
                subject=describe(mount),
            )  # fmt: skip

    # ---- binds

    def _bind(self, mount: Mount, tree: int) -> None:
        own = tree < 0
        if own:
            tree = self._clone(mount)
        try:
            folder = paths.is_folder(tree)
            target = paths.make_in(self.root, mount.destination, folder=folder)
            try:
                self._set_attributes(mount, tree)
                self.attach(mount, tree, target)
            finally:
                posix.close(target)
        finally:
            if own:
                posix.close(tree)

    def _clone(self, mount: Mount) -> int:
        flags = system.OPEN_TREE_CLONE
        if mount.flags & system.MS_REC:
            flags |= system.AT_RECURSIVE
        try:
            return system.open_tree(system.AT_FDCWD, mount.source, flags)
        except Failure as failure:
            raise Failure("bind", describe(mount), failure.errno or 0) from None

    def _set_attributes(self, mount: Mount, tree: int) -> None:
        """Before it is attached, so that it is never seen without them."""
        set_bits, clear = attributes_of(mount.flags)
        wanted_off, _ = attributes_of(mount.cleared_flags)
        if not (set_bits or clear or wanted_off):
            return
        try:
            system.mount_setattr(tree, set=set_bits, clear=clear | wanted_off & ~set_bits)
        except Failure as failure:
            # What the mount had in its own user namespace is locked: then it keeps that.
            if failure.errno != errno.EPERM or not (clear or wanted_off):
                raise Failure("bind", describe(mount), failure.errno or 0) from None
            locked = _locked_flags(tree)
            system.mount_setattr(tree, set=set_bits | locked, subject=describe(mount))


def _locked_flags(fd: int) -> int:
    st_flags = posix.fstatvfs(fd).f_flag
    return sum(attribute for st_flag, attribute in _ST_FLAGS if st_flags & st_flag)


def _hint(fstype: str, number: int) -> str:
    if number == errno.EPERM and fstype == "sysfs":
        return " (in a user namespace it takes a network namespace of its own; or bind /sys)"
    if number == errno.EPERM and fstype == "proc":
        return (
            " (in a user namespace it takes a pid namespace of its own, and a /proc around us of "
            "which nothing is masked)"
        )
    return " (the kernel lacks this file system)" if number == errno.ENODEV else ""


def split_options(data: str) -> list[str]:
    """ "a,b=c" in its parts; a value in double quotes may have commas."""
    parts: list[str] = []
    quoted = False
    start = 0
    for i, char in enumerate(data):
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            parts.append(data[start:i])
            start = i + 1
    parts.append(data[start:])
    return [part.replace('"', "") for part in parts if part]


# ---- tmpcopyup


def copy_up(source: int, target: int) -> None:
    """Copy what is in one directory into another: files, folders, links, modes and owners."""
    for name in _names(source):
        _copy_entry(source, target, name)


def _names(fd: int) -> list[str]:
    here = posix.open(".", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=fd)
    try:
        return posix.listdir(here)
    finally:
        posix.close(here)


def _copy_entry(source: int, target: int, name: str) -> None:
    status = posix.lstat(name, dir_fd=source)
    kind = status.st_mode & 0o170000
    if kind == 0o120000:
        posix.symlink(posix.readlink(name, dir_fd=source), name, dir_fd=target)
    elif kind == 0o040000:
        posix.mkdir(name, 0o700, dir_fd=target)
        _copy_folder(source, target, name)
    elif kind == 0o100000:
        _copy_file(source, target, name)
    else:
        posix.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
    posix.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if kind != 0o120000:
        posix.chmod(name, status.st_mode & 0o7777, dir_fd=target)


def _copy_folder(source: int, target: int, name: str) -> None:
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    inner_source = posix.open(name, flags, dir_fd=source)
    inner_target = posix.open(name, flags, dir_fd=target)
    try:
        copy_up(inner_source, inner_target)
    finally:
        posix.close(inner_source)
        posix.close(inner_target)


def _copy_file(source: int, target: int, name: str) -> None:
    flags = posix.O_NOFOLLOW | posix.O_CLOEXEC
    reader = posix.open(name, posix.O_RDONLY | posix.O_NONBLOCK | flags, dir_fd=source)
    writer = posix.open(name, posix.O_WRONLY | posix.O_CREAT | flags, 0o600, dir_fd=target)
    try:
        while posix.sendfile(writer, reader, None, 1 << 20):
            pass
    finally:
        posix.close(reader)
        posix.close(writer)
