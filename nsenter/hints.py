# SPDX-License-Identifier: Apache-2.0
"""What may be in the way of namespaces, and what to do about it. Each fact stands here once: the
doctor tells them all, and the hint of an error those that fit.

An error's hint looks at the machine: where a setting is at fault that can be read, it is named.
This is imported on every path that may fail, so it imports nothing but built-in modules.
"""

from __future__ import annotations

import posix
from errno import (
    EACCES,
    EAGAIN,
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
    "has_admin",
    "hint_for",
    "read_line",
    "status_field",
]

_CAP_SYS_ADMIN = 21
_KINDS = ("user", "ipc", "uts", "net", "pid", "mnt", "cgroup", "time")


# ---- what can be read of the machine, fast and without a right to anything


def read_line(path: str) -> str:
    """The first line of a file; "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def status_field(name: str) -> str:
    """A field of /proc/self/status (proc_pid_status(5)); "" where there is none."""
    from nsenter import procfs  # when there is an error, not before

    try:
        return procfs.status(procfs.read("/proc/self/status")).get(name, "").strip()
    except OSError:
        return ""


def _sysctl(name: str, *faulty: str) -> Callable[[str], str]:
    """Seen where a sysctl has one of these values."""

    def seen(kinds: str) -> str:
        value = read_line(f"/proc/sys/{name.replace('.', '/')}")
        return f"sysctl {name} is {value}" if value in faulty else ""

    return seen


def _where_asked(kind: str, seen: Callable[[str], str]) -> Callable[[str], str]:
    """What matters for one kind of namespace alone."""
    return lambda kinds: "" if kinds and kind not in kinds.split(",") else seen(kinds)


def has_admin() -> bool:
    """Whether this process has CAP_SYS_ADMIN in its user namespace."""
    return bool(int(status_field("CapEff") or "0", 16) >> _CAP_SYS_ADMIN & 1)


def _no_admin(kinds: str) -> str:
    if has_admin() or "user" in kinds.split(","):
        return ""
    return f"uid {posix.geteuid()} has no CAP_SYS_ADMIN"


def _for_users(seen: Callable[[str], str]) -> Callable[[str], str]:
    """What root is exempt from."""
    return lambda kinds: "" if has_admin() else seen(kinds)


def _filtered(kinds: str) -> str:
    return "a seccomp filter is on this process" if status_field("Seccomp") == "2" else ""


def _chroot(kinds: str) -> str:
    """The mount at the root is among those that are seen, unless the root is below it; where the
    root of a chroot is a mount point, init's root may tell."""
    points = _mount_points()
    if not points or ("/" in points and not _differs_from_init()):
        return ""
    return "the root of this process is a folder of its mount namespace: a chroot"


def _mount_points() -> list[str]:
    """Those that are seen; none if they cannot be read."""
    from nsenter import procfs

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
    except OSError:  # it is not ours to know
        return False


def _no_new_privs(kinds: str) -> str:
    return "no_new_privs is set on this process" if status_field("NoNewPrivs") == "1" else ""


def _covered_proc(kinds: str) -> str:
    """What is mounted below /proc, which no longer shows itself whole then."""
    covered = [p for p in _mount_points() if p.startswith("/proc/") and p != _BINFMT]
    more = f" (and {len(covered) - 1} more)" if len(covered) > 1 else ""
    return f"{covered[0]}{more} is mounted over" if covered else ""


_BINFMT = "/proc/sys/fs/binfmt_misc"  # over an empty folder that is made for it


# ---- the facts


class Fact:
    """One thing that can be in the way.

    Args:
        means: what it means, a sentence's worth.
        do: what to do, with the exact command where there is one.
        seen: looks whether it is so here, for the kinds of namespace that were asked for
            ("user,net", "" for any); says what it saw, or "". None: that cannot be read.
    """

    __slots__ = ("do", "means", "seen")

    def __init__(self, means: str, do: str, seen: Callable[[str], str] | None = None) -> None:
        self.means, self.do, self.seen = means, do, seen

    def is_seen(self, kinds: str = "") -> str:
        """What was seen that is at fault; "" where nothing was."""
        return self.seen(kinds) if self.seen else ""


FACTS = {
    "no admin": Fact(
        "without root, all other namespaces take a new user namespace",
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
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or load a profile for the "
        "program that has `userns,`",
        _for_users(_sysctl("kernel.apparmor_restrict_unprivileged_userns", "1")),
    ),
    "seccomp": Fact(
        "a container around us may refuse the system calls that namespaces take",
        "if it is a container's, start that with `--security-opt seccomp=unconfined`, or with a "
        "profile that allows clone, clone3, unshare, setns and mount",
        _filtered,
    ),
    "hostname filter": Fact(
        "a container's filter may refuse sethostname(2), also in a new uts namespace, to all who "
        "started without CAP_SYS_ADMIN",
        "do without a hostname, or start the container with `--security-opt seccomp=unconfined`",
        _filtered,
    ),
    "chroot": Fact(
        "in a chroot the kernel lets nobody create a user namespace",
        "enter the root with pivot_root(2) instead: `--root DIR`, Options(root=…)",
        _where_asked("user", _chroot),
    ),
    **{
        f"limit {kind}": Fact(
            f"no {kind} namespace can be created in this user namespace and those below it",
            f"sysctl -w user.max_{kind}_namespaces=10000",
            _where_asked(kind, _sysctl(f"user.max_{kind}_namespaces", "0")),
        )
        for kind in _KINDS
    },
    "nesting": Fact(
        "user namespaces nest at most 32 deep",
        "start it from a user namespace further out",
    ),
    "processes": Fact(
        "a limit on processes is reached",
        "raise pids.max of the cgroup, or RLIMIT_NPROC: `ulimit -u`",
    ),
    "kinds": Fact(
        "the kernel lacks a kind of namespace",
        "`python -m nsenter types` lists those that it has; ask for those alone",
    ),
    "cgroup": Fact(
        "the cgroup is not this user's to start processes in",
        "have it delegated: systemd-run --user --scope --property=Delegate=yes COMMAND",
    ),
    "subordinate ids": Fact(
        "without root, one may map one's own id alone; more takes newuidmap and newgidmap on PATH "
        "and ranges in /etc/subuid and /etc/subgid",
        "add what is missing of these",
    ),
    "mapping tools": Fact(
        "newuidmap and newgidmap write the maps of an ordinary user, and are setuid root for that",
        "apt-get install uidmap, or dnf install shadow-utils; for one that has lost its bit: "
        "chmod u+s $(command -v newuidmap newgidmap)",
    ),
    "no new privs": Fact(
        "execve(2) gives no privileges any more: newuidmap and newgidmap cannot do their work",
        "start this process without it, or do without `--map-auto`",
        _no_new_privs,
    ),
    "memfd exec": Fact(
        "nsinit is executed from sealed memory, which that forbids",
        "sysctl -w vm.memfd_noexec=1",
        _sysctl("vm.memfd_noexec", "2"),
    ),
    "landlock": Fact(
        "without Landlock, paths cannot be allowed one by one: Options(landlock=…)",
        "boot Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK, and landlock in the list of lsm=",
    ),
    "overlay": Fact(
        "an overlay takes root here, or a program such as fuse-overlayfs",
        "modprobe overlay; or boot Linux 5.11 or newer",
    ),
    "old kernel": Fact(
        "it lacks system calls that every start makes",
        "boot Linux 5.11 or newer",
    ),
    "covered proc": Fact(
        "only who sees all of a /proc may mount a new one, which a container around us prevents",
        "podman run --security-opt unmask=ALL, docker run --security-opt systempaths=unconfined; "
        "or do without: `--no-proc`, Options(proc=False)",
        _covered_proc,
    ),
}  # fmt: skip


# ---- the hints

_CREATE = ("clone", "clone3", "unshare")
_REFUSED = ("no admin", "userns clone", "apparmor userns", "seccomp", "chroot")
ASK_THE_DOCTOR = "`python -m nsenter doctor` tells more"
_SOMEBODY = f"a security module refuses it, or a chroot; {ASK_THE_DOCTOR}"

# (operations, errno, what to try where none of the facts is seen to be the cause, the facts); ""
# says what the facts say.
_TABLE: tuple[tuple[tuple[str, ...], int, str, *tuple[str, ...]], ...] = (
    (_CREATE, EPERM, _SOMEBODY, *_REFUSED),
    (
        _CREATE,
        ENOSPC,
        "a limit in /proc/sys/user/max_*_namespaces is reached, here or in a user namespace around "
        "us, or user namespaces are nested over 32 deep",
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
        "it is a namespace of another kind, or the user namespace we are in, or a pid namespace "
        "that is not below ours",
    ),
    (("setns",), ESRCH, "the process of the pidfd has ended"),
    (("open",), ENOENT, "the process has ended, or the path is wrong"),
    (("open",), EACCES, "it belongs to another user: run as that user or as root"),
    (("write",), EACCES, "it belongs to another user, or lowering it requires CAP_SYS_RESOURCE"),
    (("write",), EINVAL, "the value is out of the kernel's range"),
    (("wait for",), ETIMEDOUT, "the tool hung and was killed: does the user database answer?"),
    (("setresuid", "setresgid"), EINVAL, "the user namespace does not map this id"),
    (
        ("prctl PR_CAPBSET_DROP", "capset", "setgroups", "setresuid", "setresgid"),
        EPERM,
        "it requires that capability, or CAP_SETPCAP, CAP_SETUID or CAP_SETGID to give others up: "
        'without root, create a user namespace too (`new="user"`)',
    ),
    (("setgroups",), EINVAL, "the user namespace does not map one of them"),
    (
        ("prlimit",),
        EPERM,
        "raising a hard limit requires CAP_SYS_RESOURCE outside of any user namespace; "
        "RLIMIT_NOFILE cannot be above fs.nr_open",
    ),
    (("sched_setaffinity",), EINVAL, "this machine, or the cgroup, has none of these processors"),
    (
        ("seccomp",),
        EACCES,
        "without CAP_SYS_ADMIN in its user namespace, a filter requires no_new_privs",
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
        "rules are for paths in the root of the process, and this path is not there",
    ),
    (("bind",), ENOENT, "there is no such path in the caller's tree"),
    (("bind",), EACCES, "outside, the process is a user who may not search that path"),
    (
        ("open the mount point",),
        ENOENT,
        "it is missing, and is made only in a `root`, a Tmpfs or a writable Bind",
    ),
    (
        ("open the mount point",),
        EROFS,
        "it is missing, and cannot be made in a read-only directory",
    ),
    (
        ("open the mount point",),
        EACCES,
        "it is missing, and outside, the process is a user who may not make it there",
    ),
    (
        ("move_mount",),
        EINVAL,
        "a file goes only on a file, and a directory only on a directory",
    ),
    (("mount the root",), ENOENT, "there is no such folder in the caller's tree"),
    (
        ("pivot_root",),
        EINVAL,
        "the caller's own root is no mount: it is an initramfs, or the caller was put there by "
        "chroot(2)",
    ),
    (("ioctl TIOCSCTTY",), EPERM, "it is the terminal of another session already"),
    (
        ("start",),
        ECANCELED,
        "an interpreter with file capabilities, or a caller whose real and effective ids differ, "
        "does not load the shim",
    ),
    (
        ("execve",),
        ENOENT,
        "it, or the interpreter that its first line names, is not in the root of the process",
    ),
    (
        ("execve",),
        EACCES,
        "this user may not execute it there; with `landlock`, rules must allow to execute it, its "
        "libraries and its interpreter",
    ),
    (("execve",), ENOEXEC, "it is a program for another kind of machine, or a script without #!"),
    (
        ("import",),
        ENOENT,
        "the init imports only what travels with it: name a module in PythonInit(modules=…), a "
        "C extension in PythonInit(extensions=…)",
    ),
)

_HINTS = {
    (operation, number): (facts, text)
    for operations, number, text, *facts in _TABLE
    for operation in operations
}


def hint_for(operation: str, number: int, subject: str = "") -> str:
    """What to try after `operation` failed with errno `number`; "" where nothing is known.

    Args:
        subject: what it was done to: of the calls that create namespaces, their kinds.
    """
    from nsenter.refusals import why_refused

    refusal = why_refused(operation, number, subject)
    if refusal:
        return refusal
    names, text = _HINTS.get((operation, number), ([], ""))
    seen = [(fact.is_seen(subject), fact) for fact in map(FACTS.__getitem__, names)]
    causes = [f"{what}: {fact.do}" for what, fact in seen if what]
    if causes:
        return "; ".join(causes)
    return text or "; ".join(f"{fact.means}: {fact.do}" for _, fact in seen)
