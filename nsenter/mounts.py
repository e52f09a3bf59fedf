# SPDX-License-Identifier: Apache-2.0
"""What is mounted for a process, in its own mount namespace: the words of `Options.mounts`.

They travel as records of four strings (csrc/records.h); csrc/mounts.c mounts them.
"""

from __future__ import annotations

import os

from nsenter.sizes import in_bytes
from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Path = str | bytes | os.PathLike[str]

__all__ = ["Bind", "Dev", "File", "Mount", "Proc", "Tmpfs", "encode"]

_MOST = 256  # csrc/records.h has the same
_MODE_MAX = 0o7777
_MOST_TEXT = 4096


class Mount(Value):
    """One of those below; they are mounted in the order in which they are given."""

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        """Kind, target, argument, flags."""
        raise NotImplementedError


class Bind(Mount):
    """A file or folder of the caller's tree, with all that is mounted below it (mount(8), --rbind).

    It is looked up before the root is entered and before anything else is mounted, and has nosuid
    and nodev, as bubblewrap's. What a writable one can take is not bounded.

    Args:
        source: an absolute path in the caller's mount namespace; symbolic links are followed.
        target: where, an absolute path below the root of the process; None: as `source`.
        writable: else it is read-only, with all below it.
        devices: whether device files in it can be opened.
        as_owner: whether the process has the rights of the owner of `source` there: what belongs to
            that user and group is the process's own, and what the process makes belongs to them.
            What is mounted below `source` is as it is without this. It requires a caller with
            CAP_SYS_ADMIN, and a file system that has id-mapped mounts (mount_setattr(2)); without
            them the start fails, unless everybody may write to `source`.
    """

    source: Path
    target: Path | None = None
    writable: bool = False
    devices: bool = False
    as_owner: bool = False

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        target = self.source if self.target is None else self.target
        flags = ("w" if self.writable else "") + ("d" if self.devices else "")
        return (
            b"bind",
            _absolute(self, "target", target),
            _absolute(self, "source", self.source),
            flags,
        )


class Tree(Mount):
    """A detached mount of the launcher's; nsenter/owned.py makes it of a `Bind`.

    Args:
        target: where.
        fd: its descriptor, which the stages must have under the same number.
        writable: whether missing mount points may be made in it.
    """

    target: Path
    fd: int
    writable: bool

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        target = _absolute(self, "target", self.target)
        return b"tree", target, b"%d" % self.fd, "w" if self.writable else ""


class Tmpfs(Mount):
    """A new empty file system in memory (tmpfs(5)), with nosuid and nodev.

    Args:
        target: where.
        size: in bytes, or as "64M", at most; None: 64 MiB.
        mode: of its top folder.
        inodes: how many files, folders and links, at most; None: 16,384.
    """

    target: Path
    size: int | str | None = None
    mode: int = 0o755
    inodes: int | str | None = None

    def options(self) -> bytes:
        """Those of the file system, as tmpfs(5) has them.

        Raises:
            ValueError: a field is out of its range.
        """
        if not 0 <= self.mode <= _MODE_MAX:
            raise ValueError(f"{self!r}: mode must be 0 … 0o7777")
        return b"mode=%o" % self.mode + _bounds(self, self.size, self.inodes)

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        return b"tmpfs", _absolute(self, "target", self.target), self.options(), ""


class Proc(Mount):
    """The /proc of the process's pid namespace (proc(5)), with nosuid, nodev and noexec.

    A user may mount it only in a new pid namespace, and where nothing of the caller's own /proc is
    covered.
    """

    target: Path = "/proc"

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        return b"proc", _absolute(self, "target", self.target), b"", ""


class Sysfs(Mount):
    """The /sys of the process's network namespace (sysfs(5)), with nosuid, nodev and noexec.

    Args:
        target: where.
        writable: else it is read-only.
    """

    target: Path
    writable: bool = False

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        return b"sysfs", _absolute(self, "target", self.target), b"", "w" * self.writable


class Dev(Mount):
    """A minimal /dev: null, zero, full, random, urandom and tty of the host; new pts, shm, and the
    links fd, stdin, stdout, stderr and ptmx.

    With `Options.terminal`, console is the new terminal.

    Args:
        target: where.
        size: in bytes, at most, of what can be written in it, shm above all; None: 64 MiB.
        inodes: how many files, folders and links, at most; None: 16,384.
    """

    target: Path = "/dev"
    size: int | str | None = None
    inodes: int | str | None = None

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        argument = b"mode=755" + _bounds(self, self.size, self.inodes)
        return b"dev", _absolute(self, "target", self.target), argument, ""


def _bounds(mount: Mount, size: int | str | None, inodes: int | str | None) -> bytes:
    """The options of a tmpfs that is to hold so much; csrc/mountapi.c has what None means."""
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
    """A new file with a text, in a root of "tmpfs" or in a `Tmpfs` that came before.

    It is root's, and its mode is 0644.

    Args:
        target: where.
        text: what is in it, 4,096 bytes at most, without NUL.
    """

    target: Path
    text: str | bytes

    def _record(self) -> tuple[bytes, bytes, bytes, str]:
        if not isinstance(self.text, (str, bytes)):
            raise TypeError(f"mounts: {self!r}: text must be str or bytes, not {self.text!r}")
        text = os.fsencode(self.text)
        if len(text) > _MOST_TEXT or b"\0" in text:
            raise ValueError(f"mounts: {self.target!r}: a text of over 4,096 bytes, or with a NUL")
        return b"file", _absolute(self, "target", self.target), text, ""


def encode(mounts: Iterable[Mount], *, root_is_ours: bool, root_is_new: bool = False) -> bytes:
    """The records.

    Args:
        root_is_ours: whether mount points that are missing may be made in the root. They are in
            each Tmpfs, Dev and writable Bind that came before; nowhere else.
        root_is_new: whether the root is one in memory, where a File can be made.

    Raises:
        ValueError, TypeError: a mount is bad; it is in the message.
    """
    fields: list[bytes] = []
    # What is mounted, whether it is ours to write, and whether it is new.
    places = [(b"/", root_is_ours, root_is_new)]
    for mount in mounts:
        if not isinstance(mount, Mount):
            raise TypeError(f"mounts: {mount!r}: expected Bind, Tmpfs, Proc, Dev or File")
        kind, target, argument, flags = mount._record()
        if not target.strip(b"/"):
            raise ValueError(f"mounts: {mount!r}: the root itself is given by `root`")
        *_, (is_ours, is_new) = (how for folder, *how in places if _is_below(target, folder))
        if kind == b"file" and not is_new:
            raise ValueError(f'mounts: {mount!r}: a File takes a root of "tmpfs", or a Tmpfs there')
        makes = kind in (b"tmpfs", b"dev")
        places.append((target, makes or "w" in flags, makes))
        fields += kind, target, argument, (flags + "m" * is_ours).encode()
    if len(places) - 1 > _MOST:
        raise ValueError(f"mounts: {len(places) - 1} of them; the most is {_MOST}")
    return b"".join(field + b"\0" for field in fields)


def _is_below(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder.rstrip(b"/") + b"/")


def _absolute(mount: Mount, field: str, path: Path) -> bytes:
    raw = os.fsencode(path)
    if not raw.startswith(b"/") or b"\0" in raw:
        raise ValueError(f"mounts: {mount!r}: {field} must be an absolute path without NUL")
    return raw
