# SPDX-License-Identifier: Apache-2.0
"""The mounts of a process in its own mount namespace, for `Options.mounts`.

The launcher sends each as a record of four strings (csrc/message/launch_lists.h);
csrc/inside/mounts.c mounts them.
"""

from __future__ import annotations

import os
from _collections_abc import Callable, Iterable  # collections.abc imports all of collections

from nsenter._host.records import Value
from nsenter._host.sizes import in_bytes
from nsenter._launch.argument_checks import check_flags

Path = str | bytes | os.PathLike[str]

__all__ = ["Bind", "Dev", "File", "Mount", "Proc", "Tmpfs", "encode"]

_MOST = 256  # csrc/message/launch_lists.h has the same
_MODE_MAX = 0o7777
_MOST_TEXT = 4096


class Mount(Value):
    """The base class of the mounts below. They are mounted in the given order."""

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        """Return kind, target, argument and flags."""
        raise NotImplementedError


class Bind(Mount):
    """A file or directory of the caller, with everything that is mounted below it.

    This is `mount --rbind` (mount(8)). The source is opened before the root is entered and before
    anything else is mounted. The mount is nosuid and nodev, as with bubblewrap. The amount of data
    that the process can write to a writable bind is not limited.

    Args:
        source: an absolute path in the caller's mount namespace; symbolic links are followed.
        target: an absolute path below the root of the process; None means the same as `source`.
        writable: make the mount writable. Otherwise it is read-only, with everything below it.
        devices: allow to open device files in it.
        as_owner: give the process the rights of the owner of `source`. What belongs to that user
            and group belongs to the process inside, and what the process makes belongs to them.
            File systems that are mounted below `source` are not affected. Requires CAP_SYS_ADMIN in
            the caller, and a file system that supports id-mapped mounts (mount_setattr(2)).
            Otherwise the start fails, unless everybody may write to `source`.

    Example:
        >>> Bind("/srv/data", "/data", writable=True)
        Bind(source='/srv/data', target='/data', writable=True)
    """

    source: Path
    target: Path | None = None
    writable: bool = False
    devices: bool = False
    as_owner: bool = False

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        check_flags(self, "writable", "devices", "as_owner")
        target = self.source if self.target is None else self.target
        flags = ("w" if self.writable else "") + ("d" if self.devices else "")
        return (
            b"bind",
            _absolute(self, "target", target),
            _absolute(self, "source", self.source),
            flags,
        )


class Tree(Mount):
    """A detached mount that the launcher holds; `_launch.idmapped_binds` makes it from a `Bind`.

    Args:
        target: the mount point.
        fd: the descriptor of the mount, which must have the same number in the stages.
        writable: allow to create missing mount points in it.
    """

    target: Path
    fd: int
    writable: bool

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        target = _absolute(self, "target", self.target)
        return b"tree", target, b"%d" % self.fd, "w" if self.writable else ""


class Attached(Mount):
    """A detached mount that is made for each process.

    `_launch.idmapped_binds` makes a `Tree` of it.

    Args:
        target: the mount point; "/" for `Options.root`.
        make: return a new descriptor of the mount. The launcher closes it.
        writable: allow to create missing mount points in it.
    """

    target: Path
    make: Callable[[], int]
    writable: bool = False

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        """Return the record of a `Tree`: it checks the target when the options are made."""
        return Tree(self.target, 0, self.writable)._record()


class Tmpfs(Mount):
    """A new empty file system in memory (tmpfs(5)), nosuid and nodev.

    Args:
        target: the mount point.
        size: the largest size in bytes: a number or a string such as "64M". None means 64 MiB.
        mode: the mode of its top directory.
        inodes: the largest number of files, directories and links. None means 16,384.

    Example:
        >>> Tmpfs("/tmp", size="64M", mode=0o1777).options()
        b'mode=1777,size=67108864'
    """

    target: Path
    size: int | str | None = None
    mode: int = 0o755
    inodes: int | str | None = None

    def options(self) -> bytes:
        """Return the mount options, in the form of tmpfs(5).

        Raises:
            ValueError: a field is out of its range.
        """
        if type(self.mode) is not int or not 0 <= self.mode <= _MODE_MAX:
            raise ValueError(f"{self!r}: mode must be 0 … 0o7777")
        return b"mode=%o" % self.mode + _bounds(self, self.size, self.inodes)

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        return b"tmpfs", _absolute(self, "target", self.target), self.options(), ""


class Proc(Mount):
    """The /proc of the process's PID namespace (proc(5)), nosuid, nodev and noexec.

    In a user namespace it can be mounted only if the PID namespace is new and the caller's own
    /proc is not masked.

    Args:
        target: the mount point.
    """

    target: Path = "/proc"

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        return b"proc", _absolute(self, "target", self.target), b"", ""


class Sysfs(Mount):
    """The /sys of the process's network namespace (sysfs(5)), nosuid, nodev and noexec.

    Args:
        target: the mount point.
        writable: make it writable. Otherwise it is read-only.
    """

    target: Path
    writable: bool = False

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        return b"sysfs", _absolute(self, "target", self.target), b"", "w" * self.writable


class Dev(Mount):
    """A minimal /dev.

    It has null, zero, full, random, urandom and tty of the host, a new pts and shm, and the links
    fd, stdin, stdout, stderr and ptmx. With `Options.terminal`, console is the new terminal.

    Args:
        target: the mount point.
        size: how many bytes can be written in it, mostly in shm: a number or a string such as
            "64M". None means 64 MiB.
        inodes: the largest number of files, directories and links. None means 16,384.
    """

    target: Path = "/dev"
    size: int | str | None = None
    inodes: int | str | None = None

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        argument = b"mode=755" + _bounds(self, self.size, self.inodes)
        return b"dev", _absolute(self, "target", self.target), argument, ""


def _bounds(mount: Mount, size: int | str | None, inodes: int | str | None) -> bytes:
    """Return the mount options that limit a tmpfs.

    csrc/inside/mount_api.c has the defaults for None.
    """
    options = b""
    for name, option, number in (("size", b"size", size), ("inodes", b"nr_inodes", inodes)):
        if number is None:
            continue
        whole = in_bytes(number)
        if whole is None or whole <= 0:
            words = 'a whole number above 0, also as "64M"'
            raise ValueError(f"{mount!r}: {name} must be {words}")
        options += b",%b=%d" % (option, whole)
    return options


class File(Mount):
    """A new file, in a root of "tmpfs" or in an earlier `Tmpfs`.

    It belongs to root, and its mode is 0644.

    Args:
        target: its path.
        text: its content, at most 4,096 bytes without a NUL.
    """

    target: Path
    text: str | bytes

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        if not isinstance(self.text, (str, bytes)):
            raise TypeError(f"mounts: {self!r}: text must be str or bytes, not {self.text!r}")
        text = os.fsencode(self.text)
        if len(text) > _MOST_TEXT or b"\0" in text:
            raise ValueError(f"mounts: {self.target!r}: text must be 4,096 bytes at most, no NUL")
        return b"file", _absolute(self, "target", self.target), text, ""


def encode(mounts: Iterable[Mount], *, root_is_ours: bool, root_is_new: bool = False) -> bytes:
    """Return the records of some mounts, as csrc/message/launch_lists.h describes them.

    Args:
        mounts: the mounts, in the order in which they are mounted.
        root_is_ours: allow to create missing mount points in the root. They are always created in
            an earlier Tmpfs, Dev or writable Bind, and nowhere else.
        root_is_new: the root is a new file system in memory, in which a File can be made.

    Raises:
        ValueError: a field of a mount is not valid; the message shows the mount.
        TypeError: a value is not a mount, or a field has the wrong type.
    """
    fields: list[bytes] = []
    # Each mount point, whether mount points may be created in it, and whether it is new.
    places = [(b"/", root_is_ours, root_is_new)]
    for mount in mounts:
        if not isinstance(mount, Mount):
            raise TypeError(f"mounts must be Bind, Tmpfs, Proc, Dev or File values, not {mount!r}")
        kind, target, argument, flags = mount._record()
        if isinstance(mount, Tree) and target == b"/" and root_is_ours and not fields:
            fields += kind, target, argument, flags.encode()
            continue
        if not target.strip(b"/"):
            raise ValueError(f'mounts: {mount!r}: target must not be "/": use the field root')
        *_, (is_ours, is_new) = (how for folder, *how in places if _is_below(target, folder))
        if kind == b"file" and not is_new:
            raise ValueError(f'mounts: {mount!r}: File requires root="tmpfs", or a Tmpfs above it')
        makes = kind in (b"tmpfs", b"dev")
        places.append((target, makes or "w" in flags, makes))
        fields += kind, target, argument, (flags + "m" * is_ours).encode()
    if len(places) - 1 > _MOST:
        raise ValueError(f"mounts: {len(places) - 1} of them; the most is {_MOST}")
    return b"".join(field + b"\0" for field in fields)


def _is_below(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder.rstrip(b"/") + b"/")


def _absolute(mount: Mount, field: str, path: Path) -> bytes:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"mounts: {mount!r}: {field} must be a path, not {path!r}")
    raw = os.fsencode(path)
    if not raw.startswith(b"/") or b"\0" in raw:
        raise ValueError(f"mounts: {mount!r}: {field} must be an absolute path without NUL")
    return raw
