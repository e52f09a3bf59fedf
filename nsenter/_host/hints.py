# SPDX-License-Identifier: Apache-2.0
"""What can prevent namespaces from working, and what to do about it.

Each fact is listed here once: `doctor` reports all of them, and the hint of an error those that
apply. A hint names a setting of the machine if reading it shows that it is the cause. Every path
that may fail imports this module, so it imports only built-in modules.
"""

from __future__ import annotations

import posix
from errno import (
    EACCES,
    EAGAIN,
    EBUSY,
    ECANCELED,
    EINVAL,
    ENOENT,
    ENOEXEC,
    ENOSPC,
    ENOSYS,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ESRCH,
    ETIMEDOUT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ASK_THE_DOCTOR",
    "FACTS",
    "Fact",
    "hint_for",
    "read_line",
]

_KINDS = ("user", "ipc", "uts", "net", "pid", "mnt", "cgroup", "time")


# ---- what can be read quickly and without privileges


def read_line(path: str) -> str:
    """Return the first line of a file, or "" if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _sysctl(name: str, *faulty: str) -> Callable[[str], str]:
    """Return a check whether a sysctl has one of these values."""

    def seen(kinds: str) -> str:
        value = read_line(f"/proc/sys/{name.replace('.', '/')}")
        return f"sysctl {name} is {value}" if value in faulty else ""

    return seen


def _where_asked(kind: str, seen: Callable[[str], str]) -> Callable[[str], str]:
    """Return a check that applies to one type of namespace only."""
    return lambda kinds: "" if kinds and kind not in kinds.split(",") else seen(kinds)


def _status_field(name: str) -> str:
    from nsenter._host.procfs import status_field

    return status_field(name)


def _has_admin() -> bool:
    from nsenter._host.procfs import has_admin  # only errors need it

    return has_admin()


def _no_admin(kinds: str) -> str:
    if _has_admin() or "user" in kinds.split(","):
        return ""
    return f"uid {posix.geteuid()} has no CAP_SYS_ADMIN"


def _for_users(seen: Callable[[str], str]) -> Callable[[str], str]:
    """Return a check that does not apply to root."""
    return lambda kinds: "" if _has_admin() else seen(kinds)


def _filtered(kinds: str) -> str:
    return "a seccomp filter is on this process" if _status_field("Seccomp") == "2" else ""


def _chroot(kinds: str) -> str:
    """Say so if this process is in a chroot.

    /proc/self/mountinfo lists the mount at the root unless the root is below it. If the root of the
    chroot is a mount point itself, it can be compared with the root of PID 1.
    """
    points = _mount_points()
    if not points or ("/" in points and not _differs_from_init()):
        return ""
    return "the root of this process is a directory of its mount namespace: a chroot"


def _mount_points() -> list[str]:
    """Return the visible mount points; none if they cannot be read."""
    from nsenter._host import procfs

    try:
        return [mount.point for mount in procfs.mounts()]
    except OSError:
        return []


def _differs_from_init() -> bool:
    def same(path: str) -> bool:
        ours, theirs = posix.stat(f"/proc/self/{path}"), posix.stat(f"/proc/1/{path}")
        return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)

    try:
        return same("ns/mnt") and not same("root")
    except OSError:  # this user may not read it
        return False


def _no_new_privs(kinds: str) -> str:
    return "no_new_privs is set on this process" if _status_field("NoNewPrivs") == "1" else ""


def _covered_proc(kinds: str) -> str:
    """Say what is mounted below /proc: a part of /proc is hidden then."""
    covered = [p for p in _mount_points() if p.startswith("/proc/") and p != _BINFMT]
    more = f" (and {len(covered) - 1} more)" if len(covered) > 1 else ""
    return f"{covered[0]}{more} is mounted over" if covered else ""


_BINFMT = "/proc/sys/fs/binfmt_misc"  # is mounted on an empty directory, and hides nothing


# ---- the facts


class Fact:
    """Something that can prevent namespaces from working.

    Args:
        means: what it means, in one clause.
        do: what to do, with the exact command if there is one.
        seen: a function that checks whether this is the case here, for the types of namespace that
            were asked for ("user,net"; "" means any). It returns what it found, or "". None means
            that it cannot be checked.
    """

    __slots__ = ("do", "means", "seen")

    def __init__(self, means: str, do: str, seen: Callable[[str], str] | None = None) -> None:
        self.means, self.do, self.seen = means, do, seen

    def is_seen(self, kinds: str = "") -> str:
        """Return what was found to be the cause, or ""."""
        return self.seen(kinds) if self.seen else ""


FACTS = {
    "no admin": Fact(
        "without root, every other namespace requires a new user namespace",
        "create a user namespace too: `--user --map-root-user`, Options(new=(\"user\", …))",
        _no_admin,
    ),
    "userns clone": Fact(
        "only root may create user namespaces here",
        "sysctl -w kernel.unprivileged_userns_clone=1",
        _for_users(_sysctl("kernel.unprivileged_userns_clone", "0")),
    ),
    "apparmor userns": Fact(
        "AppArmor gives no capabilities in a user namespace that an unconfined program creates",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or load the profile that "
        "`python -m nsenter doctor` prints",
        _for_users(_sysctl("kernel.apparmor_restrict_unprivileged_userns", "1")),
    ),
    "seccomp": Fact(
        "the filter of a surrounding container may refuse the system calls that namespaces require",
        "start that container with `--security-opt seccomp=unconfined`, or with a profile that "
        "allows clone, clone3, unshare, setns and mount",
        _filtered,
    ),
    "hostname filter": Fact(
        "a container's filter may refuse sethostname(2), even in a new uts namespace, if the "
        "container was started without CAP_SYS_ADMIN",
        "leave out the hostname, or start the container with `--security-opt seccomp=unconfined`",
        _filtered,
    ),
    "chroot": Fact(
        "in a chroot, the kernel does not allow to create a user namespace",
        "enter the root with pivot_root(2) instead: `--root DIR`, Options(root=…)",
        _where_asked("user", _chroot),
    ),
    **{
        f"limit {kind}": Fact(
            f"no {kind} namespace can be created in this user namespace or below it",
            f"sysctl -w user.max_{kind}_namespaces=10000",
            _where_asked(kind, _sysctl(f"user.max_{kind}_namespaces", "0")),
        )
        for kind in _KINDS
    },
    "nesting": Fact(
        "user namespaces can be nested at most 32 levels deep",
        "start the process from an outer user namespace",
    ),
    "processes": Fact(
        "a limit on processes is reached",
        "raise pids.max of the cgroup, or RLIMIT_NPROC: `ulimit -u`",
    ),
    "kinds": Fact(
        "the kernel does not support every type of namespace",
        "`python -m nsenter types` lists the supported ones; ask only for those",
    ),
    "cgroup": Fact(
        "this user may not start processes in the cgroup",
        "ask systemd to delegate one: systemd-run --user --scope --property=Delegate=yes COMMAND",
    ),
    "subordinate ids": Fact(
        "without root, a user can map only their own id; more ids require newuidmap and newgidmap "
        "on PATH and ranges in /etc/subuid and /etc/subgid",
        "add what is missing",
    ),
    "mapping tools": Fact(
        "newuidmap and newgidmap write the maps of an ordinary user, and must be setuid root",
        "apt-get install uidmap, or dnf install shadow-utils; if one has lost its setuid bit: "
        "chmod u+s $(command -v newuidmap newgidmap)",
    ),
    "no new privs": Fact(
        "execve(2) no longer gives privileges, so newuidmap and newgidmap do not work",
        "start this process without no_new_privs, or leave out `--map-auto`",
        _no_new_privs,
    ),
    "memfd exec": Fact(
        "nsinit is executed from sealed memory, which this setting forbids",
        "sysctl -w vm.memfd_noexec=1",
        _sysctl("vm.memfd_noexec", "2"),
    ),
    "landlock": Fact(
        "Options(landlock=…) requires Landlock",
        "boot Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK, and landlock in the list of lsm=",
    ),
    "overlay": Fact(
        "here an overlay requires root, or a program such as fuse-overlayfs",
        "modprobe overlay; or boot Linux 5.11 or newer",
    ),
    "old kernel": Fact(
        "this kernel lacks system calls that every start requires",
        "boot Linux 5.11 or newer",
    ),
    "covered proc": Fact(
        "a new /proc can be mounted only if no part of the current one is hidden, and the "
        "surrounding container hides parts of it",
        "podman run --security-opt unmask=ALL, docker run --security-opt systempaths=unconfined; "
        "or leave it out: `--no-proc`, Options(proc=False)",
        _covered_proc,
    ),
}  # fmt: skip


# ---- the hints

_CREATE = ("clone", "clone3", "unshare")
_REFUSED = ("no admin", "userns clone", "apparmor userns", "seccomp", "chroot")
ASK_THE_DOCTOR = "`python -m nsenter doctor` says more"
_SOMEBODY = f"a security module or a chroot forbids it; {ASK_THE_DOCTOR}"

# (operations, errno, the hint if none of the facts is found to be the cause, the facts). "" means
# the texts of the facts.
_TABLE: tuple[tuple[tuple[str, ...], int, str, *tuple[str, ...]], ...] = (
    (_CREATE, EPERM, _SOMEBODY, *_REFUSED),
    (
        _CREATE,
        ENOSPC,
        "a limit in /proc/sys/user/max_*_namespaces is reached, here or in an outer user "
        "namespace, or user namespaces are nested more than 32 levels deep",
        *(f"limit {kind}" for kind in _KINDS),
    ),
    (_CREATE, EAGAIN, "", "processes"),
    (("clone3",), EACCES, "", "apparmor userns", "cgroup"),
    (("clone", "unshare"), EACCES, "", "apparmor userns"),
    (_CREATE, EINVAL, "", "kinds"),
    (
        ("write",),
        EPERM,
        f"{FACTS['subordinate ids'].means}; {ASK_THE_DOCTOR}",
        "apparmor userns",
    ),
    (("run",), EPERM, "", "no new privs", "subordinate ids", "mapping tools"),
    (("memfd_create",), EACCES, "", "memfd exec"),
    (
        ("mount",),
        EPERM,
        "it requires a new mnt namespace, and for /proc a new pid namespace",
        "covered proc",
        "apparmor userns",
    ),
    (("sethostname",), EPERM, "it requires a new uts namespace", "hostname filter"),
    (
        ("setns",),
        EPERM,
        "it requires CAP_SYS_ADMIN in the user namespace that owns the target: join that one "
        "too, or run as root",
    ),
    (
        ("setns",),
        EINVAL,
        "it is a namespace of another type, or the caller's own user namespace, or a pid namespace "
        "that is not below the caller's",
    ),
    (("setns",), ESRCH, "the process of the pidfd has ended"),
    (("open",), ENOENT, "the process has ended, or the path is wrong"),
    (("open",), EACCES, "it belongs to another user: run as that user or as root"),
    (("write",), EACCES, "it belongs to another user, or lowering it requires CAP_SYS_RESOURCE"),
    (("write",), EINVAL, "the value is out of the kernel's range"),
    (
        ("wait for",),
        ETIMEDOUT,
        "the tool hung and was killed: check that the user database answers",
    ),
    (("setresuid", "setresgid"), EINVAL, "the user namespace does not map this id"),
    (
        ("prctl PR_CAPBSET_DROP", "capset", "setgroups", "setresuid", "setresgid"),
        EPERM,
        "it requires that capability, and CAP_SETPCAP, CAP_SETUID or CAP_SETGID to give up others: "
        'without root, create a user namespace too (`new="user"`)',
    ),
    (("setgroups",), EINVAL, "the user namespace does not map one of the groups"),
    (
        ("prlimit",),
        EPERM,
        "raising a hard limit requires CAP_SYS_RESOURCE outside of any user namespace; "
        "RLIMIT_NOFILE cannot be above fs.nr_open",
    ),
    (("sched_setaffinity",), EINVAL, "the machine, or the cgroup, has none of these processors"),
    (
        ("seccomp",),
        EACCES,
        "a filter requires no_new_privs, or CAP_SYS_ADMIN in the user namespace of the process",
    ),
    (
        ("seccomp",),
        EBUSY,
        "a filter of this process has a listener already, and the kernel allows only one",
    ),
    (("seccomp",), EINVAL, "the kernel does not accept the program, or does not know the flags"),
    (("landlock_create_ruleset",), ENOSYS, "", "landlock"),
    (
        ("landlock_create_ruleset",),
        EOPNOTSUPP,
        "TCP ports require Linux 6.7, scopes Linux 6.12, and both landlock in the list of lsm=",
    ),
    (
        ("open for landlock",),
        ENOENT,
        "the path of a rule must exist in the root of the process",
    ),
    (("bind",), ENOENT, "the path does not exist in the caller's mount namespace"),
    (("bind",), EACCES, "the user that the process has outside may not search that path"),
    (
        ("open the mount point",),
        ENOENT,
        "it is missing, and is created only in a `root`, a Tmpfs or a writable Bind",
    ),
    (
        ("open the mount point",),
        EROFS,
        "it is missing, and cannot be created in a read-only directory",
    ),
    (
        ("open the mount point",),
        EACCES,
        "it is missing, and the user that the process has outside may not create it there",
    ),
    (
        ("move_mount",),
        EINVAL,
        "a file can only be mounted on a file, and a directory only on a directory",
    ),
    (("mount the root",), ENOENT, "the directory does not exist in the caller's mount namespace"),
    (
        ("pivot_root",),
        EINVAL,
        "the root of the caller is not a mount point: it is an initramfs, or a chroot(2)",
    ),
    (("ioctl TIOCSCTTY",), EPERM, "it already is the terminal of another session"),
    (
        ("start",),
        ECANCELED,
        "an interpreter with file capabilities does not load the shim, nor does one that "
        "is started by a process whose real and effective ids differ",
    ),
    (
        ("execve",),
        ENOENT,
        "the program, or the interpreter that its first line names, is not in the root of the "
        "process",
    ),
    (
        ("execve",),
        EACCES,
        "this user may not execute it; with `landlock`, rules must allow to execute the program, "
        "its libraries and its interpreter",
    ),
    (("execve",), ENOEXEC, "it is a program for another architecture, or a script without #!"),
    (
        ("import",),
        ENOENT,
        "the init can import only what is sent with it: name a module in PythonInit(modules=…), a "
        "C extension in PythonInit(extensions=…)",
    ),
)

_HINTS = {
    (operation, number): (facts, text)
    for operations, number, text, *facts in _TABLE
    for operation in operations
}


def hint_for(operation: str, number: int, subject: str = "") -> str:
    """Return what to try after an operation failed with an errno; "" if nothing is known.

    Args:
        operation: the system call or step.
        number: the errno.
        subject: what it was applied to; for calls that create namespaces, their kinds.
    """
    from nsenter._host.refused_syscalls import why_refused

    refusal = why_refused(operation, number, subject)
    if refusal:
        return refusal
    if "init pipe" in subject:  # what is known of writes is known of files in /proc
        return ""
    names, text = _HINTS.get((operation, number), ([], ""))
    seen = [(fact.is_seen(subject), fact) for fact in map(FACTS.__getitem__, names)]
    causes = [f"{what}: {fact.do}" for what, fact in seen if what]
    if causes:
        return "; ".join(causes)
    return text or "; ".join(f"{fact.means}: {fact.do}" for _, fact in seen)
