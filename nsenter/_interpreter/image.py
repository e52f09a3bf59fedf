# SPDX-License-Identifier: Apache-2.0
"""Memory images of the interpreter: where they are, when one may be used, who makes one.

An image is a CPython that has booted, as a file (csrc/interpreter/image.h). nsinit maps it back
instead of having the interpreter boot again: a tenth of the time. It checks itself that the image
is valid (csrc/interpreter/restore.c); here stands what only the launcher can know. Any doubt means
the ordinary boot.

`NSENTER_IMAGE=off` in the environment: no image is used or made. `NSENTER_IMAGE=use`: none is made.
"""

from __future__ import annotations

import _imp
import os
import stat
import sys
import time
from errno import EAGAIN, EEXIST, EMFILE, ENFILE, ENOMEM

from nsenter._host.suppress import suppress
from nsenter._interpreter.command import interpreter_path, time_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsenter._interpreter.module_archive import ModuleArchive
    from nsenter.launch import PythonInit

__all__ = [
    *("ABSENT", "EXTENSIONS", "MEMORY", "MODULES", "PAYLOAD", "contents", "directories"),
    *(
        "failure",
        "failure_of",
        "find",
        "has_all",
        "is_private",
        "lacks",
        "make_later",
        "more_extensions",
    ),
    *(
        "name_of",
        "note",
        "reason_against",
        "reason_against_making",
        "refuse",
        "start_maker",
        "trial",
        "usable",
    ),
]

VARIABLE = "NSENTER_IMAGE"
OFF, USE = "off", "use"
PAYLOAD = "payload"
# For a payload in whose root no file is opened: with every C extension of Python's own loaded, but
# not imported. Loading those takes longer than all else that such a start does.
MEMORY = "memory"

# What is imported in an image: what carries out calls, and what they import most. Nothing that
# keeps the time, the environment, a pid, a descriptor or random numbers from when it was imported.
MODULES = (
    *("nsenter._inside.boot", "nsenter._inside.worker"),
    *("abc", "codecs", "collections", "copyreg", "functools", "io", "keyword", "operator"),
    *("reprlib", "types", "_compat_pickle", "os", "stat", "re", "enum", "contextlib"),
)
# C extensions that are in an image where Python has them as files: those that most calls need, as
# each costs every start some mappings. All are known to be inert: they start no thread, keep no
# descriptor, and have no random numbers.
EXTENSIONS = (
    *("_pickle", "_struct", "_typing", "math", "unicodedata", "_bisect", "_heapq", "_json"),
    *("_datetime", "_random"),
)
# Every module outside of packages, and every package, that an image can come to hold.
CAN_HOLD = (
    *("nsenter", "__future__", "_compat_pickle", "_weakrefset", "collections", "contextlib"),
    *("copyreg", "encodings", "enum", "functools", "keyword", "operator", "re", "reprlib"),
    *("types", "typing", "warnings", "weakref"),
    *EXTENSIONS,
)


def contents(kind: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return the modules and the C extensions that are imported in an image of this kind.

    The kind is one of those above, or the name of a package. A package has the lists in its module
    `image_contents`.
    """
    if kind in (PAYLOAD, MEMORY):
        return MODULES, EXTENSIONS
    contained = __import__(f"{kind}.image_contents", fromlist=["MODULES"])
    return contained.MODULES, contained.EXTENSIONS


def trial(kind: str) -> tuple[str, Sequence[object], int]:
    """Return what to start from an image of this kind to see that the image works.

    Returns:
        A target, its arguments, and the status with which it ends when the channel is closed.
    """
    if kind in (PAYLOAD, MEMORY):
        return (
            "nsenter._inside.worker:main",
            ({"trusted": False, "most": 1 << 10, "files": None},),
            0,
        )
    contents = __import__(f"{kind}.image_contents", fromlist=["TRIAL"])
    tried: tuple[str, Sequence[object], int] = contents.TRIAL
    return tried


# In these the loader would have libraries in every process that nobody knows of, or malloc(3) work
# in another way than in the image.
_LOADERS = ("LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GLIBC_TUNABLES")
_NEWEST = (3, 15)


noted = ""


def note(reason: str) -> None:
    """Log a debug line, if the program has imported logging and shows such lines."""
    global noted
    noted = reason
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("nsenter").debug("no memory image: %s", reason)


# ---- whether


def reason_against() -> str:
    """Return why this process cannot use any image; "" if it can."""
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
        return (
            f"images have not been tested with Python {sys.version_info[0]}.{sys.version_info[1]}"
        )
    if "t" in sys.abiflags:
        return "images are not made of free-threaded builds"
    return ""


_REASON = _reason_against_python()


_seen: dict[tuple[object, ...], str] = {}


def _shadowed() -> str:
    """Return the name of a module of the image that is elsewhere in this process, or "".

    A file in a directory that is before the standard library on sys.path can shadow a module, and
    so can a finder on sys.meta_path.
    """
    key = *sys.path, *map(id, sys.meta_path)
    if key not in _seen:
        _seen.clear()
        _seen[key] = _look_for_shadows()
    return _seen[key]


def _look_for_shadows() -> str:
    from nsenter._interpreter.module_archive import origin_of

    own = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    library = os.path.dirname(os.path.realpath(os.__file__))
    for name in CAN_HOLD:
        origin = origin_of(name)
        place = own if name == "nsenter" else library
        if origin is not None and not os.path.realpath(origin).startswith(f"{place}/"):
            return f"{name!r} is another module here: {origin}"
    return ""


# ---- where


def directories() -> Iterator[str]:
    """Yield the directories in which an image may be, the best first.

    Only this user may have access to such a directory, and its files must not outlive the boot of
    the machine. Both are checked when an image is opened.
    """
    uid = os.geteuid()
    if uid == 0:
        yield "/run/nsenter-image"
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield f"{runtime}/nsenter-image"
    yield f"/dev/shm/nsenter-image-{uid}"
    yield f"/tmp/nsenter-image-{uid}"


def is_private(directory: str) -> bool:
    """Return whether a directory belongs to this user and no other user can access it."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    mode = status.st_mode
    return stat.S_ISDIR(mode) and status.st_uid == os.geteuid() and not mode & 0o077


def usable(kind: str) -> tuple[str, ...]:
    """Return the kinds of images that can be used instead of this one, the best first."""
    return (MEMORY, PAYLOAD) if kind == MEMORY else (kind,)


def more_extensions(kind: str) -> dict[str, str]:
    """Return the C extensions of an image of this kind besides EXTENSIONS: name to file."""
    if kind != MEMORY:
        return {}
    from nsenter._interpreter.module_archive import pythons_own

    return pythons_own()


_names: dict[tuple[object, ...], str] = {}


def name_of(kind: str, environment: Mapping[bytes, bytes]) -> str:
    """Return the name of the file of an image.

    Everything that the loader does not check is a part of the name.
    """
    zone = time_zone(environment)
    more = more_extensions(kind)
    key = kind, zone, *more
    if key not in _names:
        from nsenter import __version__

        named = (
            sys.modules[__name__]
            if kind in (PAYLOAD, MEMORY)
            else __import__(kind, fromlist=["image_contents"])
        )
        place = os.path.realpath(str(named.__file__))
        parts = (
            *(interpreter_path(), sys.version, __version__, place, os.fsdecode(zone)),
            str(os.path.exists("/etc/localtime")),
            *map(str, more.items()),
        )
        digest = _imp.source_hash(0, "\0".join(parts).encode("utf-8", "surrogateescape"))
        _names[key] = f"{kind}-{digest.hex()}.image"
    return _names[key]


# ---- which

ABSENT = "there is none"
_refused: dict[str, tuple[int, int]] = {}
# What the next start may not meet: no descriptor or memory left, or something that is by chance
# where the image has memory.
_PASSING = (EMFILE, ENFILE, ENOMEM, EAGAIN, EEXIST)


def find(kind: str, environment: Mapping[bytes, bytes]) -> tuple[str, str]:
    """Return the path of an image to try; or "" and the reason why there is none.

    Args:
        kind: PAYLOAD; MEMORY, for roots that may be hostile; the name of a package that has a list
            of its own image's contents, for code that is not hostile; or the path of an image.
        environment: the environment of the process.
    """
    if kind.startswith("/"):
        return kind, ""
    if reason := reason_against() or (kind in (PAYLOAD, MEMORY) and _shadowed()):
        return "", reason
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
            return "", f"{path} has been refused before"
        return path, ""
    return "", ABSENT


def refuse(path: str, number: int) -> bool:
    """Do not try this file again, if the error with this errno will come again; returns whether."""
    if number in _PASSING:
        return False
    with suppress(OSError):
        status = os.lstat(path)
        _refused[path] = status.st_ino, status.st_mtime_ns
    return True


def has_all(init: PythonInit) -> bool:
    """Return whether an image of its kind has all modules that an init requires."""
    if init.image in (PAYLOAD, MEMORY) or init.image.startswith("/") or init.extensions is None:
        return False
    modules, extensions = contents(init.image)
    wanted = {init.target.partition(":")[0], *init.modules}
    return wanted <= {*modules} and {*init.extensions} <= {*extensions}


def lacks(archive: ModuleArchive, kind: str) -> bool:
    """Return whether a module archive has C extensions that no image of this kind has."""
    contained = EXTENSIONS if kind.startswith("/") else contents(kind)[1]
    more = more_extensions(kind)
    return any(
        name not in contained and more.get(name) != path
        for name, path in archive.extensions.items()
    )


# ---- who makes one

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, the same on every machine
_RETRY_SECONDS = 600
_asked: set[str] = set()


def reason_against_making() -> str:
    """Return why no image is made automatically; "" if images are made."""
    if os.environ.get(VARIABLE) == USE:
        return f"{VARIABLE} is {USE}"
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    if namespace != _FIRST_PID_NAMESPACE:
        return "this process is in a container's pid namespace"
    return ""


def failure(kind: str, environment: Mapping[bytes, bytes]) -> str:
    """Return why an image could recently not be made; "" if that was not tried."""
    return failure_of(name_of(kind, environment))


def failure_of(name: str) -> str:
    """Return what `failure` returns, for the name of an image."""
    for directory in directories():
        path = f"{directory}/{name}.failed"
        if is_private(directory):
            with suppress(OSError), open(path, encoding="utf-8") as file:
                if time.time() - os.fstat(file.fileno()).st_mtime < _RETRY_SECONDS:
                    return file.read(1000)
    return ""


def make_later(kind: str, environment: Mapping[bytes, bytes]) -> None:
    """Start a process that makes an image for the next start.

    This process is not a child of the caller, inherits nothing from it, and ends within two
    seconds. It is started at most once for each image that is missing or cannot be used.
    """
    if kind.startswith("/") or reason_against():
        return
    name = name_of(kind, environment)
    if name in _asked:
        return
    _asked.add(name)
    if reason := reason_against_making() or failure(kind, environment):
        note(f"none is made: {reason}")
        return
    with suppress(OSError):
        _start_maker(kind, environment)


_CODE = (
    "import sys; sys.path += sys.argv[4:]; "
    "import nsenter._interpreter.image_maker as m; m.detached()"
)


def _folder_of(module: str) -> str:
    return os.path.dirname(os.path.abspath(str(sys.modules[module].__file__)))


def _start_maker(kind: str, environment: Mapping[bytes, bytes]) -> None:
    packages = {"nsenter"} if kind in (PAYLOAD, MEMORY) else {"nsenter", kind.partition(".")[0]}
    places = [os.path.dirname(_folder_of(name)) for name in sorted(packages)]
    places.append(_folder_of("_cffi_backend"))
    words: list[str | bytes] = [
        kind,
        time_zone(environment),
        os.environ.get("XDG_RUNTIME_DIR", ""),
        *places,
    ]
    start_maker(interpreter_path(), _CODE, words)


def start_maker(interpreter: str, code: str, words: Sequence[str | bytes]) -> None:
    """Run code in a process that is nobody's child, as csrc/products/detach.c has it.

    Args:
        interpreter: its path.
        words: for sys.argv.
    """
    from nsenter._launch.nsinit import nsinit_fd
    from nsenter._launch.spawn import Spawn

    argv = [interpreter, "-I", "-S", "-c", code, *words]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        spawn = Spawn(
            [os.fsencode(word) for word in argv],
            {b"_NSENTER_DETACH": b"1"},
            (null, null, null),
            (),
            nsinit_fd(),
        )
        _, pidfd = spawn.run()
    finally:
        os.close(null)
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    finally:
        os.close(pidfd)
