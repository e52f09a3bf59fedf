# SPDX-License-Identifier: Apache-2.0
"""The system calls that Python's own modules lack, each as a function that says what it did.

An init in a container has nothing else: only built-in modules are imported, and a call goes
through csrc's one binding. Paths are str, bytes, or a descriptor with "" for the thing itself.
"""

from __future__ import annotations

import _signal as signal
import posix
import sys
import time
from errno import EAGAIN, EFAULT, EINTR, EINVAL, ENOENT, ENOSYS, EPERM, ESRCH

from nsenter._host import distribution_check
from nsenter._host.base_error import StepError
from nsenter._host.cleanup import close
from nsenter._nsexec import ffi, lib

distribution_check.check()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Path = str | bytes

SYS_socket: int = lib.SYS_socket

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = 0o2000000
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PROC_SUPER_MAGIC = 0x9FA0
CGROUP2_SUPER_MAGIC = 0x63677270

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

_CAPABILITY_VERSION_3 = 0x20080522
_CMSG_HEADER = 16  # struct cmsghdr, where a long has 8 bytes
_SCM_RIGHTS = 1
_SOL_SOCKET = 1
_MSG_CMSG_CLOEXEC = 0x40000000
_MSG_NOSIGNAL = 0x4000
_SECCOMP_SET_MODE_FILTER = 1
_IOPRIO_WHO_PROCESS = 1
_AF_UNIX = 1
_F_DUPFD_CLOEXEC = 1030
_SOCK_STREAM_CLOEXEC = 0o2000001
_MSG_PEEK = 2
_LONGEST_WAIT = 1 << 31
_TRIES = 128
# What the filter of a container around us says to a call that it does not know.
_REFUSED = (ENOSYS, EPERM)
_FD_CLOEXEC, _F_SETFD = 1, 2
_CLOSE_RANGE_CLOEXEC = 4
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

POLLIN = 0x1
POLLOUT = 0x4
POLLERR = 0x8
POLLHUP = 0x10

LOCK_EX = 2
LOCK_NB = 4


class Failure(StepError):
    """A system call or a step of ours has failed; see `StepError` for the attributes."""

    def __init__(self, operation: str, subject: object, number: int, why: str = "") -> None:
        super().__init__(number, why or posix.strerror(number))
        self.operation = operation
        self.subject = _text(subject)


def _text(subject: object) -> str:
    if isinstance(subject, bytes):
        return subject.decode("utf-8", "surrogateescape")
    return str(subject)


def _encode(path: Path) -> bytes:
    raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
    if b"\0" in raw:
        raise ValueError(f"{path!r} has a NUL")
    return raw


_LONG = ffi.typeof("long")


def _word(argument: Any, kept: list[Any]) -> int:
    """An argument as the register that holds it; what it points to is put into `kept`."""
    if isinstance(argument, int):
        return argument
    if argument is None:
        return 0
    if isinstance(argument, str):
        argument = _encode(argument)
    pointer = ffi.from_buffer(argument) if isinstance(argument, (bytes, bytearray)) else argument
    kept.append(pointer)
    return int(ffi.cast(_LONG, pointer))


def call(operation: str, subject: object, number: int, *arguments: Any) -> int:
    """Make a system call.

    Args:
        operation: the name of the call, for an error.
        subject: what the call is about, for an error.
        number: the number of the call.
        arguments: each an int, None for NULL, text (bytes get a NUL at the end), or memory.

    Raises:
        Failure: the call failed.
    """
    kept: list[Any] = []
    words = [_word(argument, kept) for argument in arguments]
    result: int = lib.sys_call(number, *words, *(0,) * (6 - len(words)))
    if -4096 < result < 0:
        raise Failure(operation, subject, -result)
    return result


def _again(operation: str, subject: object, number: int, *arguments: Any) -> int:
    """`call`, repeated as often as is reasonable while the kernel asks for that by EAGAIN."""
    for _ in range(_TRIES - 1):
        try:
            return call(operation, subject, number, *arguments)
        except Failure as failure:
            if failure.errno != EAGAIN:
                raise
    return call(operation, subject, number, *arguments)


# ---- mounts


def mount(source: Path, target: Path, fstype: Path, flags: int, data: Path = "") -> None:
    """mount(2)."""
    call("mount", target, lib.SYS_mount, source, target, fstype, flags, data or None)


def umount(target: Path, flags: int = 0) -> None:
    """umount2(2)."""
    call("umount", target, lib.SYS_umount2, target, flags)


def pivot_root(new: Path, old: Path) -> None:
    """pivot_root(2)."""
    call("pivot_root", new, lib.SYS_pivot_root, new, old)


def open_tree(fd: int, path: Path, flags: int) -> int:
    """open_tree(2); the descriptor is close-on-exec."""
    return call("open_tree", path, lib.SYS_open_tree, fd, path, flags | OPEN_TREE_CLOEXEC)


def move_mount(from_fd: int, to_fd: int, subject: object = "") -> None:
    """move_mount(2) of one descriptor's mount to where another is."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    call("move_mount", subject, lib.SYS_move_mount, from_fd, "", to_fd, "", flags)


def fsopen(fstype: Path) -> int:
    """fsopen(2); close-on-exec."""
    return call("fsopen", fstype, lib.SYS_fsopen, fstype, FSOPEN_CLOEXEC)


def fsconfig(fd: int, command: int, key: Path | None, value: Path | None, aux: int = 0) -> None:
    """fsconfig(2). Where it fails, what the file system says about it is in the error."""
    try:
        call("fsconfig", key or "", lib.SYS_fsconfig, fd, command, key, value, aux)
    except Failure as failure:
        said = _complaint(fd)
        subject = f"{_text(key or '')}={_text(value or '')}" if key else "create"
        raise Failure(
            "fsconfig", subject, failure.errno or 0, f"{failure.strerror}{said}"
        ) from None


def set_pid_namespace(context: int, namespace: int) -> None:
    """Have a new /proc show the processes of another PID namespace (Linux 6.17)."""
    fsconfig(context, FSCONFIG_SET_FD, "pidns", None, namespace)


def _complaint(fd: int) -> str:
    """The messages that a file system context has for us, e.g. "e tmpfs: Bad value for 'size'"."""
    lines: list[str] = []
    try:
        while len(lines) < 8:
            lines.append(posix.read(fd, 1024)[2:].decode("utf-8", "replace").strip())
    except OSError:
        pass
    return f" ({'; '.join(lines)})" if lines else ""


def fsmount(fd: int, attributes: int, subject: object = "") -> int:
    """fsmount(2); close-on-exec."""
    return call("fsmount", subject, lib.SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes)


def mount_setattr(
    fd: int,
    path: Path = "",
    *,
    set: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
    recursive: bool = False,
    subject: object = "",
) -> None:
    """mount_setattr(2)."""
    attributes = b"".join(_u64(n) for n in (set, clear, propagation, userns_fd))
    flags = (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    call(
        "mount_setattr", subject or path, lib.SYS_mount_setattr,
        fd, path, flags, attributes, len(attributes),
    )  # fmt: skip


def openat2(fd: int, path: Path, flags: int, *, resolve: int = 0, mode: int = 0) -> int:
    """openat2(2); the descriptor is close-on-exec."""
    how = _u64(flags | posix.O_CLOEXEC) + _u64(mode) + _u64(resolve)
    # A rename elsewhere: the kernel asks to try again.
    return _again("openat2", path, lib.SYS_openat2, fd, path, how, len(how))


def file_system_type(fd: int) -> int:
    """The magic number of the file system that a descriptor is on (statfs(2))."""
    memory = bytearray(256)
    call("fstatfs", fd, lib.SYS_fstatfs, fd, memory)
    return int.from_bytes(memory[:8], sys.byteorder)


# ---- namespaces and what is in them


def unshare(flags: int) -> None:
    """unshare(2)."""
    call("unshare", hex(flags), lib.SYS_unshare, flags)


def setns(fd: int, flags: int) -> None:
    """setns(2)."""
    call("setns", fd, lib.SYS_setns, fd, flags)


def clone_sibling(subject: str) -> tuple[int, int]:
    """Split as fork(2) does, with one thread; the child is one of this process's parent.

    Returns:
        Its pid and a pidfd of it, as this process sees it; (0, -1) in the child.
    """
    pidfd = ffi.new("int *", -1)
    pid = lib.prebooted_sibling(pidfd)
    if pid < 0:
        raise Failure("clone", subject, -pid)
    return pid, pidfd[0] if pid else -1


def sethostname(name: str) -> None:
    """sethostname(2)."""
    raw = _encode(name)
    call("sethostname", name, lib.SYS_sethostname, raw, len(raw))


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    raw = _encode(name)
    call("setdomainname", name, lib.SYS_setdomainname, raw, len(raw))


# ---- the process


def prctl(subject: str, option: int, *arguments: int) -> int:
    """prctl(2); `subject` is the option's name, for the error."""
    return call("prctl", subject, lib.SYS_prctl, option, *arguments)


def capset(effective: int, permitted: int, inheritable: int = 0) -> None:
    """capset(2), with sets as bit masks."""
    header = _u32(_CAPABILITY_VERSION_3) + _u32(0)
    low, high = (
        b"".join(_u32(mask >> shift & 0xFFFFFFFF) for mask in (effective, permitted, inheritable))
        for shift in (0, 32)
    )
    call("capset", "", lib.SYS_capset, header, low + high)


def capget() -> tuple[int, int, int]:
    """capget(2): the effective, permitted and inheritable sets as bit masks."""
    header, data = bytearray(_u32(_CAPABILITY_VERSION_3) + _u32(0)), bytearray(24)
    call("capget", "", lib.SYS_capget, header, data)
    words = [int.from_bytes(data[i : i + 4], sys.byteorder) for i in range(0, 24, 4)]
    effective, permitted, inheritable = (words[i] | words[i + 3] << 32 for i in range(3))
    return effective, permitted, inheritable


def prlimit(pid: int, subject: str, resource: int, soft: int, hard: int) -> None:
    """prlimit(2); pid 0 is this process. `subject` is what was asked for, for the error."""
    limit = _u64(soft) + _u64(hard)
    call("prlimit", subject, lib.SYS_prlimit64, pid, resource, limit)


def get_rlimit(pid: int, subject: str, resource: int) -> tuple[int, int]:
    """The soft and the hard limit of a process; see `prlimit`."""
    limit = bytearray(16)
    call("prlimit", subject, lib.SYS_prlimit64, pid, resource, None, limit)
    return int.from_bytes(limit[:8], sys.byteorder), int.from_bytes(limit[8:], sys.byteorder)


def keyctl(subject: str, operation: int, *arguments: Any) -> int:
    """keyctl(2)."""
    return call("keyctl", subject, lib.SYS_keyctl, operation, *arguments)


def personality(persona: int) -> int:
    """personality(2)."""
    return call("personality", hex(persona), lib.SYS_personality, persona)


def ioprio_set(value: int) -> None:
    """ioprio_set(2), of this process."""
    call("ioprio_set", value, lib.SYS_ioprio_set, _IOPRIO_WHO_PROCESS, 0, value)


def sched_setattr(
    *, policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """sched_setattr(2), of this process.

    The structure has its second version's size, with clamps of 0: with the first one's, the kernel
    refuses the flags SCHED_FLAG_UTIL_CLAMP_MIN and _MAX.
    """
    words = (_u32(policy), _u64(flags), _u32(nice), _u32(priority))
    attributes = b"".join((*words, *map(_u64, (runtime, deadline, period)), _u32(0), _u32(0)))
    attributes = _u32(len(attributes) + 4) + attributes
    call("sched_setattr", f"policy {policy}", lib.SYS_sched_setattr, 0, attributes, 0)


def sched_setaffinity(mask: bytes) -> None:
    """sched_setaffinity(2), of this process; a bit for each CPU."""
    call("sched_setaffinity", "", lib.SYS_sched_setaffinity, 0, len(mask), mask)


def set_mempolicy(subject: str, mode: int, nodes: bytes, count: int) -> None:
    """set_mempolicy(2).

    Args:
        subject: for the error.
        mode: a mode and its flags.
        nodes: a bit for each node.
        count: how many bits the kernel reads, and one more.
    """
    call("set_mempolicy", subject, lib.SYS_set_mempolicy, mode, nodes or None, count)


def seccomp(program: bytes, flags: int) -> int:
    """seccomp(2): put a filter on this process.

    Args:
        program: struct sock_filter, one behind another.
        flags: SECCOMP_FILTER_FLAG_*.

    Returns:
        the listener's descriptor where SECCOMP_FILTER_FLAG_NEW_LISTENER asks for it, else 0.
    """
    memory = ffi.from_buffer(program)
    # struct sock_fprog: a length, six bytes of nothing, a pointer.
    fprog = (len(program) // 8).to_bytes(8, sys.byteorder) + _u64(int(ffi.cast("long", memory)))
    try:
        return call(
            "seccomp", "set filter", lib.SYS_seccomp, _SECCOMP_SET_MODE_FILTER, flags, fprog
        )
    except Failure as failure:
        if failure.errno not in _REFUSED or flags:
            raise
        refused = failure
    # The older call takes a filter without flags.
    try:
        return call("prctl", "", lib.SYS_prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, fprog, 0, 0)
    except Failure:
        raise refused from None


def check_seccomp_flags(flags: int) -> None:
    """Raises Failure where the kernel has no such flags of a filter (seccomp(2))."""
    try:
        call("seccomp", "set filter", lib.SYS_seccomp, _SECCOMP_SET_MODE_FILTER, flags, None)
    except Failure as failure:
        if failure.errno != EFAULT:  # it has them, and comes to look at the filter
            why = f"{failure.strerror} (flags {flags:#x})"
            raise Failure(failure.operation, failure.subject, failure.errno or 0, why) from None


def close_range(first: int, last: int, flags: int = 0) -> None:
    """close_range(2). Where a filter refuses that, each descriptor that /proc/self/fd lists."""
    try:
        call("close_range", f"{first}-{last}", lib.SYS_close_range, first, last, flags)
    except Failure as failure:
        if failure.errno not in _REFUSED:
            raise
        numbers = _open_descriptors()
        if numbers is None:
            raise
        for fd in numbers:
            if not first <= fd <= last:
                continue
            if flags & _CLOSE_RANGE_CLOEXEC:
                call("fcntl", fd, lib.SYS_fcntl, fd, _F_SETFD, _FD_CLOEXEC)
            else:
                posix.close(fd)


def _open_descriptors() -> list[int] | None:
    """The descriptors of this process; None if /proc/self/fd does not list them.

    A container chooses what is mounted on its /proc, and may show another process's there.
    """
    try:
        folder = posix.open("/proc/self/fd", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        if file_system_type(folder) != PROC_SUPER_MAGIC or not _lists_own(folder):
            return None
        return [fd for fd in map(int, posix.listdir(folder)) if fd != folder and _is_open(fd)]
    finally:
        close(folder)


def _lists_own(folder: int) -> bool:
    """Return whether a directory lists this process's descriptors.

    To find out, create a pipe, which no other process has, and look for it.
    """
    ends = posix.pipe2(posix.O_CLOEXEC)
    try:
        listed, own = posix.stat(str(ends[0]), dir_fd=folder), posix.fstat(ends[0])
        return (listed.st_dev, listed.st_ino) == (own.st_dev, own.st_ino)
    except FileNotFoundError:
        return False
    finally:
        for end in ends:
            posix.close(end)


def _is_open(fd: int) -> bool:
    try:
        posix.fstat(fd)
    except OSError:
        return False  # it was the listing's own
    return True


def ioctl(fd: int, subject: str, request: int, argument: int | bytes | bytearray = 0) -> int:
    """ioctl(2); a bytearray is filled in. `subject` is the request's name, for the error."""
    return call("ioctl", subject, lib.SYS_ioctl, fd, request, argument)


def bpf(subject: str, command: int, attributes: bytes | bytearray) -> int:
    """bpf(2)."""
    # The verifier gives up for a signal.
    return _again("bpf", subject, lib.SYS_bpf, command, attributes, len(attributes))


def pidfd_open(pid: int) -> int:
    """pidfd_open(2); close-on-exec.

    Raises:
        ProcessLookupError: there is no such process. For the number of a thread that is not its
            process's first the kernel says ENOENT, for that and for a process that is just being
            taken away EINVAL where it is older.
    """
    try:
        return posix.pidfd_open(pid)
    except OSError as error:
        if pid > 0 and error.errno in (EINVAL, ENOENT):
            raise ProcessLookupError(ESRCH, posix.strerror(ESRCH)) from None
        if error.errno in _REFUSED:
            raise Failure("pidfd_open", pid, error.errno or 0) from None
        raise


def signal_handle(pid: int) -> int:
    """Return a descriptor of a process for `send_signal` only.

    It is a pidfd. If a filter refuses pidfd_open(2), it is the directory of the process in /proc,
    which pidfd_send_signal(2) also accepts, but poll(2) cannot wait for.

    Raises:
        ProcessLookupError: there is no such process.
    """
    try:
        return pidfd_open(pid)
    except Failure:
        flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
        try:
            return posix.open(f"/proc/{pid}", flags)
        except FileNotFoundError:
            raise ProcessLookupError(ESRCH, posix.strerror(ESRCH)) from None


def send_signal(
    pidfd: int, pid: int, number: int, waitid: Callable[[int, int, int], object] = posix.waitid
) -> None:
    """Send a signal through a descriptor: pidfd_send_signal(2).

    If a filter refuses that call, use kill(2) on a child that nobody has waited for. Its pid cannot
    belong to another process.

    Args:
        pidfd: the result of `signal_handle`, or a pidfd.
        pid: the pid of the process.
        number: the signal.
        waitid: the waitid function of the parent of the process.

    Raises:
        ProcessLookupError: the process has ended.
        Failure: the caller may not send the signal, or a filter refuses the call.
    """
    try:
        signal.pidfd_send_signal(pidfd, number)
        return
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        refused = Failure("pidfd_send_signal", pid, error.errno or 0)
    try:
        waitid(posix.P_PIDFD, pidfd, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except OSError:
        raise refused from None
    posix.kill(pid, number)


def address(memory: bytes | bytearray) -> int:
    """Where memory is, for a structure that points to it. The caller keeps it alive."""
    return int(ffi.cast("long", ffi.from_buffer(memory)))


def move_above(fd: int, least: int) -> int:
    """A descriptor under another number, `least` or more (F_DUPFD); close-on-exec."""
    try:
        return call("fcntl", f"descriptor {fd}", lib.SYS_fcntl, fd, _F_DUPFD_CLOEXEC, least)
    finally:
        close(fd)


def flock(fd: int, operation: int) -> None:
    """flock(2)."""
    uninterrupted("flock", fd, lib.SYS_flock, fd, operation)


# ---- sockets and waiting, without the modules that make them comfortable


def socketpair() -> tuple[int, int]:
    """A pair of connected stream sockets of this machine (unix(7)); close-on-exec."""
    memory = bytearray(8)
    call("socketpair", "", lib.SYS_socketpair, _AF_UNIX, _SOCK_STREAM_CLOEXEC, 0, memory)
    return int.from_bytes(memory[:4], sys.byteorder), int.from_bytes(memory[4:], sys.byteorder)


def peek(socket: int, size: int) -> bytes:
    """What would be received, left where it is.

    Raises:
        Failure: EAGAIN where there is nothing yet, for one.
    """
    memory = bytearray(size)
    got = call("recv", socket, lib.SYS_recvfrom, socket, memory, size, _MSG_PEEK, 0, 0)
    return bytes(memory[:got])


def poll(watched: Mapping[int, int], seconds: float | None) -> list[tuple[int, int]]:
    """Wait until something has come to one of the descriptors (ppoll(2)).

    Args:
        watched: the events that are waited for, POLLIN and so on, by descriptor.
        seconds: how long; None: for ever.

    Returns:
        the descriptors that something has come to, and what; nothing where time is up.
    """
    end = None if seconds is None else time.monotonic() + seconds
    # struct pollfd: an int, and two shorts of which the kernel fills in the second.
    entries = (
        _u32(fd) + events.to_bytes(2, sys.byteorder) + b"\0\0" for fd, events in watched.items()
    )
    memory = bytearray(b"".join(entries))
    while True:
        limit = None if end is None else _timespec(max(0.0, end - time.monotonic()))
        try:
            call("poll", "", lib.SYS_ppoll, memory, len(watched), limit, None, 8)
        except Failure as failure:  # a signal; its handler has run when we are here
            if failure.errno != EINTR:
                raise
        else:
            break
    found = (int.from_bytes(memory[i + 6 : i + 8], sys.byteorder) for i in range(0, len(memory), 8))
    return [(fd, come) for fd, come in zip(watched, found, strict=True) if come]


def _timespec(seconds: float) -> bytes:
    whole = min(int(seconds), _LONGEST_WAIT)
    return _u64(whole) + _u64(int((seconds - int(seconds)) * 1e9))


def send_fds(socket: int, payload: bytes, fds: tuple[int, ...]) -> int:
    """Send bytes, at least one, and descriptors with them (unix(7), SCM_RIGHTS).

    Returns:
        How many bytes were sent.
    """
    numbers = b"".join(_u32(fd) for fd in fds)
    control = _u64(_CMSG_HEADER + len(numbers)) + _u32(_SOL_SOCKET) + _u32(_SCM_RIGHTS) + numbers
    control += bytes(-len(control) % 8)
    message, kept = _message(payload, control if fds else b"")
    sent = uninterrupted("sendmsg", "descriptors", lib.SYS_sendmsg, socket, message, _MSG_NOSIGNAL)
    del kept
    return sent


def receive_fds(socket: int, size: int, most: int) -> tuple[bytes, list[int]]:
    """Receive bytes and the descriptors that come with them, close-on-exec."""
    payload, control = bytearray(size), bytearray(_CMSG_HEADER + (most * 4 + 7) // 8 * 8)
    message, kept = _message(payload, control)
    got = uninterrupted(
        "recvmsg", "descriptors", lib.SYS_recvmsg, socket, message, _MSG_CMSG_CLOEXEC
    )
    del kept
    length = int.from_bytes(control[:8], sys.byteorder)
    rights = (_u32(_SOL_SOCKET) + _u32(_SCM_RIGHTS)) == control[8:16]
    numbers = control[_CMSG_HEADER:length] if rights else b""
    fds = [int.from_bytes(numbers[i : i + 4], sys.byteorder) for i in range(0, len(numbers), 4)]
    return bytes(payload[:got]), fds


def uninterrupted(operation: str, subject: object, number: int, *arguments: Any) -> int:
    """As `call`, again whenever a signal came in between."""
    while True:
        try:
            return call(operation, subject, number, *arguments)
        except Failure as failure:  # a signal; its handler has run when we are here
            if failure.errno != EINTR:
                raise


def _message(payload: bytes | bytearray, control: bytes | bytearray) -> tuple[bytearray, Any]:
    """A struct msghdr, and what it points to."""
    iov = bytearray(_u64(address(payload)) + _u64(len(payload)))
    where = address(control) if control else 0
    message = b"".join(_u64(n) for n in (0, 0, address(iov), 1, where, len(control), 0))
    return bytearray(message), (iov, payload, control)


def _u32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, sys.byteorder)


def _u64(number: int) -> bytes:
    return (number & 0xFFFFFFFFFFFFFFFF).to_bytes(8, sys.byteorder)
