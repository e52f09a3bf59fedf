# SPDX-License-Identifier: Apache-2.0
"""What a person may try, by the operation that failed and its errno. One table for all errors."""

from __future__ import annotations

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

__all__ = ["hint_for"]

_CREATE = ("clone", "clone3", "unshare")

# (operations, errno, what to try)
_TABLE: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (
        _CREATE,
        EPERM,
        "without root, create a user namespace too (`--new user … --map-root`); refused even so: "
        "sysctl kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns, "
        "the seccomp filter of a container around us, or a chroot, in which none can be made",
    ),
    (
        _CREATE,
        ENOSPC,
        "a limit in /proc/sys/user/max_*_namespaces is reached, or user namespaces are nested "
        "over 32 deep",
    ),
    (_CREATE, EAGAIN, "a limit on processes is reached: pids.max of the cgroup, or RLIMIT_NPROC"),
    (("clone3",), EACCES, "the cgroup to start in is not this user's: have it delegated"),
    (
        _CREATE,
        EINVAL,
        "the kernel lacks one of these namespaces: see `python -m nsenter types`",
    ),
    (
        ("setns",),
        EPERM,
        "it takes CAP_SYS_ADMIN in the user namespace that owns the target: join that one as "
        "well, or run as root",
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
    (
        ("write",),
        EPERM,
        "without root, one may map one's own id alone; more takes newuidmap and newgidmap "
        "(Debian: uidmap) on PATH and ranges in /etc/subuid and /etc/subgid",
    ),
    (("write",), EACCES, "it is another user's, or lowering it takes CAP_SYS_RESOURCE"),
    (("write",), EINVAL, "the value is out of the kernel's range"),
    (
        ("run",),
        EPERM,
        "see this user's ranges in /etc/subuid and /etc/subgid, and that the tool is setuid root "
        "or has its file capabilities",
    ),
    (("wait for",), ETIMEDOUT, "the tool hung and was killed: does the user database answer?"),
    (("setresuid", "setresgid"), EINVAL, "the user namespace does not map this id"),
    (
        ("sethostname", "mount"),
        EPERM,
        "it takes a new uts or mnt namespace, and in a container around us a /proc of which "
        "nothing is masked",
    ),
    (
        ("prctl PR_CAPBSET_DROP", "capset", "setgroups", "setresuid", "setresgid"),
        EPERM,
        "it takes that capability, or CAP_SETPCAP, CAP_SETUID or CAP_SETGID to give others up: "
        'without root, create a user namespace too (`new="user"`)',
    ),
    (("setgroups",), EINVAL, "the user namespace does not map one of them"),
    (
        ("prlimit",),
        EPERM,
        "raising a hard limit takes CAP_SYS_RESOURCE outside of any user namespace",
    ),
    (("sched_setaffinity",), EINVAL, "this machine, or the cgroup, has none of these processors"),
    (
        ("seccomp",),
        EACCES,
        "without CAP_SYS_ADMIN in its user namespace, a filter takes no_new_privs",
    ),
    (("seccomp",), EINVAL, "it is no program that seccomp(2) takes, or the flags are unknown"),
    (
        ("landlock_create_ruleset",),
        ENOSYS,
        "this kernel has no Landlock: it takes Linux 5.13 with CONFIG_SECURITY_LANDLOCK",
    ),
    (
        ("landlock_create_ruleset",),
        EOPNOTSUPP,
        "Landlock is not among the security modules that this kernel was started with (lsm=…)",
    ),
    (
        ("open for landlock",),
        ENOENT,
        "the rules are about the paths in the process's root, where this one is not",
    ),
    (("bind",), ENOENT, "there is no such path in the caller's tree"),
    (("bind",), EACCES, "the user that the process is outside may not go there"),
    (
        ("open the mount point",),
        ENOENT,
        "it is missing, and made only in a `root`, a Tmpfs, or what is bound to be written",
    ),
    (
        ("open the mount point",),
        EROFS,
        "it is missing, and what it would be made in is read-only",
    ),
    (
        ("open the mount point",),
        EACCES,
        "it is missing, and the user that the process is outside may not make it there",
    ),
    (("move_mount",), EINVAL, "a file goes onto a file, and a folder onto a folder"),
    (("mount the root",), ENOENT, "there is no such folder in the caller's tree"),
    (("mount the root", "bind"), ENOSYS, "it takes Linux 5.12, for mount_setattr(2)"),
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
        ("memfd_create",),
        EACCES,
        "sysctl vm.memfd_noexec is 2: nsinit is executed from sealed memory, which it forbids",
    ),
    (
        ("execve",),
        ENOENT,
        "it, or the interpreter that its first line names, is not in the root that is looked in",
    ),
    (
        ("execve",),
        EACCES,
        "it is not executable by this user there; with `landlock`, a rule has to let it be, its "
        "libraries and its interpreter",
    ),
    (("execve",), ENOEXEC, "it is no program of this machine's kind, or a script without #!"),
    (
        ("import",),
        ENOENT,
        "the init imports only what travels with it: name a module in PythonInit(modules=…), a "
        "C extension in PythonInit(extensions=…)",
    ),
)

_HINTS = {(operation, number): hint for names, number, hint in _TABLE for operation in names}


def hint_for(operation: str, number: int) -> str:
    """What to try after `operation` failed with errno `number`; "" where nothing is known."""
    return _HINTS.get((operation, number), "")
