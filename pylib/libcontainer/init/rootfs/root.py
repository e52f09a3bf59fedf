# SPDX-License-Identifier: Apache-2.0
"""The container's root: its mounts and devices, the change into it, and what is closed off after.

The order of the steps is that of runc's rootfs_linux.go.
"""

from __future__ import annotations

import errno
import posix

from libcontainer.init.rootfs import devices, masks, paths
from libcontainer.init.rootfs.attributes import attributes_at, failed, propagate
from libcontainer.init.rootfs.cgroup_mounts import TYPES as CGROUP_TYPES
from libcontainer.init.rootfs.cgroup_mounts import mount_cgroups
from libcontainer.init.rootfs.mounts import Mounter
from libcontainer.init.rootfs.pivot import move_root, pivot
from libcontainer.init.rootfs.sysctl import write_sysctls
from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer.init.config import InitConfig

_FOLDER = paths.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC


class Rootfs:
    """The root of one container, from the host's to its own.

    Args:
        init_config: the init config.
    """

    def __init__(self, init_config: InitConfig) -> None:
        self._init_config = init_config
        self._config = init_config.config
        self._own_mounts = "NEWNS" in (*init_config.new_namespaces, *init_config.joined_namespaces)
        self._root = -1
        self._mounter: Mounter | None = None

    def prepare(
        self,
        join_cgroup: Callable[[], None],
        run_hooks: Callable[[], None],
        map_ids: Callable[[int, int], None] = lambda index, tree: None,
    ) -> None:
        """Make it and enter it.

        Args:
            join_cgroup: called once, before cgroups are looked at.
            run_hooks: called when all is mounted and the host's root is still there.
            map_ids: called with the index of a mount and a detached tree, which it id-maps.
        """
        umask = posix.umask(0)
        if self._own_mounts:
            self._make_root()
            self._mount_all(join_cgroup, map_ids)
        else:
            join_cgroup()
            self._root = posix.open(self._config.rootfs, _FOLDER)
        own_dev = self._has_own_dev()
        if own_dev:
            devices.make_nodes(self._root, self._config.devices, bind=self._init_config.in_userns)
            devices.make_links(self._root)
        posix.umask(umask)
        posix.fchdir(self._root)
        run_hooks()
        self._enter()
        posix.close(self._root)
        if own_dev:
            devices.reopen_null()

    # ---- making

    def _make_root(self) -> None:
        """Make the root a mount of the container's own."""
        rootfs = self._config.rootfs
        flags = self._config.root_propagation or syscalls.MS_SLAVE | syscalls.MS_REC
        _propagate_path("/", flags)
        if not _is_unshared(flags):
            _privatise_parent(rootfs, flags)
        target = posix.open(rootfs, _FOLDER)
        try:
            # Of the very directory that it comes to lie on.
            clone = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE | syscalls.AT_EMPTY_PATH
            self._root = syscalls.open_tree(target, "", clone)
            if self._config.readonly_submounts:
                _make_submounts_readonly(self._root)
            syscalls.move_mount(self._root, target, f"{rootfs} to itself")
        except Failure as failure:
            operation, number = failure.operation, failure.errno or 0
            why = f"{failure.strerror}{_ROOT_HINTS.get(number, '')}"
            raise Failure(operation, rootfs, number, why) from None
        finally:
            close(target)

    def _mount_all(
        self, join_cgroup: Callable[[], None], map_ids: Callable[[int, int], None]
    ) -> None:
        init_config, joined = self._init_config, False
        mounter = self._mounter = Mounter(
            self._root, self._config.mount_label, in_userns=self._init_config.in_userns,
            pid_namespace=init_config.late_join.pid_namespace if init_config.late_join else -1,
        )  # fmt: skip
        for i, mount in enumerate(self._config.mounts):
            of_cgroups = mount.device in CGROUP_TYPES
            if of_cgroups and not joined:
                join_cgroup()
                joined = True
            try:
                if of_cgroups:
                    mount_cgroups(mounter, mount, init_config)
                else:
                    tree = init_config.mount_fds.get(i, -1)
                    mounter.mount(mount, tree, lambda tree, i=i: map_ids(i, tree))  # type: ignore[misc]
            except (BrokenPipeError, ConnectionResetError):  # the parent has gone meanwhile
                raise
            except OSError as error:
                raise failed(mount, error) from None
        if not joined:
            join_cgroup()

    def _has_own_dev(self) -> bool:
        """Unless the host's is bound there."""
        return not any(
            mount.flags & syscalls.MS_BIND and mount.destination.rstrip("/") == "/dev"
            for mount in self._config.mounts
        )

    # ---- entering

    def _enter(self) -> None:
        if not self._own_mounts:
            posix.fchdir(self._root)
            posix.chroot(".")
        elif self._config.no_pivot_root:
            move_root(self._root, self._config.rootfs)
        else:
            pivot(self._root)
        posix.chdir("/")

    # ---- closing

    def console(self, slave: int) -> None:
        """Bind a terminal on /dev/console, which is no link to anything (CVE-2025-52565)."""
        root = posix.open("/", _FOLDER)
        try:
            target = paths.make_plain(root, "/dev/console", folder=False)
            try:
                clone = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
                tree = syscalls.open_tree(slave, "", clone)
                try:
                    syscalls.move_mount(tree, target, "the terminal to /dev/console")
                finally:
                    close(tree)
            finally:
                close(target)
        finally:
            close(root)

    def finalize(self) -> None:
        """Make read-only and hide what is to be at the end, and set the sysctls."""
        config = self._config
        root = posix.open("/", _FOLDER)
        try:
            if self._mounter:
                self._mounter.finish()
            if self._own_mounts and config.readonlyfs:
                attribute = syscalls.MOUNT_ATTR_RDONLY
                syscalls.mount_setattr(root, set=attribute, subject="the root, read-only")
            write_sysctls(root, config.sysctl)
            if self._own_mounts:
                is_shared = bool(config.root_propagation & syscalls.MS_SHARED)
                masks.make_readonly(root, config.readonly_paths, is_shared=is_shared)
                masks.hide(root, config.mask_paths, config.mount_label)
        finally:
            close(root)
        if self._own_mounts and config.root_propagation:
            # What was set before is the propagation of the host's root. Here it is not recursive:
            # each mount has its own, and has taken it from its source or from what it is on. It
            # comes last, because nothing of an unbindable mount can be bound.
            _propagate_path("/", config.root_propagation & ~syscalls.MS_REC)


_ROOT_HINTS = {
    errno.EINVAL: " (is it on a mount that is unbindable?)",
    errno.EACCES: " (the container's root user has to be able to search every directory above it)",
}


def _make_submounts_readonly(tree: int) -> None:
    """Make all mounts of a detached tree read-only, except the first.

    Mount points may have to be created in the first one. The kernel changes all of them or none.
    That includes mounts that are covered and those whose names cannot be written down. The mounts
    are private. Otherwise a mount that the host makes below one of them later would arrive
    writable.
    """
    was_readonly = attributes_at(tree) & syscalls.MOUNT_ATTR_RDONLY
    syscalls.mount_setattr(
        tree, set=syscalls.MOUNT_ATTR_RDONLY, propagation=syscalls.MS_PRIVATE, recursive=True,
        subject="what is mounted in it",
    )  # fmt: skip
    if not was_readonly:
        syscalls.mount_setattr(tree, clear=syscalls.MOUNT_ATTR_RDONLY, subject="the root, writable")


def _is_unshared(flags: int) -> bool:
    """Return whether a propagation that all mounts got leaves none of them shared."""
    return bool(flags & syscalls.MS_REC) and not flags & syscalls.MS_SHARED


def _propagate_path(path: str, flags: int) -> None:
    fd = posix.open(path, paths.O_PATH | posix.O_CLOEXEC)
    try:
        propagate(fd, flags, f"the propagation of {path}")
    finally:
        close(fd)


def _privatise_parent(rootfs: str, flags: int) -> None:
    """Make the mount private that the container's root is on.

    Other namespaces must not see what is mounted there, and pivot_root(2) refuses a shared mount.
    The mount of "/", which has the propagation `flags`, may stay a slave.
    """
    path = rootfs
    while path != "/" or not flags & syscalls.MS_SLAVE:
        try:
            _propagate_path(path, syscalls.MS_PRIVATE)
        except Failure as failure:
            if failure.errno != errno.EINVAL or path == "/":  # no mount point
                raise
            path = path.rpartition("/")[0] or "/"
        else:
            return
