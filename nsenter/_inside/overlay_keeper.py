# SPDX-License-Identifier: Apache-2.0
"""A process that mounts the overlays of a workspace, and keeps them mounted between runs.

It runs in a user and a mount namespace of its own, so an ordinary user can have it. Its root is an
empty file system in memory that has the lower layer at /lower. Each generation of the overlay has
an upper layer of its own, on a tmpfs of limited size: a workspace is reset by going on to the next
generation, which has been made before.

The caller asks by messages of one line: make a generation, clone its mount, or drop it. The answers
come in the same order, each with its length in front: "0" with descriptors, or an errno and a text.
To drop a generation has no answer.
"""

from __future__ import annotations

import posix
import sys
from errno import EIO, ENOENT
from posix import O_CLOEXEC, O_DIRECTORY, O_RDONLY

from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Operation = Callable[["_Keeper", int], tuple[int, ...]]

__all__ = ["FUSE", "KERNEL", "LENGTH_BYTES", "LOWER", "MOST_FDS", "PLAIN", "main"]

LOWER = "/lower"
KERNEL, FUSE, PLAIN = "overlayfs", "fuse-overlayfs", "copy"
LENGTH_BYTES = 4
MOST_FDS = 2
_LONGEST = 64  # of a request
_CAP_SYS_ADMIN = 21
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ATTRIBUTES = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


def main(channel: int, kind: str, size: int, inodes: int) -> int:
    """Serve requests until the caller closes the channel.

    Args:
        channel: the socket for requests and answers.
        kind: how the overlays are made: KERNEL, FUSE, or PLAIN for a tmpfs without a lower layer.
        size, inodes: the limits of each upper layer.
    """
    keeper = _Keeper(kind, size, inodes)
    for name in ("/generation", "/merged"):
        posix.mkdir(name, 0o700)
    pending = b""
    while True:
        piece = posix.read(channel, 1 << 12)
        if not piece:
            return 0
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            word, _, number = line.decode("ascii").partition(" ")
            if word == "drop":
                keeper.drop(int(number))
            else:
                _answer(channel, _ANSWERED[word], keeper, int(number))
        if len(pending) > _LONGEST:
            return 1


def _answer(channel: int, operation: _Operation, keeper: _Keeper, generation: int) -> None:
    fds: tuple[int, ...] = ()
    try:
        fds = operation(keeper, generation)
        said = b"0 "
    except OSError as error:
        said = f"{error.errno or EIO} {error}".encode("utf-8", "replace")
    try:
        syscalls.send_fds(channel, len(said).to_bytes(LENGTH_BYTES, sys.byteorder) + said, fds)
    finally:
        for fd in fds:
            close(fd)


class _Keeper:
    """The generations that are mounted."""

    def __init__(self, kind: str, size: int, inodes: int) -> None:
        self._kind = kind
        self._limits = {"size": str(size), "nr_inodes": str(inodes), "mode": "700"}

    def make(self, generation: int) -> tuple[int, ...]:
        """Mount the overlay of a generation.

        Returns:
            Descriptors of its top directory, and of that of its upper layer.
        """
        layers, merged = f"/generation/{generation}", f"/merged/{generation}"
        upper = f"{layers}/upper"
        try:
            for path in (layers, merged):
                posix.mkdir(path, 0o700)
            self._mount_layers(layers)
            self._mount(layers, merged)
            return _open_both(merged, upper)
        except OSError:
            self.drop(generation)
            raise

    def _mount_layers(self, layers: str) -> None:
        _mount_new("tmpfs", self._limits, layers)
        for name in ("upper", "work"):
            posix.mkdir(f"{layers}/{name}", 0o700)
        _imitate(LOWER, f"{layers}/upper")

    def _mount(self, layers: str, merged: str) -> None:
        names = {"lowerdir": LOWER, "upperdir": f"{layers}/upper", "workdir": f"{layers}/work"}
        if self._kind == KERNEL:
            _mount_new("overlay", {**names, "userxattr": None}, merged)
        elif self._kind == FUSE:
            _mount_fuse(names, merged)
        else:
            fd = syscalls.open_tree(syscalls.AT_FDCWD, f"{layers}/upper", syscalls.OPEN_TREE_CLONE)
            _attach(fd, merged)

    def clone(self, generation: int) -> tuple[int, ...]:
        """Return a detached mount of the overlay, for one process to attach in its root."""
        path = f"/merged/{generation}"
        return (syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE),)

    def drop(self, generation: int) -> None:
        """Unmount a generation. Its files are freed when nobody uses them any more.

        The caller has closed its descriptors before, so this process is the one that waits for
        the kernel to free them.
        """
        for path in (f"/merged/{generation}", f"/generation/{generation}"):
            with suppress(OSError):
                syscalls.umount(path, syscalls.MNT_DETACH)
            with suppress(OSError):
                posix.rmdir(path)
        if self._kind == FUSE:
            with suppress(ChildProcessError):
                while posix.waitpid(-1, posix.WNOHANG)[0]:
                    pass


_ANSWERED: dict[str, _Operation] = {"make": _Keeper.make, "clone": _Keeper.clone}


def _mount_new(fstype: str, options: Mapping[str, str | None], where: str) -> None:
    context = syscalls.fsopen(fstype)
    try:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, "source", fstype)
        for name, value in options.items():
            command = syscalls.FSCONFIG_SET_STRING if value else syscalls.FSCONFIG_SET_FLAG
            syscalls.fsconfig(context, command, name, value)
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE, None, None)
        mount = syscalls.fsmount(context, _ATTRIBUTES, fstype)
    finally:
        close(context)
    _attach(mount, where)


def _mount_fuse(names: dict[str, str], where: str) -> None:
    """Have fuse-overlayfs(1) serve an overlay. It goes on in the background if it is mounted.

    It ends with this process, which is the init of a PID namespace. It runs as the user of the runs
    with one capability: as root, it would let in the processes of this user namespace alone.
    """
    _pass_on(_CAP_SYS_ADMIN)
    options = ",".join(f"{name}={value}" for name, value in names.items())
    argv = ["fuse-overlayfs", "-o", options, where]
    reader, writer = posix.pipe2(O_CLOEXEC | posix.O_NONBLOCK)
    try:
        # Only what it says before it goes into the background is read.
        actions = [(posix.POSIX_SPAWN_DUP2, writer, fd) for fd in (1, 2)]
        pid = posix.posix_spawn(_fuse_path(), argv, {"PATH": _PATH}, file_actions=actions)
        _, status = posix.waitpid(pid, 0)
        if status:
            why = f"it ended with status {status >> 8}: {_said(reader)}"
            raise syscalls.Failure("fuse-overlayfs", where, EIO, why)
    finally:
        close(reader, writer)


def _pass_on(capability: int) -> None:
    """Let programs that this process executes have a capability (capabilities(7), ambient set)."""
    effective, permitted, inheritable = syscalls.capget()
    syscalls.capset(effective, permitted, inheritable | 1 << capability)
    syscalls.prctl(
        "PR_CAP_AMBIENT", syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, capability, 0, 0
    )


def _said(pipe: int) -> str:
    try:
        return posix.read(pipe, 1 << 12).decode("utf-8", "replace").strip().replace("\n", "; ")
    except BlockingIOError:
        return "it said nothing"


def _fuse_path() -> str:
    for folder in _PATH.split(":"):
        with suppress(OSError):
            posix.stat(f"{folder}/fuse-overlayfs")
            return f"{folder}/fuse-overlayfs"
    raise syscalls.Failure("execve", "fuse-overlayfs", ENOENT)


def _attach(mount: int, where: str) -> None:
    try:
        place = posix.open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        try:
            syscalls.move_mount(mount, place, where)
        finally:
            close(place)
    finally:
        close(mount)


def _imitate(model: str, path: str) -> None:
    """Give a directory the mode and the owner of another, as far as this user namespace has it."""
    found = posix.stat(model)
    with suppress(OSError):
        posix.chown(path, found.st_uid, -1)
    with suppress(OSError):
        posix.chown(path, -1, found.st_gid)
    posix.chmod(path, found.st_mode & 0o1777)


def _open_both(merged: str, upper: str) -> tuple[int, ...]:
    flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
    first = posix.open(merged, flags)
    try:
        return first, posix.open(upper, flags)
    except OSError:
        close(first)
        raise
