# SPDX-License-Identifier: Apache-2.0
"""The mounts of a container, by descriptors only (mount_setattr(2), fsopen(2), open_tree(2)).

A mount is created detached, gets its flags, and is then attached to the directory of a descriptor.
No part of it is ever found by a path that another process could replace.
"""

from __future__ import annotations

import _stat as stat
import errno
import posix

from libcontainer.init.rootfs import binds, filesystems, paths
from libcontainer.init.rootfs.attributes import failed, is_late_readonly, propagate
from libcontainer.init.rootfs.copyup import copy_up
from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer.configs import Mount

EXT_COPYUP = 1

# Each is only itself on an ordinary directory of the root (CVE-2019-19921).
_NO_LINKS = ("proc", "sysfs")
# Their SELinux contexts are not an option of the mount.
_UNLABELLED = ("proc", "sysfs", "mqueue", "cgroup", "cgroup2")
# What programs that show a container its own numbers mount there. Anything else would be taken
# for the kernel's word, by ourselves first (CVE-2019-16884).
_IN_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo diskstats loadavg meminfo net/dev slabinfo stat swaps uptime "
        "sys/crypto/fips_enabled sys/kernel/ns_last_pid"
    ).split()
)


class Mounter:
    """Puts mounts into a root.

    Args:
        root: a descriptor of the root.
        mount_label: SELinux context of new file systems.
        in_userns: whether it is of a user namespace, to which the flags of the host are law.
        pid_namespace: a descriptor of the one that a new /proc shows; -1: that of this process.
    """

    def __init__(
        self, root: int, mount_label: str, *, in_userns: bool, pid_namespace: int = -1
    ) -> None:
        self.root = root
        self._label = mount_label
        self._in_userns = in_userns
        self._pid_namespace = pid_namespace
        self._late: list[tuple[int, Mount]] = []

    def mount(
        self, mount: Mount, tree: int = -1, map_ids: Callable[[int], None] = lambda tree: None
    ) -> None:
        """Do one mount.

        Args:
            tree: a detached tree to bind, where the caller has made it.
            map_ids: id-maps one that is made here, where the mount asks for that.
        """
        if mount.flags & syscalls.MS_BIND or tree >= 0:
            self._bind(mount, tree, map_ids)
        elif mount.flags & syscalls.MS_REMOUNT:
            self._remount(mount)
        else:
            self.new(mount, mount.device, mount.source, mount.data)

    def finish(self) -> None:
        """Make read-only what waited for it."""
        for fd, mount in self._late:
            syscalls.mount_setattr(fd, set=syscalls.MOUNT_ATTR_RDONLY, subject=mount.destination)
            posix.close(fd)
        self._late = []

    # ---- new file systems

    def new(self, mount: Mount, fstype: str, source: str, data: str) -> None:
        """Mount a new file system on the destination."""
        fd = self.new_open(mount, fstype, source, data)
        if fd >= 0:
            self.release(mount, fd)

    def new_open(self, mount: Mount, fstype: str, source: str, data: str) -> int:
        """Mount as `new` does; return a descriptor for `release`, or -1 if there is none."""
        if self._label and fstype not in _UNLABELLED:
            data = ",".join(filter(None, (data, f'context="{self._label}"')))
        target, existed = self._target(mount, fstype)
        try:
            if fstype not in (*_NO_LINKS, "tmpfs"):
                _guard_proc(mount, target)
            if filesystems.is_too_long(data):
                posix.fchdir(target)
                filesystems.mount_here(mount, fstype, source, data)
                self._propagate_again(mount)
                return -1
            pids = self._pid_namespace if fstype == "proc" else -1
            fd = filesystems.detached(mount, fstype, source, data, pid_namespace=pids)
            try:
                self._fill(mount, fstype, fd, target, existed)
                self.attach(mount, fd, target)
            except BaseException:
                close(fd)
                raise
            return fd
        finally:
            close(target)

    def release(self, mount: Mount, fd: int) -> None:
        """Have done with a mount: close it, or when all is in it, where it is to be read-only."""
        if is_late_readonly(mount):
            self._late.append((fd, mount))
        else:
            close(fd)

    def _target(self, mount: Mount, fstype: str) -> tuple[int, bool]:
        """Return the directory to mount on, and whether it existed before."""
        if fstype in _NO_LINKS:
            fd = paths.make_plain(self.root, mount.destination, folder=True)
            if not paths.is_folder(fd):
                posix.close(fd)
                raise Failure(
                    "mount", mount.destination, errno.ENOTDIR,
                    f"{posix.strerror(errno.ENOTDIR)}: {fstype} must be mounted on an ordinary "
                    "directory",
                )  # fmt: skip
            return fd, True
        fd = paths.find_in(self.root, mount.destination)
        if fd >= 0:
            return fd, True
        return paths.create_in(self.root, mount.destination, folder=True), False

    def _fill(self, mount: Mount, fstype: str, fd: int, target: int, existed: bool) -> None:
        """Fill a file system before it becomes visible."""
        if fstype == "mqueue" and self._label:
            _label_root(fd, self._label, mount)
        if fstype != "tmpfs":
            return
        if mount.extensions & EXT_COPYUP:
            copy_up(target, fd, mount.destination)
        if existed and "mode=" not in mount.data:
            # As with runc, it is as open as the directory that it covers.
            posix.chmod(".", stat.S_IMODE(posix.fstat(target).st_mode), dir_fd=fd)

    def _propagate_again(self, mount: Mount) -> None:
        """Set the propagation of a mount that mount(2) has made.

        There is no descriptor of it, so it is looked up.
        """
        if mount.propagation_flags or mount.rec_attr_set or mount.rec_attr_clr:
            fd = paths.open_in(self.root, mount.destination)
            try:
                binds.set_recursive_flags(mount, fd)
                _propagate(mount, fd)
            finally:
                close(fd)

    def _remount(self, mount: Mount) -> None:
        """Other flags and options for what is mounted there: mount(2) alone does both at once."""
        fd = paths.open_in(self.root, mount.destination)
        try:
            posix.fchdir(fd)
            syscalls.mount(mount.source, ".", mount.device, mount.flags, mount.data)
        except OSError as error:
            raise failed(mount, error) from None
        finally:
            close(fd)

    # ---- binds

    def _bind(self, mount: Mount, tree: int, map_ids: Callable[[int], None]) -> None:
        own = tree < 0
        if own:
            tree = binds.clone(mount)
        try:
            if own and mount.idmap:
                map_ids(tree)
            target = paths.make_in(self.root, mount.destination, folder=paths.is_folder(tree))
            try:
                _guard_proc(mount, target, tree)
                # One of our own is held to it by the kernel; who made another may do more.
                binds.set_flags(mount, tree, as_locked=self._in_userns and not own)
                self.attach(mount, tree, target)
            finally:
                close(target)
        finally:
            if own:
                close(tree)

    # ---- both

    def attach(self, mount: Mount, fd: int, target: int) -> None:
        """Put a detached mount on the directory or file that `target` is of."""
        binds.set_recursive_flags(mount, fd)
        try:
            syscalls.move_mount(fd, target, mount.destination)
        except Failure as failure:
            raise failed(mount, _of_kinds(failure, fd, target)) from None
        _propagate(mount, fd)


def _of_kinds(failure: Failure, fd: int, target: int) -> Failure:
    """Return the error of move_mount(2); ENOTDIR instead of EINVAL if only one side is a directory.

    mount(2) reports ENOTDIR then, and Docker has a hint for that.
    """
    kinds = paths.is_folder(fd), paths.is_folder(target)
    if failure.errno != errno.EINVAL or kinds[0] == kinds[1]:
        return failure
    what, where = ("a directory" if is_folder else "a file" for is_folder in kinds)
    why = f"{posix.strerror(errno.ENOTDIR)}: {what} cannot be mounted on {where}"
    return Failure(failure.operation, failure.subject, errno.ENOTDIR, why)


def _propagate(mount: Mount, fd: int) -> None:
    for flags in mount.propagation_flags:
        propagate(fd, flags, mount.destination)


def _guard_proc(mount: Mount, target: int, tree: int = -1) -> None:
    """Nothing is mounted in proc but what is known to be harmless; on it, another proc."""
    path = mount.destination.rstrip("/")
    if path == "/proc":
        allowed = tree >= 0 and syscalls.file_system_type(tree) == syscalls.PROC_SUPER_MAGIC
    else:
        allowed = path in _IN_PROC or syscalls.file_system_type(target) != syscalls.PROC_SUPER_MAGIC
    if not allowed:
        raise Failure(
            "mount", mount.destination, errno.EPERM,
            f'"{mount.destination}" cannot be mounted because it is inside /proc, among the '
            f"kernel's own files: there, only {', '.join(sorted(_IN_PROC))} can be mounted on",
        )  # fmt: skip


def _label_root(fd: int, label: str, mount: Mount) -> None:
    """Set the SELinux context of the root of a file system that has no option for it."""
    try:
        here = posix.open(".", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=fd)
        try:
            posix.setxattr(here, "security.selinux", label.encode() + b"\0")
        finally:
            close(here)
    except OSError as error:
        raise failed(mount, error) from None
