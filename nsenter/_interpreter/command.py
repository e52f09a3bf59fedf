# SPDX-License-Identifier: Apache-2.0
"""How an interpreter is started so that it boots from a module archive and opens no file.

What each setting closes off was found by tracing a boot: see "From memory" in
docs/how-it-works.md.
"""

from __future__ import annotations

import os
import sys

from nsenter._host import syscalls
from nsenter._host.records import Value
from nsenter._inside.boot import FDS_VARIABLE, pack
from nsenter._interpreter.sealed_memory import CachedDescriptor, sealed_memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsenter._interpreter.module_archive import ModuleArchive
    from nsenter._launch.descriptors import Descriptors

__all__ = [
    "ONE_THREAD",
    "BootFds",
    "boot_argv",
    "boot_environment",
    "encode_init_config",
    "interpreter_path",
    "open_interpreter",
    "time_zone",
]

_SHIM = os.path.join(os.path.dirname(os.path.dirname(__file__)), "_shim.so")


def interpreter_path() -> str:
    """Return the real file of this interpreter, not a link of a virtual environment or a wrapper.

    Raises:
        RuntimeError: this process does not know its interpreter, because Python is embedded.
    """
    executable = getattr(sys, "_base_executable", "") or sys.executable
    if not executable:
        raise RuntimeError("sys.executable is not set: there is no interpreter to start as init")
    return os.path.realpath(executable)


def _sealed_interpreter() -> int:
    path = interpreter_path()
    with open(path, "rb") as file:
        return sealed_memfd("python", file.read(), executable=True)


_sealed = CachedDescriptor(_sealed_interpreter)


def open_interpreter(owner: Descriptors) -> bytes | int:
    """Return a path of the interpreter that a payload cannot use to overwrite the host's file.

    A payload can reach the file by /proc/PID/exe of its init (CVE-2019-5736). So the path leads to
    a read-only mount of the interpreter that no other process has. A caller that may not mount gets
    the interpreter's own path if it could not write to that file anyway, and otherwise a sealed
    copy.

    Args:
        owner: closes the descriptor of the mount.
    """
    path = interpreter_path()
    try:
        fd = owner.add(syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE))
        syscalls.mount_setattr(fd, set=syscalls.MOUNT_ATTR_RDONLY, subject=path)
    except syscalls.Failure:
        return _sealed.get() if _could_change(path) else os.fsencode(path)
    return fd


def _could_change(path: str) -> bool:
    """Return whether this user could change a file; its owner could, whatever its present mode."""
    return os.access(path, os.W_OK) or os.stat(path).st_uid == os.geteuid()


def _hiding_place() -> str:
    """Return the path of a directory that does not exist and that nobody can guess.

    The interpreter looks beside argv[0] and in PYTHONHOME for files that would change what it does.
    A file at a path that the new root's owner can guess could take over the interpreter.
    """
    return f"/{os.urandom(16).hex()}"


def boot_argv() -> list[bytes]:
    """Return the argv of the interpreter.

    The interpreter does not use the name after -m: see nsenter/_inside/boot.py.
    """
    return [
        *(f"{_hiding_place()}/python".encode(), b"-S", b"-s", b"-P", b"-B"),
        *(b"-X", b"utf8=1", b"-X", b"frozen_modules=on", b"-m", b"nsenter._inside.boot"),
    ]


# Extension modules that start threads when they are loaded, unless they are told not to: those
# would not come along through clone. (numpy's OpenBLAS; BLIS; what is built with OpenMP.)
ONE_THREAD = dict.fromkeys(
    (b"OPENBLAS_NUM_THREADS", b"BLIS_NUM_THREADS", b"MKL_NUM_THREADS", b"OMP_NUM_THREADS"), b"1"
)


class BootFds(Value):
    """Descriptors that the boot needs, in the child.

    Args:
        channel, status: ends of the init pipe and the status pipe.
        archive: the modules.
        shim: the shim's file.
    """

    channel: int
    status: int
    archive: int
    shim: int


def boot_environment(fds: BootFds, environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the whole environment of the interpreter while it boots.

    Args:
        fds: the descriptors that it uses.
        environment: the environment of the init.
    """
    shim = os.fsencode(_SHIM)
    if any(c in b" :$" for c in shim):  # what separates entries of LD_PRELOAD, and its variables
        shim = b"/proc/self/fd/%d" % fds.shim
    # An interpreter whose libpython is found that way must be found that way again.
    libraries = os.environb.get(b"LD_LIBRARY_PATH")
    return {
        **({b"LD_LIBRARY_PATH": libraries} if libraries else {}),
        b"LD_PRELOAD": shim,
        b"_NSENTER_ARCHIVE": b"%d" % fds.archive,
        FDS_VARIABLE: b"%d,%d" % (fds.channel, fds.status),
        b"PYTHONHOME": _hiding_place().encode(),
        **ONE_THREAD,
        # No locale archive.
        b"LC_ALL": b"C",
        b"PYTHONCOERCECLOCALE": b"0",
        b"TZ": time_zone(environment),
    }


def time_zone(environment: Mapping[bytes, bytes]) -> bytes:
    """Return the value of TZ while the interpreter boots.

    libc reads the file of the zone before the root changes, and keeps the zone as long as TZ stays
    the same.
    """
    return environment.get(b"TZ", b":/etc/localtime")


def encode_init_config(
    target: str,
    argv: Sequence[str],
    args: Sequence[object],
    environment: Mapping[bytes, bytes],
    archive: ModuleArchive | None,
) -> bytes:
    """Return the init config that nsenter/_inside/boot.py reads from the init pipe.

    Args:
        target: "package.module:function" or "package.module".
        argv: sys.argv of the init.
        args: the arguments of the function.
        environment: the environment of the init.
        archive: the modules that are sent; None means that there are none.

    Raises:
        ValueError: an argument is not plain data, which is what marshal accepts.
    """
    return pack(
        {
            "target": target,
            "argv": list(argv),
            "args": tuple(args),
            "environment": dict(environment),
            "extensions": archive.extensions if archive else {},
        }
    )


def open_shim() -> int:
    """Return a descriptor of the shim, close-on-exec."""
    return os.open(_SHIM, os.O_RDONLY | os.O_CLOEXEC)
