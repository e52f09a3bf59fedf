# SPDX-License-Identifier: Apache-2.0
"""Ready-made options for common cases.

Each preset is a function that returns a new `Options`. Its additional arguments are fields of
`Options`, and replace those that the preset sets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator

from nsenter import idmap, seccomp
from nsenter._host.procfs import has_admin, status_field
from nsenter._host.sizes import in_bytes
from nsenter._interpreter import installed
from nsenter.idmap import IDMap, IDMappings
from nsenter.mounts import Bind, Dev, File, Mount, Path, Proc, Tmpfs
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object  # at run time: importing typing takes 4 ms

__all__ = ["offline", "rootless_root", "sandbox"]

_NOBODY = 65534
# What a dynamically linked program requires to start; not every system has all of it.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/ld.so.cache", "/etc/alternatives"),
)
# What programs require in /usr and /usr/local. Other directories there may be somebody's project.
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
    system: bool = True,
    **fields: Any,
) -> Options:
    """Return options for untrusted code: the strictest ones that still run `python3 -c ...`.

    Every namespace is new: there is no network and no other process, and nothing is shared. The
    root is empty and read-only, except for the programs and libraries of the system and of this
    interpreter, which are read-only, a new /tmp, /proc and a minimal /dev. If the caller is root,
    the process is nobody, otherwise the caller's user. It has no capabilities and cannot get any,
    and can make only the system calls of `nsenter.seccomp.strict`. /etc/passwd and /etc/group list
    this user, root and nobody, with /tmp as their home. The process is the child of an init, and
    ends with the caller. Memory and processor time are not limited: see `limits` and `rlimits`.

    The process has what it is started with. It can read the environment, with every secret in it,
    unless `env` is given. If a stream is a file or a terminal, the process can open it again
    through /proc/self/fd with the rights of its user; it cannot do so with a pipe. It can connect
    to sockets below the paths in `read`.

    HOME and USER come from the environment: pass `env` with HOME=/tmp and USER=nobody to a program
    that writes to its home or asks who it is.

    Args:
        read: paths that the process also sees, read-only, at the same place.
        write: paths that the process may also change. If the caller is root, the process acts as
            the owner of the path (see as_owner of `Bind`), and what it makes there belongs to the
            owner; otherwise it may do what the caller's user may. The size is not limited.
        tmp_size: how many bytes /tmp can hold, and how many /dev together with /dev/shm: a number
            or a string such as "64M". None means 64 MiB each. Each can hold 16,384 files,
            directories and links.
        imports: what a Python in the sandbox can import from files. "installed" means the standard
            library and site-packages. "all" adds the other directories of sys.path, the working
            directory and the sources of editable installs. They are bound read-only with
            everything in them, which may include secrets. Without "all", modules from there are
            sent to a call in memory.
        system: show the programs and libraries of the system and of this Python. With False, give a
            `root` that has programs of its own.
        fields: fields of `Options`. `mounts` are mounted after those of the preset. `proc=False`
            leaves out /proc, if a surrounding container forbids to mount it;
            `mounts=[Bind("/proc")]` then shows the caller's.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """
    for name, paths in (("read", read), ("write", write)):
        if isinstance(paths, (str, bytes)) or not hasattr(paths, "__iter__"):
            raise TypeError(f"{name} must be a sequence of paths, not {paths!r}")
    if tmp_size is not None and in_bytes(tmp_size) is None:
        raise TypeError(f'tmp_size must be a number of bytes, also as "64M", not {tmp_size!r}')
    if imports not in ("installed", "all"):
        raise ValueError(f'imports must be "installed" or "all", not {imports!r}')
    if not isinstance(system, bool):
        raise TypeError(f"system must be True or False, not {system!r}")
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
            *map(Bind, _system() if system else ()),
            *proc,
            Dev(size=tmp_size),
            Tmpfs("/tmp", size=tmp_size, mode=0o1777),
            *(_interpreter(imports) if system else ()),
            *(_users(fields, given) if system else ()),
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
    """Return options for a process without a network, except for a loopback device.

    Everything else is the caller's. If the caller lacks CAP_SYS_ADMIN, the process is also in a new
    user namespace. It then has all capabilities in that namespace and over its network, and its
    user's rights outside.

    Args:
        fields: fields of `Options`.
    """
    settings: dict[str, Any] = (
        {"new": "net"} if has_admin() else {"new": "user,net", "maps": "current"}
    )
    return Options(**{**settings, **fields})


def rootless_root(**fields: Any) -> Options:
    """Return options that make an ordinary user root in new namespaces.

    Use them to install into a directory or to build an OCI image. If the user has ranges in
    /etc/subuid and /etc/subgid, and newuidmap(1) is installed, other users are mapped as well.

    Args:
        fields: fields of `Options`.
    """
    settings = {"new": "user,mnt,pid,ipc,uts,cgroup", "maps": _widest_maps()}
    return Options(**{**settings, **fields})


def _system() -> list[str]:
    return [path for path in _SYSTEM if os.path.exists(path)]


def _interpreter(imports: str = "installed") -> Iterator[Mount]:
    """Yield mounts of the running Python and its packages that the system's directories lack.

    Yield also mounts that hide the user's own directories if they are below the system's.
    """
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
    """Return whether a user's directory cannot be hidden.

    It cannot if it is, or contains, a directory of the system or of this Python.
    """
    path = os.path.realpath(path)
    whole = [f"{start}/{name}" for start in _HOLD_ANYTHING for name in _SYSTEM_FOLDERS]
    whole += installed.folders()
    held = [*whole, *_system(), *installed.needed_to_start(), os.path.dirname(sys.executable)]
    return any(_is_or_holds(folder, path) for folder in map(os.path.realpath, whole)) or any(
        _is_or_holds(path, folder) for folder in map(os.path.realpath, held)
    )


def _users(fields: dict[str, Any], given: Iterable[Bind]) -> Iterator[File]:
    """Yield the files for getpwuid(3) and getgrgid(3): root, nobody and the user of the process."""
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
    """Return the id of the process inside."""
    given = {**_identity(), **fields}.get(name)
    return ours() if given is None else given


def _hostname() -> dict[str, str]:
    """Return the hostname, unless a container's filter is likely to refuse sethostname(2).

    Such filters refuse it to processes that started without CAP_SYS_ADMIN, in any namespace.
    """
    is_filtered = status_field("Seccomp") == "2" and not has_admin()
    return {} if is_filtered else {"hostname": "sandbox"}


def _identity() -> dict[str, Any]:
    """Return the ids: root sets everything up, then becomes nobody, inside and outside."""
    if not _is_root_and_nobody():
        return {"maps": "current"}
    rows = (IDMap(0, 0, 1), IDMap(_NOBODY, _NOBODY, 1))
    return {"maps": IDMappings(rows, rows), "uid": _NOBODY, "gid": _NOBODY}


def _is_root_and_nobody() -> bool:
    return os.geteuid() == 0 and _has_nobody("uid_map") and _has_nobody("gid_map")


def _has_nobody(name: str) -> bool:
    """Return whether the caller's user namespace maps nobody: a container may map few ids."""
    with open(f"/proc/self/{name}", encoding="ascii") as file:
        ranges = [line.split() for line in file]
    return any(int(first) <= _NOBODY < int(first) + int(size) for first, _, size in ranges)


def _widest_maps() -> IDMappings:
    try:
        return idmap.map_auto()
    except LookupError:  # no subordinate ids
        return idmap.map_root()
