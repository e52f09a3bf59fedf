# SPDX-License-Identifier: Apache-2.0
"""Makes a memory image of the interpreter; nsenter/_interpreter/image.py says what becomes of it.

An interpreter boots for it, with csrc/interpreter/dump.c preloaded and a clean environment: what
this process has in its own, or has open, is in no image.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import time

from nsenter._host.base_error import NsenterError
from nsenter._host.suppress import suppress
from nsenter._inside.boot import pack
from nsenter._interpreter import command, image, image_files, module_archive
from nsenter._interpreter.sealed_memory import sealed_memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import NoReturn

__all__ = [
    *("ImageError", "detached", "make", "make_alone", "remove", "remove_file", "run"),
    *("write", "write_hot_ranges"),
]

_DUMP = os.path.join(os.path.dirname(os.path.dirname(__file__)), "_dump.so")
_SECONDS = 30.0
_SUFFIX = ".image"
_MOST = 16  # images of one user: an installation has up to four for each time zone
_FRESH_SECONDS = 10.0  # younger than that, an image was made by another process just now


class ImageError(NsenterError, OSError):
    """An image could not be made; says why."""


def make(kind: str, environment: Mapping[bytes, bytes] | None = None) -> str:
    """Make an image, in place of the one that there is; returns its path.

    Args:
        kind: as in `nsenter._interpreter.image.find`.
        environment: of the processes that will be started from it; only TZ matters. None: this
            process's.

    Raises:
        ImageError: it cannot be made here; nothing is left of it.
    """
    environment = os.environb if environment is None else environment
    while True:
        try:
            return write(
                image.name_of(kind, environment),
                lambda out: _dump(kind, out, environment),
                lambda path, out: _try(kind, path, out),
            )
        except ImageError as error:
            if not _leave_out(kind, str(error)):
                raise


def _leave_out(kind: str, why: str) -> bool:
    """Leave the C extension out that could not be loaded; returns whether one is named."""
    for name, path in image.more_extensions(kind).items():
        if path in why:
            module_archive.leave_out(name, why)
            return True
    return False


def write(name: str, dump: Callable[[int], None], attempt: Callable[[str, int], None]) -> str:
    """Have a file of this name written, in place of the one that there is; returns its path.

    Args:
        dump: writes the image to a descriptor.
        attempt: tries what is at a path and has that descriptor.

    Raises:
        ImageError: it cannot be made here; nothing is left of it.
    """
    if reason := image.reason_against():
        raise ImageError(reason)
    directory = _make_directory()
    path = f"{directory}/{name}"
    temporary = f"{path}.{os.getpid()}"
    _remove_leftovers(directory, temporary)
    out = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        dump(out)
        attempt(temporary, out)
        os.rename(temporary, path)
        with suppress(FileNotFoundError):
            os.unlink(f"{path}.failed")
        _keep_the_newest(directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        os.close(out)
    return path


def _remove_leftovers(directory: str, temporary: str) -> None:
    """Remove the files of makers that were killed, also of an earlier process with this pid."""
    for entry in os.scandir(directory):
        name, _, pid = entry.name.rpartition(".")
        if not (name.endswith(_SUFFIX) and pid.isdecimal()):
            continue
        if entry.path == temporary or time.time() - _made_at(entry) > _SECONDS * 2:
            with suppress(OSError):
                os.unlink(entry.path)


def _keep_the_newest(directory: str) -> None:
    """Remove the oldest images if there are too many.

    No process uses the images of installations that were removed, but each takes some megabytes of
    memory until the machine boots.
    """
    for suffix in (_SUFFIX, f"{_SUFFIX}.failed"):
        found = [entry for entry in os.scandir(directory) if entry.name.endswith(suffix)]
        for entry in sorted(found, key=_made_at)[:-_MOST]:
            with suppress(OSError):
                os.unlink(entry.path)


def _made_at(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # another maker has removed it
        return 0.0


def remove(kind: str, environment: Mapping[bytes, bytes] | None = None) -> list[str]:
    """Remove the images of this kind that this interpreter would use; returns their paths."""
    return remove_file(image.name_of(kind, os.environb if environment is None else environment))


def remove_file(name: str) -> list[str]:
    """Remove the images of this name; returns their paths."""
    removed = []
    for directory in filter(image.is_private, image.directories()):
        with suppress(FileNotFoundError):
            os.unlink(f"{directory}/{name}.failed")
        with suppress(FileNotFoundError):
            os.unlink(f"{directory}/{name}")
            removed.append(f"{directory}/{name}")
    return removed


def _too_late(*_: object) -> NoReturn:
    raise ImageError("it was not made within two seconds")  # csrc/products/detach.c sets the alarm


def detached() -> None:
    """Make an image, unless another process makes it now. `make_later` of image.py starts this."""
    kind, zone, runtime = sys.argv[1:4]
    environment = {b"TZ": os.fsencode(zone)}
    make_alone(image.name_of(kind, environment), runtime, lambda: make(kind, environment))


def make_alone(name: str, runtime: str, make: Callable[[], object]) -> None:
    """Call `make` to make an image of this name, unless another process is making one.

    If `make` fails, the failure is recorded, so that not every later process tries it again.

    Args:
        name: the name of the image.
        runtime: XDG_RUNTIME_DIR of the process that wants the image.
        make: makes the image.
    """
    signal.signal(signal.SIGALRM, _too_late)
    if runtime:
        os.environ["XDG_RUNTIME_DIR"] = runtime
    try:
        directory = _make_directory()
    except ImageError:
        return
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    path = f"{directory}/{name}"
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.exists(path) and time.time() - os.stat(path).st_mtime < _FRESH_SECONDS:
            return
        make()
    except BlockingIOError:
        pass
    except (OSError, ValueError, ImportError) as error:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(f"{path}.failed", flags, 0o600), "w", encoding="utf-8") as file:
            file.write(str(error))
    finally:
        os.close(lock)


def _make_directory() -> str:
    for directory in image.directories():
        with suppress(OSError):
            os.mkdir(directory, 0o700)
        if image.is_private(directory) and os.access(directory, os.W_OK | os.X_OK):
            return directory
    tried = ", ".join(image.directories())
    raise ImageError(f"there is no directory that only this user has access to: tried {tried}")


# ---- what it depends on


def _sources(names: Iterable[str]) -> Iterator[str]:
    """Return the files from which the code of modules was read."""
    return filter(None, map(module_archive.origin_of, names))


def _zone_file(environment: Mapping[bytes, bytes]) -> str:
    """Return the file from which libc reads the time zone."""
    zone = os.fsdecode(command.time_zone(environment)).removeprefix(":")
    return os.path.join("/usr/share/zoneinfo", zone)


def _imported_extensions(kind: str) -> list[str]:
    builtin = sys.builtin_module_names
    names = image.contents(kind)[1]
    return [name for name in names if name not in builtin and module_archive.origin_of(name)]


def _archive(
    kind: str, environment: Mapping[bytes, bytes]
) -> tuple[module_archive.ModuleArchive, bytes]:
    """Return the modules, and the identities of their files from before they were read."""
    modules = frozenset(name for name in image.contents(kind)[0] if module_archive.travels(name))
    modules -= {*sys.builtin_module_names}
    extensions = tuple(dict.fromkeys((*_imported_extensions(kind), *image.more_extensions(kind))))
    first = module_archive._build(modules, extensions)
    paths = {*_sources(first.modules), _zone_file(environment)}
    identities = image_files.identities(path for path in paths if os.path.isfile(path))
    second = module_archive._build(modules, extensions)
    if second.modules != first.modules or second.extensions != first.extensions:
        raise ImageError("modules have changed while they were read")
    return second, identities


# ---- making it


def _dump(kind: str, out: int, environment: Mapping[bytes, bytes]) -> None:
    archive, identities = _archive(kind, environment)
    names = [*image.contents(kind)[0], *_imported_extensions(kind)]
    contents = pack({"modules": names, "extensions": archive.extensions})
    fds = [archive.fd]
    try:
        fds += [sealed_memfd("contents", contents, executable=False)]
        fds += [sealed_memfd("files", identities, executable=False)]
        os.lseek(fds[1], 0, os.SEEK_SET)
        boot = command.boot_environment(command.BootFds(0, 0, 0, 0), environment)
        kept = b"LC_ALL", b"PYTHONCOERCECLOCALE", b"TZ", b"PYTHONHOME"
        run(
            (*fds, out),
            "nsenter._inside.boot",
            command.boot_argv(),
            command.interpreter_path(),
            {name: boot[name] for name in kept},
        )
    finally:
        for fd in fds[1:]:
            os.close(fd)


def run(
    fds: tuple[int, ...],
    module: str,
    argv: Sequence[bytes],
    executable: str,
    environment: Mapping[bytes, bytes],
) -> None:
    """Run the interpreter that the image is made of.

    Args:
        fds: the module archive, the contents, the list of files, and where the image is written to.
        module: of the archive: prepares and resumes the image (see csrc/interpreter/cpython.h).
    """
    ours = {
        **environment,
        b"PATH": b"/usr/bin:/bin",
        b"LD_PRELOAD": os.fsencode(_DUMP),
        b"_NSENTER_DUMP": b",".join([*(b"%d" % fd for fd in fds), module.encode()]),
    }
    try:
        done = subprocess.run(
            argv,
            executable=executable,
            env=ours,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=fds,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"the interpreter has not made it within {_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").strip()
        raise ImageError(said or f"the interpreter has ended with {done.returncode}")


def _try(kind: str, path: str, out: int) -> None:
    """Start a process from the image once, and record in the image which pages it has written to.

    Later starts copy these pages at once, which is faster than one page fault after the other.
    """
    from nsenter.bootstrap import BootstrapData
    from nsenter.errors import BootstrapError
    from nsenter.launch import PythonInit, launch

    target, args, expected = image.trial(kind)
    init = PythonInit(target, args, image=path)  # a path has a slash
    try:
        with launch(BootstrapData(), init, env={}) as child:
            if kind in (image.PAYLOAD, image.MEMORY):
                _call_once(child.channel_fd)
            write_hot_ranges(out, child.pid)
            os.close(child.channel_fd)
            child.channel_fd = -1
            status = child.wait(_SECONDS)
    except BootstrapError as error:
        raise ImageError(str(error)) from None
    if status != expected:
        raise ImageError(f"an interpreter that was started from it has ended with {status}")


def _call_once(channel: int) -> None:
    """Send a call, and wait for its answer."""
    from nsenter._inside import call_from_bytes, worker
    from nsenter._remote import safe_data

    call = safe_data.encode(("builtins", "abs", (-1,), {}))
    os.write(channel, worker.frame(call_from_bytes.PLAIN, call))
    expected = worker.frame(worker.VALUE, safe_data.encode(1))
    said, deadline = b"", time.monotonic() + _SECONDS
    while len(said) < len(expected) and (left := deadline - time.monotonic()) > 0:
        if select.select([channel], (), (), left)[0]:
            part = os.read(channel, len(expected) - len(said))
            if not part:
                break
            said += part
    if said != expected:
        raise ImageError(f"an interpreter that was started from it has said {said!r}")


# struct image_header, image_region and image_range of csrc/interpreter/image.h.
_TABLES = struct.Struct("=12I")  # the offset and count of each
_TABLES_AT = 8 + 8 + 8 + 8 + 40 + 32 + 4 * 8 + 7 * 8
_REGION = struct.Struct("=QQQIHHII")
_LARGE = 2  # REGION_LARGE: all of it is read at once
_RANGE = struct.Struct("=QQ")
_HOT_ROOM = 512
_PAGE = 4096
_PRESENT, _OF_A_FILE = 1 << 63, 1 << 61  # bits of /proc/PID/pagemap


def write_hot_ranges(out: int, pid: int) -> None:
    """Record in an image which pages a process that was started from it has written to."""
    tables = _TABLES.unpack(os.pread(out, _TABLES.size, _TABLES_AT))
    regions = os.pread(out, tables[1] * _REGION.size, tables[0])
    fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ranges = [
            hot
            for start, end, _, _, _, prot, flags, _ in _REGION.iter_unpack(regions)
            if prot & mmap.PROT_WRITE and not flags & _LARGE
            for hot in _written(fd, start, end)
        ]
    finally:
        os.close(fd)
    ranges = sorted(sorted(ranges, key=lambda range: range[0] - range[1])[:_HOT_ROOM])
    os.pwrite(out, b"".join(_RANGE.pack(*hot) for hot in ranges), tables[8])
    os.pwrite(out, _TABLES.pack(*tables[:9], len(ranges), *tables[10:]), _TABLES_AT)


def _written(pagemap: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of pages that the process has copied, between two addresses."""
    entries = os.pread(pagemap, (end - start) // _PAGE * 8, start // _PAGE * 8)
    first = None
    for number, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
        own = entry & _PRESENT and not entry & _OF_A_FILE
        if own and first is None:
            first = number
        if not own and first is not None:
            yield start + first * _PAGE, start + number * _PAGE
            first = None
    if first is not None:
        yield start + first * _PAGE, end
