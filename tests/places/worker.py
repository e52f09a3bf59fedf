"""Runs one parallel test worker where no other worker sees what it does.

The tests count mounts, processes and namespaces, and some use fixed names below /run and /tmp. So
a worker gets new mount, pid, ipc and cgroup namespaces, private folders, its own cgroups,
and a PID 1 that reaps. An ordinary user who has subordinate ids gets a user namespace as well, and
is root in it. Whatever the caller has no right to is left out: the worker then runs as it is.

As a script: worker.py NUMBER PYTHON ARGUMENT…
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

NEWNS, NEWCGROUP, NEWIPC = 0x0002_0000, 0x0200_0000, 0x0800_0000
NEWUSER, NEWPID = 0x1000_0000, 0x2000_0000
_REC_PRIVATE = 0x4000 | 0x4_0000
_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_DETACH = 2
_PR_SET_PDEATHSIG = 1
_CAP_SETUID, _CAP_SYS_ADMIN = 7, 21
_PIDS_APART = 10_000  # so that names that the tests make of their pid differ between workers
_SECONDS = 10.0
# Microseconds of a period of a second: what the tests use at a time, and no more. The machine has
# 950,000 in all, of which each worker of each run takes so many.
_REAL_TIME = "45000"

# What is private to a worker: a folder, and the options of the tmpfs on it.
_FOLDERS = {
    "/run": "mode=755",
    "/tmp": "mode=1777",
    "/var/tmp": "mode=1777",
    "/dev/shm": "mode=1777",
    "/var/lib/containers": "mode=755",
    "/var/lib/containerd": "mode=755",
}

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), f"unshare {flags:#x}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    words = (word.encode() for word in (source, target, kind))
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def capabilities() -> int:
    """The effective ones of this process, as a mask."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _has(capability: int) -> bool:
    return bool(capabilities() >> capability & 1)


def is_admin() -> bool:
    """Whether this process may do in its user namespace what root may."""
    return _has(_CAP_SYS_ADMIN)


# ---- cgroups


class Hierarchy(NamedTuple):
    """One that is mounted: where, what mounts it anew, and the cgroup of this process in it."""

    point: str
    kind: str
    options: str
    folder: Path


def hierarchies() -> Iterator[Hierarchy]:
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        own[names] = path
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        root, point = fields.split(" ")[3:5]
        if kind not in ("cgroup", "cgroup2"):
            continue
        for names, path in own.items():
            words = [word for word in names.split(",") if word]
            fits = all(w in options.split(",") for w in words) if words else kind == "cgroup2"
            if fits and bool(words) == (kind == "cgroup"):
                below = path.removeprefix(root if root != "/" else "").lstrip("/")
                yield Hierarchy(point, kind, names, Path(point, below))


def cgroup_name(pid: int) -> str:
    """Of the cgroups of the worker that was started as `pid`.

    In another PID namespace, another run may have that pid.
    """
    return f"nsenter-tests-{Path('/proc/self/ns/pid').stat().st_ino}-{pid}"


def _make_cgroup(hierarchy: Hierarchy, name: str) -> Hierarchy:
    """A new one, below that of this process."""
    outer, folder = hierarchy.folder, hierarchy.folder / name
    if hierarchy.kind == "cgroup2":
        _offer_controllers(outer)
    folder.mkdir(exist_ok=True)  # it may be that of a run that was killed
    if hierarchy.kind == "cgroup":  # where a new one has none of these
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (folder / file).exists():
                (folder / file).write_text((outer / file).read_text())
        with contextlib.suppress(OSError):  # there may be no more to give
            (folder / "cpu.rt_runtime_us").write_text(_REAL_TIME)
    return hierarchy._replace(folder=folder)


def _offer_controllers(folder: Path) -> None:
    """Let the cgroups below have the controllers of this one (version 2)."""
    for name in (folder / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{name}")


def _own_cgroups(name: str) -> list[Hierarchy]:
    """New cgroups; those alone that this process may make."""
    made = []
    for hierarchy in list(hierarchies()):
        with contextlib.suppress(OSError):
            made.append(_make_cgroup(hierarchy, name))
    return made


def _mount_cgroup(hierarchy: Hierarchy, *, in_leaf: bool) -> None:
    """The worker's own is the root of what it sees.

    Where version 2 has the controllers, the worker is in a leaf: a cgroup with processes gives none
    to those below. Where it has not, runtimes differ in what they take for its root.
    """
    point = hierarchy.point
    _checked(_libc.umount2(point.encode(), _DETACH), f"umount {point}")
    mount("cgroup", point, hierarchy.kind, _NOSUID_NODEV_NOEXEC, hierarchy.options)
    if in_leaf:
        Path(point, "worker").mkdir()
        Path(point, "worker", "cgroup.procs").write_text("0")
        _offer_controllers(Path(point))


def _remove(folder: Path) -> None:
    """A cgroup and those below, whose last processes may be ending just now."""
    end = time.monotonic() + _SECONDS
    while folder.exists():
        for inner, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(inner).rmdir()
        if time.monotonic() > end:
            print(f"tests: the cgroup {folder} cannot be removed", file=sys.stderr)
            return
        time.sleep(0.01)


# ---- a user namespace whose root the worker is


def _ranges(name: str) -> tuple[int, int] | None:
    """The first line of /etc/subuid or subgid for this user: first id and how many."""
    with contextlib.suppress(OSError, KeyError):
        user = pwd.getpwuid(os.getuid()).pw_name
        for line in Path("/etc", name).read_text().splitlines():
            words = line.split(":")
            if words[0] in (user, str(os.getuid())):
                return int(words[1]), int(words[2])
    return None


def _map_all(pid: int) -> None:
    """What root of a container may: the ids are those outside."""
    for name in ("uid_map", "gid_map"):
        rows = (line.split() for line in Path("/proc/self", name).read_text().splitlines())
        text = "".join(f"{inner} {inner} {size}\n" for inner, _, size in rows)
        Path(f"/proc/{pid}", name).write_text(text)


def _map_ranges(pid: int) -> None:
    """What an ordinary user may who has subordinate ids."""
    for tool, own, ids in (
        ("newuidmap", os.getuid(), _ranges("subuid")),
        ("newgidmap", os.getgid(), _ranges("subgid")),
    ):
        if ids is None:
            raise LookupError(f"{tool}: no range for this user")
        words = (tool, pid, 0, own, 1, 1, *ids)
        subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL)


def become_root() -> bool:
    """Enter a user namespace in which this process is root, among other ids that it has."""
    write_maps = _map_all if _has(_CAP_SETUID) else _map_ranges
    entered, mapped = os.pipe(), os.pipe()
    target = os.getpid()
    helper = os.fork()
    if helper == 0:  # it stays outside, where the rights to write the maps are
        os.close(entered[1])
        with contextlib.suppress(Exception):
            if os.read(entered[0], 1):
                write_maps(target)
                os.write(mapped[1], b"m")
        os._exit(0)
    os.close(entered[0])
    os.close(mapped[1])
    unshare(NEWUSER)
    os.write(entered[1], b"e")
    if not os.read(mapped[0], 1):
        raise OSError("the maps of the user namespace were not written")
    os.waitpid(helper, 0)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return True


def can(action: Callable[[], object]) -> bool:
    """Whether it returns something true, tried in a process that ends with it."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(Exception):
            os._exit(0 if action() else 1)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


# ---- the worker


def _private_view(made: Sequence[Hierarchy] = (), *, tmp: bool = True, proc: bool = True) -> bool:
    """New namespaces, with /proc, folders and cgroups of their own."""
    for hierarchy in made:
        (hierarchy.folder / "cgroup.procs").write_text("0")
    unshare(NEWNS | NEWCGROUP)
    mount("none", "/", "", _REC_PRIVATE)
    if proc:
        _libc.umount2(b"/proc", _DETACH)  # which a user namespace does not allow
        mount("proc", "/proc", "proc", _NOSUID_NODEV_NOEXEC)
    for folder, options in _FOLDERS.items():
        if Path(folder).is_dir() and (tmp or not folder.endswith("tmp")):
            mount("tmpfs", folder, "tmpfs", 0, options)
    for folder in ("/run/lock", "/run/netns"):
        Path(folder).mkdir(exist_ok=True)
    is_hybrid = any(hierarchy.kind == "cgroup" for hierarchy in made)
    for hierarchy in made:
        _mount_cgroup(hierarchy, in_leaf=hierarchy.kind == "cgroup2" and not is_hybrid)
    return True


def own_pids() -> bool:
    """Enter a new pid namespace; whether a process in it may have a /proc of its own."""
    unshare(NEWPID)
    return can(_private_view)


def _run(argv: Sequence[str]) -> int:
    """Its exit status, after all that it has left behind was reaped."""
    worker = os.fork()
    if worker == 0:
        os.setsid()  # the session outside has no number in the new pid namespace
        os.execv(argv[0], argv)
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _as_pid_1(number: int, argv: Sequence[str], made: Sequence[Hierarchy], tmp: bool) -> NoReturn:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _private_view(made, tmp=tmp)
    Path("/proc/sys/kernel/ns_last_pid").write_text(str((number + 1) * _PIDS_APART))
    os._exit(_run(argv))


def main(number: int, argv: Sequence[str]) -> int:
    becomes_root = not is_admin() and can(become_root)
    if becomes_root:
        become_root()
    if not is_admin():
        os.execv(argv[0], argv)
    if not can(own_pids):  # /proc is covered in part, as in a container
        unshare(NEWIPC)
        _private_view(proc=False)
        os.execv(argv[0], argv)
    made = _own_cgroups(cgroup_name(os.getpid()))
    unshare(NEWPID | NEWIPC)
    first = os.fork()
    if first == 0:
        # In a user namespace /tmp is somebody else's; else pytest's folders in it are unique.
        _as_pid_1(number, argv, made, becomes_root)
    status = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    for hierarchy in made:
        _remove(hierarchy.folder)
    return status & 0xFF


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
