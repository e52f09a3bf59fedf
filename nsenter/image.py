# SPDX-License-Identifier: Apache-2.0
"""Memory images of the interpreter: where they are, when one may be used, who makes one.

An image is a CPython that has booted, as a file (csrc/image.h). nsinit maps it back instead of
having the interpreter boot again: a tenth of the time. It checks itself that the image is valid
(csrc/restore.c); here stands what only the launcher can know. Any doubt means the ordinary boot.

`NSENTER_IMAGE=off` in the environment: no image is used or made. `NSENTER_IMAGE=use`: none is made.
"""

from __future__ import annotations

import _imp
import os
import stat
import sys

from nsenter.interpreter import interpreter_path, time_zone
from nsenter.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsenter.bundle import Bundle

__all__ = ["EXTENSIONS", "MODULES", "Unusable", "directories", "find", "note", "reason_against"]

VARIABLE = "NSENTER_IMAGE"
OFF, USE = "off", "use"

# What is imported in an image: what carries out calls, and what they import most. Nothing that
# keeps the time, the environment, a pid, a descriptor or random numbers from when it was imported.
MODULES = (
    *("nsenter.boot", "nsenter.worker"),
    *("abc", "codecs", "collections", "copyreg", "functools", "io", "keyword", "operator"),
    *("reprlib", "types", "_compat_pickle", "os", "stat", "re", "enum", "contextlib"),
)
# C extensions that are in an image where Python has them as files. All are known to be inert: they
# start no thread, keep no descriptor, and have no random numbers.
EXTENSIONS = (
    *("_pickle", "_struct", "_typing", "math", "unicodedata", "_bisect", "_heapq", "_json"),
    *("_datetime", "_random", "_contextvars", "_opcode", "_statistics", "binascii", "select"),
)
_HELD_EXTENSIONS = frozenset(EXTENSIONS)

# In these the loader would have libraries in every process that nobody knows of, or malloc(3) work
# in another way than in the image.
_LOADERS = ("LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GLIBC_TUNABLES")
_NEWEST = (3, 13)  # of which restoring has been tested


class Unusable(Exception):
    """No image can be used; says why."""


def note(reason: str) -> None:
    """A line for whoever has debug messages shown, who has imported logging for it."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("nsenter").debug("no memory image: %s", reason)


# ---- whether


def reason_against() -> str:
    """Why no image can be used by this process; "" if one can."""
    if os.environ.get(VARIABLE) == OFF:
        return f"{VARIABLE} is {OFF}"
    for name in os.environ:
        if name in _LOADERS or name.startswith("MALLOC_"):
            return f"{name} is set"
    return _REASON


def _reason_against_python() -> str:
    if sys.implementation.name != "cpython" or os.uname().machine != "x86_64":
        return "images are made of CPython on x86_64"
    if sys.version_info[:2] > _NEWEST:
        return f"images have not been tested with Python {sys.version_info[0]}.{sys.version_info[1]}"
    if "t" in sys.abiflags:
        return "images are not made of free-threaded builds"
    return ""


_REASON = _reason_against_python()


# ---- where


def directories() -> Iterator[str]:
    """Where an image may be, the best first: only this user may have access to it, and it must not
    outlive the boot (which is checked besides)."""
    uid = os.geteuid()
    if uid == 0:
        yield "/run/nsenter-image"
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield f"{runtime}/nsenter-image"
    yield f"/dev/shm/nsenter-image-{uid}"
    yield f"/tmp/nsenter-image-{uid}"


def is_private(directory: str) -> bool:
    """Whether it is this user's, and open to nobody else."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    mode = status.st_mode
    return stat.S_ISDIR(mode) and status.st_uid == os.geteuid() and not mode & 0o077


_names: dict[tuple[str, bytes], str] = {}


def name_of(kind: str, environment: Mapping[bytes, bytes]) -> str:
    """The file's name: one for each thing that the loader does not check."""
    zone = time_zone(environment)
    key = kind, zone
    if key not in _names:
        from nsenter import __version__

        parts = (
            *(interpreter_path(), sys.version, __version__, __file__, os.fsdecode(zone)),
            str(os.path.exists("/etc/localtime")),
        )
        digest = _imp.source_hash(0, "\0".join(parts).encode("utf-8", "surrogateescape"))
        _names[key] = f"{kind}-{digest.hex()}.image"
    return _names[key]


# ---- which

_refused: dict[str, tuple[int, int]] = {}


def find(kind: str, environment: Mapping[bytes, bytes], bundle: Bundle) -> str:
    """The path of an image to try.

    Args:
        kind: "payload", for what may be hostile; "runtime", for what is not; or the path of one.
        environment: of the process.
        bundle: the modules that it is to have besides.

    Raises:
        Unusable: there is none, or it must not be used; says why.
    """
    if reason := reason_against():
        raise Unusable(reason)
    if kind.startswith("/"):
        return kind
    name = name_of(kind, environment)
    for directory in directories():
        path = f"{directory}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if not is_private(directory):
            continue
        if _refused.get(path) == (status.st_ino, status.st_mtime_ns):
            raise Unusable(f"{path} has been refused before")
        return path
    raise Unusable("there is none")


def refuse(path: str) -> None:
    """Do not try this file again."""
    with suppress(OSError):
        status = os.lstat(path)
        _refused[path] = status.st_ino, status.st_mtime_ns


def lacks(bundle: Bundle) -> bool:
    """Whether the bundle has C extensions that no image holds."""
    return not bundle.extensions.keys() <= _HELD_EXTENSIONS
