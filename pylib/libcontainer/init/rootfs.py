# SPDX-License-Identifier: Apache-2.0
"""The container's root: its mounts and devices, the change into it, and what is closed off after.

The order of the steps is that of runc's rootfs_linux.go.
"""

from __future__ import annotations

import errno
import posix

from libcontainer.init import devices, masks, paths
from libcontainer.init.cgroup_mounts import mount_cgroups
from libcontainer.init.mounts import Mounter, describe, is_late_readonly, propagate
from nsenter import system
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer.init.orders import Orders

_O_PATH = 0o10000000
_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
_CGROUP_TYPES = ("cgroup", "cgroup2")
_NULL = "/dev/null"


class Rootfs:
    """The root of one container, from the host's to its own.

    Args:
        orders: ours.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._config = orders.config
        self._own_mounts = "NEWNS" in (*orders.new_namespaces, *orders.joined_namespaces)
        self._root = -1
        self._null = -1

    def prepare(self, join_cgroup: Callable[[], None], run_hooks: Callable[[], None]) -> None:
        """Make it and enter it.

        Args:
            join_cgroup: called once, before cgroups are looked at.
            run_hooks: called when all is mounted and the host's root is still there.
        """
        posix.umask(0)
        if self._own_mounts:
            self._make_root()
            self._mount_all(join_cgroup)
        else:
            join_cgroup()
            self._root = posix.open(self._config.rootfs, _O_PATH | posix.O_CLOEXEC)
        own_dev = self._has_own_dev()
        if own_dev:
            devices.make_nodes(self._root, self._config.devices, bind=self._orders.in_userns)
            devices.make_links(self._root)
        run_hooks()
        posix.fchdir(self._root)
        self._enter()
        posix.close(self._root)
        if own_dev:
            devices.reopen_null()

    # ---- making

    def _make_root(self) -> None:
        config = self._config
        flags = config.root_propagation or system.MS_SLAVE | system.MS_REC
        here = system.AT_FDCWD
        _propagate_path("/", flags)
        if config.mask_paths:
            self._null = _host_null()
        _privatise_parent(config.rootfs, flags)
        target = posix.open(config.rootfs, _O_PATH | posix.O_CLOEXEC)
        try:
            clone = system.OPEN_TREE_CLONE | system.AT_RECURSIVE
            self._root = system.open_tree(here, config.rootfs, clone)
            system.move_mount(self._root, target, f"{config.rootfs} to itself")
        finally:
            posix.close(target)

    def _mount_all(self, join_cgroup: Callable[[], None]) -> None:
        orders, joined = self._orders, False
        label = self._config.mount_label
        mounter = Mounter(self._root, in_userns=orders.in_userns, mount_label=label)
        for i, mount in enumerate(self._config.mounts):
            if mount.device in _CGROUP_TYPES:
                if not joined:
                    join_cgroup()
                    joined = True
                own = "NEWCGROUP" in orders.new_namespaces
                unified = orders.cgroup_paths.get("", "") if not orders.cgroup_mounts else ""
                mount_cgroups(mounter, mount, orders.cgroup_mounts, unified, own_namespace=own)
            else:
                mounter.mount(mount, orders.mount_fds.get(i, -1))
        if not joined:
            join_cgroup()

    def _has_own_dev(self) -> bool:
        """Unless the host's is bound there."""
        return not any(
            mount.device == "bind" and mount.destination.rstrip("/") == "/dev"
            for mount in self._config.mounts
        )

    # ---- entering

    def _enter(self) -> None:
        if not self._own_mounts:
            posix.chroot(".")
        elif self._config.no_pivot_root:
            self._move()
        else:
            _pivot()
        posix.chdir("/")

    def _move(self) -> None:
        """For a ramdisk, from which nothing can be pivoted. What of the host's proc and sysfs
        would stay in reach is taken off first."""
        for point in _mount_points_of(("proc", "sysfs"), besides=self._config.rootfs):
            _take_off(point)
        posix.fchdir(self._root)
        system.mount(self._config.rootfs, "/", "", system.MS_MOVE)
        posix.chroot(".")

    # ---- closing

    def console(self, slave: int) -> None:
        """Bind a terminal on /dev/console."""
        root = posix.open("/", _O_PATH | posix.O_CLOEXEC)
        target = paths.make_in(root, "/dev/console", folder=False)
        tree = system.open_tree(slave, "", system.OPEN_TREE_CLONE | system.AT_EMPTY_PATH)
        try:
            system.move_mount(tree, target, "the terminal to /dev/console")
        finally:
            for fd in (root, target, tree):
                posix.close(fd)

    def finalize(self) -> None:
        """What is read-only and hidden in the end, and the sysctls."""
        config = self._config
        root = posix.open("/", _O_PATH | posix.O_CLOEXEC)
        try:
            if self._own_mounts:
                self._make_late_readonly(root)
            masks.write_sysctls(root, config.sysctl)
            if self._own_mounts:
                masks.make_readonly(root, config.readonly_paths)
                masks.Masks(self._null, config.mount_label).hide(root, config.mask_paths)
        finally:
            posix.close(root)
            if self._null >= 0:
                posix.close(self._null)

    def _make_late_readonly(self, root: int) -> None:
        for mount in filter(is_late_readonly, self._config.mounts):
            fd = paths.open_in(root, mount.destination)
            try:
                system.mount_setattr(fd, set=system.MOUNT_ATTR_RDONLY, subject=describe(mount))
            finally:
                posix.close(fd)
        if self._config.readonlyfs:
            system.mount_setattr(
                system.AT_FDCWD, "/", set=system.MOUNT_ATTR_RDONLY, subject="the root read-only"
            )


def _propagate_path(path: str, flags: int) -> None:
    fd = posix.open(path, _O_PATH | posix.O_CLOEXEC)
    try:
        propagate(fd, flags, f"the propagation of {path}")
    finally:
        posix.close(fd)


def _privatise_parent(rootfs: str, flags: int) -> None:
    """Of a shared root, the mount that the container's root is on: what is mounted there is not
    to be seen by others, and pivot_root(2) refuses a shared one."""
    if not flags & system.MS_SHARED:
        return
    path = rootfs
    while True:
        try:
            _propagate_path(path, system.MS_PRIVATE)
        except Failure as failure:
            if failure.errno != errno.EINVAL or path == "/":  # no mount point
                raise
            path = path.rpartition("/")[0] or "/"
        else:
            return


def _host_null() -> int:
    fd = system.open_tree(system.AT_FDCWD, _NULL, system.OPEN_TREE_CLONE)
    if posix.fstat(fd).st_rdev != devices.NULL:
        raise Failure("open", _NULL, errno.ENODEV, "the host's /dev/null is no null device")
    return fd


def _pivot() -> None:
    """Into the working directory; the old root comes to lie on it, and is taken off."""
    old = posix.open("/", _FOLDER)
    try:
        system.pivot_root(".", ".")
        posix.fchdir(old)
        # What is unmounted here must not be unmounted on the host.
        propagate(old, system.MS_SLAVE | system.MS_REC, "the propagation of the old root")
        system.umount(".", system.MNT_DETACH)
    finally:
        posix.close(old)


def _mount_points_of(types: tuple[str, ...], *, besides: str) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.split(" ") for line in file]
    found = []
    for row in rows:
        point = row[4].encode().decode("unicode_escape")
        if row[row.index("-") + 1] in types and not f"{point}/".startswith(f"{besides}/"):
            found.append(point)
    return sorted(found, reverse=True)


def _take_off(point: str) -> None:
    try:
        system.umount(point, system.MNT_DETACH)
    except Failure as failure:
        if failure.errno not in (errno.EINVAL, errno.EPERM):
            raise
        # Locked, in a user namespace: hidden then.
        system.mount("tmpfs", point, "tmpfs", 0, "")
