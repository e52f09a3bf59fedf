"""What the place where the tests run lets them do, found out by trying.

As a script it prints the names of the rights that this process has, in JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from places import worker

_INITIAL_USER_NAMESPACE = 0xEFFF_FFFD  # its inode: PROC_USER_INIT_INO in linux/proc_ns.h
_MANY = 65536


class Right(NamedTuple):
    """What some tests take.

    Args:
        lacks: what a place without it does not have; a noun.
        how: how what takes it can be tested.
        has: looks whether it is so here; may raise OSError if not.
    """

    lacks: str
    how: str
    has: Callable[[], bool]


def _new_user_namespace() -> bool:
    uid, gid = os.geteuid(), os.getegid()
    worker.unshare(worker.NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    return True


def _new_proc() -> bool:
    _new_user_namespace()
    return worker.own_pids()


def _many_ids() -> bool:
    """Root among them, with all that root may in its user namespace."""
    rows = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    many = sum(int(size) for _, _, size in rows) >= _MANY
    return many and os.geteuid() == 0 and worker.is_admin()


def _machine() -> bool:
    status = Path("/proc/self/status").read_text()
    if Path("/proc/self/ns/user").stat().st_ino != _INITIAL_USER_NAMESPACE:
        return False
    if not worker.is_admin() or "Seccomp:\t0\n" not in status:
        return False
    for hierarchy in worker.hierarchies():
        Path(tempfile.mkdtemp(prefix="nsenter-tests-", dir=hierarchy.folder)).rmdir()
    return True


_OUTSIDE = "run `make test` outside of a container"
_AS_ROOT = "run `make test` as root, outside of a container"

RIGHTS = {
    "namespaces": Right(
        "new user namespaces",
        "`python -m nsenter doctor` says what forbids them and what to change",
        _new_user_namespace,
    ),
    "proc": Right(
        "a new /proc", f"{_OUTSIDE}, or in one with --security-opt unmask=ALL", _new_proc
    ),
    "ids": Right(
        "root in a user namespace with many ids",
        "install newuidmap and add ranges to /etc/subuid and /etc/subgid, or be root",
        _many_ids,
    ),
    "machine": Right("the rights of the machine's root", _AS_ROOT, _machine),
}


def found() -> frozenset[str]:
    """The names of those that this process has; what is tried is tried in processes that end."""
    done = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, check=True)
    return frozenset(json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps([name for name, right in RIGHTS.items() if worker.can(right.has)]))
