# SPDX-License-Identifier: Apache-2.0
"""List namespaces as data: their processes, their owners, and what else keeps them alive.

The data come from namespaces(7), ioctl_ns(2) and /proc, as far as this user may see them. Processes
of other users are listed without their namespaces. If the owner of a namespace is outside the
caller's user namespace, it is unknown. Processes start and end while this module looks: a process
that ends is left out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from errno import EACCES, EINVAL, ENOTTY, EPERM, ESRCH

from nsenter._host import procfs, syscalls
from nsenter._host.cleanup import close
from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter.namespaces import NamespaceType, namespace_types

__all__ = ["NamespaceInfo", "ProcessInfo", "Snapshot", "namespaces_of", "snapshot"]

# From linux/nsfs.h. The first two return a descriptor.
_NS_GET_USERNS = 0xB701
_NS_GET_PARENT = 0xB702
_NS_GET_NSTYPE = 0xB703
_NS_GET_OWNER_UID = 0xB704

_KINDS = {kind.ns_name(): kind for kind in namespace_types()}
_BY_FLAG = {kind.clone_flag: kind for kind in namespace_types()}
_NESTED = (NamespaceType.NEWUSER, NamespaceType.NEWPID)
# The types for which /proc also shows the namespace of a process's future children.
_FOR_CHILDREN = ("pid", "time")
# The errors for a process that has ended.
_ENDED = (FileNotFoundError, ProcessLookupError)


class NamespaceInfo(Value):
    """A namespace.

    Args:
        kind: the type of the namespace.
        inode: the number of the namespace, which /proc/PID/ns shows and lsns(8) calls NS.
        owner: the number of the user namespace that owns it. For a user namespace, this is its
            parent. None if the owner is outside the caller's user namespace, or if the namespace
            could not be opened.
        parent: for a user or a PID namespace, the number of the namespace in which it is nested.
            None for the other types, and in the same cases as for `owner`.
        owner_uid: for a user namespace, the uid of the user who created it, as the caller sees it.
            None for the other types, and if the namespace could not be opened.
        pids: the processes in the namespace that the caller may see, in ascending order.
        kept_by: paths that keep the namespace alive, also without a process: mounts of it, such as
            those of ip-netns(8) in /run/netns; open descriptors; threads that have left the
            namespace of their process; and /proc/PID/ns/…_for_children, for future children.
    """

    kind: NamespaceType
    inode: int
    owner: int | None = None
    parent: int | None = None
    owner_uid: int | None = None
    pids: tuple[int, ...] = ()
    kept_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind.ns_name()}:[{self.inode}]"


class ProcessInfo(Value):
    """A process.

    Args:
        pid, parent: the pids of the process and of its parent, as the caller sees them. A parent of
            0 is outside the caller's PID namespace.
        comm: the name of its first thread (proc_pid_comm(5)). The process can set it to anything.
        uid: its effective user id, as the caller sees it.
        pids: its pids, one in each PID namespace from the caller's to its own.
        namespaces: a mapping from the names of types, such as "net", to the numbers of its
            namespaces. Namespaces that the caller may not see, or that a zombie has already left,
            are missing.
    """

    pid: int
    parent: int
    comm: str
    uid: int
    pids: tuple[int, ...]
    namespaces: Mapping[str, int]


class Snapshot(Value):
    """The namespaces and processes that could be seen at about one time.

    Args:
        namespaces: sorted by type, in the order of `namespace_types`, and then by number.
        processes: sorted by pid.
        hidden: the pids of the processes whose namespaces the caller may not see, or not all of
            them (ptrace(2), PTRACE_MODE_READ_FSCREDS).
    """

    namespaces: tuple[NamespaceInfo, ...]
    processes: tuple[ProcessInfo, ...]
    hidden: tuple[int, ...] = ()

    def process(self, pid: int) -> ProcessInfo:
        """Return the process with this pid.

        Raises:
            ProcessLookupError: there is no such process.
        """
        for found in self.processes:
            if found.pid == pid:
                return found
        raise ProcessLookupError(ESRCH, f"process {pid}: there is none")

    def namespace(self, inode: int) -> NamespaceInfo:
        """Return the namespace with this number.

        Raises:
            LookupError: there is no such namespace, or the caller may not see it.
        """
        for found in self.namespaces:
            if found.inode == inode:
                return found
        raise LookupError(f"namespace {inode}: there is none that this user may see")

    def of(self, pid: int) -> tuple[NamespaceInfo, ...]:
        """Return the namespaces of a process.

        Raises:
            ProcessLookupError: there is no such process.
            PermissionError: the caller may not see its namespaces.
        """
        inodes = set(self.process(pid).namespaces.values())
        if not inodes and pid in self.hidden:
            why = "only its user may see its namespaces, or who has all its capabilities"
            raise PermissionError(EACCES, f"process {pid}: {why}")
        return tuple(found for found in self.namespaces if found.inode in inodes)

    def sharing(self, pid: int) -> dict[str, tuple[int, ...]]:
        """Return, for each of the namespaces of a process, the other processes in it.

        Returns:
            A mapping from the names of types, such as "net", to pids.

        Raises:
            ProcessLookupError: there is no such process.
            PermissionError: the caller may not see its namespaces.
        """
        return {
            found.kind.ns_name(): tuple(other for other in found.pids if other != pid)
            for found in self.of(pid)
        }


def snapshot() -> Snapshot:
    """Look at every process and namespace that the caller may see.

    Returns:
        A `Snapshot`.
    """
    look = _Look()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            look.at_process(int(name))
    return look.result()


def namespaces_of(pid: int) -> tuple[NamespaceInfo, ...]:
    """Return the namespaces of one process.

    Only this process is looked at: `pids` and `kept_by` name no other process.

    Args:
        pid: the pid of the process, as the caller sees it.

    Raises:
        ProcessLookupError: there is no such process.
        PermissionError: the caller may not see its namespaces.
    """
    look = _Look()
    look.at_process(pid)
    return look.result().of(pid)


class _Draft:
    """What is known about a namespace so far."""

    def __init__(self, kind: NamespaceType, inode: int) -> None:
        self.kind, self.inode = kind, inode
        self.owner: int | None = None
        self.parent: int | None = None
        self.owner_uid: int | None = None
        self.pids: list[int] = []
        self.kept_by: list[str] = []
        self.asked = False

    def ways_in(self) -> Iterator[str]:
        """Yield paths that lead to the namespace, unless their process has ended by now."""
        yield from (f"/proc/{pid}/ns/{self.kind.ns_name()}" for pid in self.pids)
        yield from self.kept_by

    def finished(self) -> NamespaceInfo:
        return NamespaceInfo(
            self.kind, self.inode, self.owner, self.parent, self.owner_uid,
            tuple(sorted(self.pids)), tuple(dict.fromkeys(self.kept_by)),
        )  # fmt: skip


class _Look:
    """One look at the system: first at the processes, then at the owners of their namespaces."""

    def __init__(self) -> None:
        own = os.stat("/proc/self/ns/mnt")
        self._nsfs, self._own_mounts = own.st_dev, own.st_ino
        self._drafts: dict[int, _Draft] = {}
        self._processes: list[ProcessInfo] = []
        self._hidden: list[int] = []
        self._mounts_seen: set[int] = set()

    def result(self) -> Snapshot:
        for draft in tuple(self._drafts.values()):
            self._ask(draft)
        order = list(namespace_types())
        drafts = sorted(self._drafts.values(), key=lambda d: (order.index(d.kind), d.inode))
        return Snapshot(
            tuple(draft.finished() for draft in drafts),
            tuple(sorted(self._processes, key=lambda process: process.pid)),
            tuple(sorted(self._hidden)),
        )

    # ---- processes

    def at_process(self, pid: int) -> None:
        try:
            # All that is read through one descriptor is about one process, even if another gets
            # its pid in the meantime.
            folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except _ENDED:
            return
        try:
            self._at_folder(pid, folder)
        except _ENDED:
            pass
        finally:
            close(folder)

    def _at_folder(self, pid: int, folder: int) -> None:
        fields = procfs.status(procfs.read("status", folder))
        namespaces = self._namespaces(pid, folder)
        if not namespaces and pid not in self._hidden:
            return  # the process ended after its status was read
        self._processes.append(
            ProcessInfo(
                pid, int(fields["PPid"]), fields["Name"], int(fields["Uid"].split()[1]),
                # A kernel without PID namespaces does not write this line.
                tuple(map(int, fields.get("NSpid", str(pid)).split())), namespaces,
            )
        )  # fmt: skip
        with suppress(PermissionError):
            self._kept_for_children(pid, folder, namespaces)
            if fields["Threads"] != "1":
                self._kept_by_threads(pid, folder, namespaces)
            self._kept_by_descriptors(pid, folder)
            self._kept_by_mounts(pid, folder, namespaces)

    def _namespaces(self, pid: int, folder: int) -> dict[str, int]:
        found = {}
        for name, kind in _KINDS.items():
            try:
                inode = os.stat(f"ns/{name}", dir_fd=folder).st_ino
            except _ENDED:
                continue  # the kernel lacks this type, or a zombie has left its namespace
            except PermissionError:
                self._hidden.append(pid)
                break
            found[name] = inode
            self._draft(kind, inode).pids.append(pid)
        return found

    def _draft(self, kind: NamespaceType, inode: int) -> _Draft:
        return self._drafts.setdefault(inode, _Draft(kind, inode))

    # ---- what keeps a namespace alive besides processes

    def _kept_for_children(self, pid: int, folder: int, namespaces: Mapping[str, int]) -> None:
        for name in _FOR_CHILDREN:
            with suppress(*_ENDED):  # for a new PID namespace, this fails until its init exists
                inode = os.stat(f"ns/{name}_for_children", dir_fd=folder).st_ino
                if inode != namespaces.get(name):
                    path = f"/proc/{pid}/ns/{name}_for_children"
                    self._draft(_KINDS[name], inode).kept_by.append(path)

    def _kept_by_threads(self, pid: int, folder: int, namespaces: Mapping[str, int]) -> None:
        """Each thread can leave the namespaces of its process, except user and PID."""
        for thread in _names(folder, "task"):
            for name, kind in _KINDS.items():
                with suppress(*_ENDED):
                    inode = os.stat(f"task/{thread}/ns/{name}", dir_fd=folder).st_ino
                    if inode != namespaces.get(name):
                        path = f"/proc/{pid}/task/{thread}/ns/{name}"
                        self._draft(kind, inode).kept_by.append(path)

    def _kept_by_descriptors(self, pid: int, folder: int) -> None:
        if pid == os.getpid():
            return  # this process has opened its descriptors only to look
        for number in _names(folder, "fd"):
            with suppress(*_ENDED):
                self._keep(os.readlink(f"fd/{number}", dir_fd=folder), f"/proc/{pid}/fd/{number}")

    def _kept_by_mounts(self, pid: int, folder: int, namespaces: Mapping[str, int]) -> None:
        inode = namespaces.get("mnt")
        if inode is None or inode in self._mounts_seen:
            return
        self._mounts_seen.add(inode)
        root = "" if inode == self._own_mounts else f"/proc/{pid}/root"
        for link, path in _namespace_mounts(folder):
            self._keep(link, f"{root}{path}")

    def _keep(self, link: str, path: str) -> None:
        """Note that `path` keeps a namespace. `link` is its name, such as "net:[4026531840]"."""
        name, _, rest = link.partition(":[")
        kind, number = _KINDS.get(name), rest.removesuffix("]")
        if kind is not None and number.isdecimal():
            self._draft(kind, int(number)).kept_by.append(path)

    # ---- owners and parents

    def _ask(self, draft: _Draft) -> None:
        for path in () if draft.asked else draft.ways_in():
            fd = self._open(path, draft.inode)
            if fd >= 0:
                try:
                    self._learn(draft, fd)
                finally:
                    close(fd)
                return

    def _open(self, path: str, inode: int) -> int:
        """Return a descriptor of the namespace, or -1.

        Nothing else is opened, whatever the path leads to by now. In the mounts of a container it
        can be a pipe that nobody ever writes to: open(2) would not return.
        """
        try:
            probe = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return -1
        try:
            found = os.fstat(probe)
            if (found.st_dev, found.st_ino) != (self._nsfs, inode):
                return -1
            return os.open(f"/proc/self/fd/{probe}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1
        finally:
            close(probe)

    def _learn(self, draft: _Draft, fd: int) -> None:
        draft.asked = True
        if draft.kind == NamespaceType.NEWUSER:
            draft.owner_uid = _owner_uid(fd)
        if draft.kind in _NESTED:
            draft.parent = self._relative(fd, "NS_GET_PARENT", _NS_GET_PARENT)
        draft.owner = self._relative(fd, "NS_GET_USERNS", _NS_GET_USERNS)

    def _relative(self, fd: int, name: str, request: int) -> int | None:
        """Return the number of the parent or the owner, which may have no process at all."""
        relative = _answer(fd, name, request)
        if relative is None:
            return None
        try:
            kind = _BY_FLAG[syscalls.ioctl(relative, "NS_GET_NSTYPE", _NS_GET_NSTYPE)]
            draft = self._draft(kind, os.fstat(relative).st_ino)
            if not draft.asked:
                self._learn(draft, relative)
            return draft.inode
        finally:
            close(relative)


def _answer(fd: int, name: str, request: int, argument: int | bytearray = 0) -> int | None:
    """Return the result of an ioctl of ioctl_ns(2); None if the caller may not see it."""
    try:
        return syscalls.ioctl(fd, name, request, argument)
    except syscalls.Failure as failure:
        if failure.errno in (EPERM, EINVAL, ENOTTY):
            return None
        raise


def _owner_uid(fd: int) -> int | None:
    uid = bytearray(4)
    if _answer(fd, "NS_GET_OWNER_UID", _NS_GET_OWNER_UID, uid) is None:
        return None
    return int.from_bytes(uid, sys.byteorder)


def _names(folder: int, name: str) -> list[str]:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.listdir(fd)
    finally:
        close(fd)


def _namespace_mounts(folder: int) -> Iterator[tuple[str, str]]:
    """Yield the name of the namespace and the path, for each mount of a namespace."""
    try:
        text = procfs.read("mountinfo", folder)
    except OSError as error:
        if error.errno != EINVAL:  # the process is ending and has left its mount namespace
            raise
        return
    for mount in procfs.mounts(text):
        if mount.fstype == "nsfs":
            yield mount.root, mount.point
