# SPDX-License-Identifier: Apache-2.0
"""Options for what people reach for. Each is a function that gives a new `Options`; its further
arguments are fields of it, in place of those that are set here.
"""

from __future__ import annotations

import os
import sys

from nsenter import idmap, installed, seccomp
from nsenter.hints import has_admin, status_field
from nsenter.idmap import IDMap, IDMappings
from nsenter.mounts import Bind, Dev, File, Proc, Tmpfs
from nsenter.options import Options
from nsenter.sizes import in_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from nsenter.mounts import Mount, Path

__all__ = ["offline", "rootless_root", "sandbox"]

_NOBODY = 65534
# What a dynamically linked program needs to start, where a system has it.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/ld.so.cache", "/etc/alternatives"),
)
# In /usr and /usr/local: what programs need. Elsewhere below them may be a project.
_SYSTEM_FOLDERS = (
    *("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "share", "include", "games"),
    "etc",
)
_HOLD_ANYTHING = ("/usr", "/usr/local")


def sandbox(
    *,
    read: Iterable[Path] = (),
    write: Iterable[Path] = (),
    tmp_size: int | str | None = None,
    imports: str = "installed",
    **fields: Any,
) -> Options:
    """For code that is not trusted: the strictest that still runs `python3 -c …`.

    Every namespace is new, so there is no network, no other process, nothing shared. The root is
    empty and read-only, but for the system's programs and libraries and this interpreter's,
    read-only as well, a /tmp of its own, /proc and a minimal /dev. The process is nobody where the
    caller is root, else the caller's user; it has no capabilities and gets none, and its system
    calls are those of `nsenter.seccomp.strict`. /etc/passwd and /etc/group know it, root and
    nobody; their home is /tmp. It is the child of a PID 1, and ends with the
    caller. What it may use of memory and processors is not limited: see `cgroup` and `rlimits`. Its
    streams and its environment are those that it is started with; by default, the caller's.

    What it is given, it has: the environment, with what is secret in it, unless there is an `env`;
    and its streams. One that is a file or a terminal it can open anew by /proc/self/fd, in whatever
    way its user may; a pipe is a pipe. Sockets at `read` can be connected to.

    HOME and USER are the caller's if they are in its environment: pass `env` with HOME=/tmp and
    USER=nobody to a program that writes to its home or asks who it is.

    Args:
        read: paths that it sees as well, read-only, at the same places.
        write: paths that it may also change, as far as their owner may: where the caller is root,
            the process stands in for the owner (`Bind`'s as_owner), and what it makes there belongs
            to the owner; else as far as its user may.
        tmp_size: bytes, also as "64M", that its /tmp can hold, and its /dev with /dev/shm; None:
            64 MiB each. Each can hold 16,384 files, folders and links. What it may change at
            `write` is not bounded.
        imports: what a Python in it can import from files: "installed": the standard library and
            what is in site-packages; "all": also what is in the other folders of sys.path, in the
            working directory and in the sources of editable installs. These are bound read-only,
            with all that is in them, and so may show a secret; else modules from there come to a
            call in memory.
        fields: of `Options`; `mounts` come after those that are made here. `proc=False` leaves out
            /proc, which a container around us may not let anybody mount: `mounts=[Bind("/proc")]`
            shows the caller's then.
    """
    for name, paths in (("read", read), ("write", write)):
        if isinstance(paths, (str, bytes)):
            raise TypeError(f"{name}={paths!r}: expected a sequence of paths")
    if tmp_size is not None and in_bytes(tmp_size) is None:
        raise TypeError(f'tmp_size must be a number of bytes, also as "64M", not {tmp_size!r}')
    if imports not in ("installed", "all"):
        raise ValueError(f'imports must be "installed" or "all", not {imports!r}')
    as_owner = _is_root_and_nobody()
    written = (Bind(path, writable=True, as_owner=as_owner) for path in write)
    given = (*map(Bind, read), *written)
    proc = () if fields.get("proc") is False else (Proc(),)
    more = tuple(fields.pop("mounts", ()))
    settings = {
        "new": "all",
        "root": "tmpfs",
        "read_only": True,
        "mounts": (
            *map(Bind, _system()),
            *proc,
            Dev(size=tmp_size),
            Tmpfs("/tmp", size=tmp_size, mode=0o1777),
            *_interpreter(imports),
            *_users(fields, given),
            *given,
            *more,
        ),
        "cwd": "/",
        **_hostname(),
        "capabilities": (),
        "no_new_privs": True,
        "seccomp": seccomp.strict(),
        "init": True,
        "die_with_parent": True,
        **_identity(),
    }
    return Options(**{**settings, **fields})


def offline(**fields: Any) -> Options:
    """As the caller, in all but the network: there is nothing but a loopback device.

    It takes a new user namespace if the caller has no CAP_SYS_ADMIN; the process then has all
    capabilities in it and in its network, and its user's rights outside.
    """
    settings: dict[str, Any] = (
        {"new": "net"} if has_admin() else {"new": "user,net", "maps": "current"}
    )
    return Options(**{**settings, **fields})


def rootless_root(**fields: Any) -> Options:
    """Root, in namespaces of its own, of a user who is not: to install into a folder, to build an
    image. With ranges in /etc/subuid and /etc/subgid, and newuidmap(1), there are other users too.
    """
    settings = {"new": "user,mnt,pid,ipc,uts,cgroup", "maps": _widest_maps()}
    return Options(**{**settings, **fields})


def _system() -> list[str]:
    return [path for path in _SYSTEM if os.path.exists(path)]


def _interpreter(imports: str = "installed") -> Iterator[Mount]:
    """The running Python and what is installed for it, where those are not the system's; and what
    hides the user's own folders among the system's."""
    bound = _system()
    for path in installed.needed_to_start():
        if not any(_is_or_holds(folder, path) for folder in bound):
            bound.append(path)
            yield Bind(path)
    for path in installed.user_folders():
        is_bound = any(_is_or_holds(folder, path) for folder in bound)
        if imports == "all" and not is_bound and path != "/":
            bound.append(path)
            yield Bind(path)
        elif imports != "all" and is_bound and not _is_the_systems(path):
            yield Tmpfs(path, size=4096, inodes=2)


def _is_the_systems(path: str) -> bool:
    """Whether a user's folder is one of the system's or of this Python's, or holds one, so that it
    cannot be hidden."""
    path = os.path.realpath(path)
    whole = [f"{start}/{name}" for start in _HOLD_ANYTHING for name in _SYSTEM_FOLDERS]
    whole += installed.folders()
    held = [*whole, *_system(), *installed.needed_to_start(), os.path.dirname(sys.executable)]
    return any(_is_or_holds(folder, path) for folder in map(os.path.realpath, whole)) or any(
        _is_or_holds(path, folder) for folder in map(os.path.realpath, held)
    )


def _users(fields: dict[str, Any], given: Iterable[Bind]) -> Iterator[File]:
    """What getpwuid(3) and the like find: root, nobody, and who the process is, at home in /tmp."""
    if fields.get("root", "tmpfs") != "tmpfs":
        return
    uid, gid = (_own_id(fields, *which) for which in (("uid", os.geteuid), ("gid", os.getegid)))
    user = f"user:x:{uid}:{gid}::/tmp:/bin/sh\n" if uid not in (0, _NOBODY) else ""
    group = f"user:x:{gid}:\n" if gid not in (0, _NOBODY) else ""
    root, nobody = "root:x:0:0::/tmp:/bin/sh\n", "nobody:x:65534:65534::/tmp:/bin/sh\n"
    taken = [os.fspath(bind.target or bind.source) for bind in given]
    for path, text in (
        ("/etc/passwd", f"{root}{user}{nobody}"),
        ("/etc/group", f"root:x:0:\n{group}nogroup:x:65534:\n"),
    ):
        if not any(_is_or_holds(place, path) for place in taken):
            yield File(path, text)


def _is_or_holds(place: str | bytes, path: str) -> bool:
    name = os.fsdecode(place).rstrip("/")
    return path == name or path.startswith(f"{name}/")


def _own_id(fields: dict[str, Any], name: str, ours: Callable[[], int]) -> int:
    """The id of the process, inside."""
    given = {**_identity(), **fields}.get(name)
    return ours() if given is None else given


def _hostname() -> dict[str, str]:
    """A container's filter of system calls commonly refuses sethostname(2), in whatever namespace,
    to those who started without CAP_SYS_ADMIN. There the hostname stays the container's."""
    is_filtered = status_field("Seccomp") == "2" and not has_admin()
    return {} if is_filtered else {"hostname": "sandbox"}


def _identity() -> dict[str, Any]:
    """Root sets everything up, and then is nobody: outside as well, where there is one."""
    if not _is_root_and_nobody():
        return {"maps": "current"}
    rows = (IDMap(0, 0, 1), IDMap(_NOBODY, _NOBODY, 1))
    return {"maps": IDMappings(rows, rows), "uid": _NOBODY, "gid": _NOBODY}


def _is_root_and_nobody() -> bool:
    return os.geteuid() == 0 and _has_nobody("uid_map") and _has_nobody("gid_map")


def _has_nobody(name: str) -> bool:
    """Whether the caller's user namespace has that id: a container may have few."""
    with open(f"/proc/self/{name}", encoding="ascii") as file:
        ranges = [line.split() for line in file]
    return any(int(first) <= _NOBODY < int(first) + int(size) for first, _, size in ranges)


def _widest_maps() -> IDMappings:
    try:
        return idmap.map_auto()
    except LookupError:  # no subordinate ids
        return idmap.map_root()
