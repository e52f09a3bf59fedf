# SPDX-License-Identifier: Apache-2.0
"""What the arguments of system calls are: which is a path, and which numbers say something."""

from __future__ import annotations

from functools import lru_cache

from nsenter._host.libseccomp import name_of

__all__ = ["meaning_of", "name_of_call"]

# A name, the index of the path among its arguments ("-" for none), and the indexes of numbers.
_TABLE = """
mount 1 3, umount2 0 1, pivot_root 0, chroot 0, open_tree 1 2, open_tree_attr 1 2, move_mount 1,
mount_setattr 1, fspick 1, fsopen 0, fsmount -, fsconfig - 1, quotactl 1 0, swapon 0, swapoff 0,
acct 0, uselib 0, execve 0, execveat 1, name_to_handle_at 1, inotify_add_watch 1,
open 0 1, openat 1 2, openat2 1, creat 0, access 0 1, faccessat 1 2, faccessat2 1 2, stat 0,
lstat 0, newfstatat 1, statx 1, statfs 0, truncate 0, chdir 0, readlink 0, readlinkat 1,
mkdir 0, mkdirat 1, mknod 0 1, mknodat 1 2, unlink 0, unlinkat 1, rmdir 0, rename 0, renameat 1,
renameat2 1, link 0, linkat 1, symlink 1, symlinkat 2, utimensat 1, utime 0, utimes 0,
chmod 0 1, fchmod - 1, fchmodat 1 2, fchmodat2 1 2, chown 0 1 2, lchown 0 1 2, fchownat 1 2 3,
setxattr 0, lsetxattr 0, getxattr 0, lgetxattr 0, listxattr 0, llistxattr 0, removexattr 0,
lremovexattr 0, fanotify_mark 4 1, memfd_create 0 1,
unshare - 0, setns - 1, clone - 0, socket - 0 1 2, socketpair - 0 1 2, ioctl - 1,
personality - 0, ptrace - 0, keyctl - 0, prctl - 0, bpf - 0, reboot - 2, kexec_load - 3,
finit_module - 2, perf_event_open -, mbind - 2, set_mempolicy - 0, syslog - 0, iopl - 0,
setuid - 0, setgid - 0, kill - 1, userfaultfd - 0
"""


def _parsed(text: str) -> dict[str, tuple[int | None, tuple[int, ...]]]:
    rows = (row.split() for row in text.replace("\n", " ").split(",") if row.strip())
    return {
        name: (None if path == "-" else int(path), tuple(map(int, numbers)))
        for name, path, *numbers in rows
    }


_MEANINGS = _parsed(_TABLE)


def meaning_of(name: str) -> tuple[int | None, tuple[int, ...]]:
    """Return the index of the path of a call, or None, and the indexes of its numbers."""
    return _MEANINGS.get(name, (None, ()))


@lru_cache(maxsize=1024)
def name_of_call(architecture: int, number: int) -> str:
    """Return the name of a system call, or "syscall N".

    Without libseccomp, the names are those of `nsenter.seccomp.strict`, which are of the native
    architecture.
    """
    try:
        name = name_of(architecture, number)
    except OSError:
        name = _of_strict(architecture).get(number, "")
    return name or f"syscall {number}"


def _of_strict(architecture: int) -> dict[int, str]:
    from nsenter import seccomp

    for token, column in seccomp._ARCHITECTURES.values():
        if token == architecture:
            return {number: name for name, number in seccomp._numbers(column).items()}
    return {}
