"""The interpreter starts from a memory image if it can, and boots otherwise, with the same result.

A process sees by its /proc/self/exe which of the two happened: from an image, that is nsinit.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
import random
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nsenter
import pythons
from nsenter import launch as nsenter_launch
from nsenter._interpreter import image, image_files, image_maker, module_archive
from nsenter.bootstrap import BootstrapData
from nsenter.launch import PythonInit, launch
from processes import all_pids, wait_until, words_of
from sweeps import some

SECONDS = 60.0  # for anything that takes milliseconds
pytestmark = pytest.mark.skipif(bool(image._REASON), reason=image._REASON)

# csrc/interpreter/image.h
BOOT_ID_AT = 8 + 8 + 8 + 8
VDSO_ID_AT = BOOT_ID_AT + 40
HWCAP_AT = VDSO_ID_AT + 32


def how() -> str:
    """In the namespaces."""
    return "image" if "nsinit" in str(Path("/proc/self/exe").readlink()) else "boot"


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(image.VARIABLE, raising=False)
    monkeypatch.setattr(image, "_refused", {})
    monkeypatch.setattr(image, "_asked", set())
    monkeypatch.setattr(image, "_start_maker", lambda *_: pytest.fail("an image is made"))
    monkeypatch.setattr(image, "_FIRST_PID_NAMESPACE", "that of nobody")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What is in an image."""
    return new_image(image.PAYLOAD, tmp_path_factory)


def new_image(kind: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("images")
    place.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(image.VARIABLE, raising=False)
        patch.setattr(image, "directories", lambda: iter([str(place)]))
        return Path(image_maker.make(kind)).read_bytes()


@pytest.fixture(scope="session")
def memory_made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The same for roots in which no file is opened."""
    return new_image(image.MEMORY, tmp_path_factory)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one directory where images may be."""
    place = tmp_path / "images"
    place.mkdir(mode=0o700)
    monkeypatch.setattr(image, "directories", lambda: iter([str(place)]))
    return place


def put(place: Path, kind: str, content: bytes) -> Path:
    """The image of this kind, for the environment that this process has."""
    file = place / image.name_of(kind, os.environb)
    file.touch(mode=0o600)
    file.write_bytes(content)
    return file


@pytest.fixture
def file(place: Path, made: bytes) -> Path:
    return put(place, image.PAYLOAD, made)


@pytest.fixture
def reasons(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG, "nsenter")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


# ---- what is started from an image


def test_a_call_is_started_from_an_image(file: Path) -> None:
    assert nsenter.call(how) == "image"


def test_without_an_image_the_interpreter_boots(place: Path, reasons: Callable[[], str]) -> None:
    assert nsenter.call(how) == "boot"
    assert "there is none" in reasons()


def test_a_python_init_is_started_from_an_image(file: Path, tmp_path: Path) -> None:
    init = PythonInit("image_targets:report", (str(tmp_path / "said"),))
    with launch(BootstrapData(), init) as child:
        assert child.wait(SECONDS) == 7
    assert (tmp_path / "said").read_text() == "image"


def of_its_own() -> dict[str, Any]:
    import threading
    import uuid

    ids: list[int] = []
    thread = threading.Thread(target=lambda: ids.append(threading.get_native_id()))
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        os._exit(os.getpid() == threading.get_native_id())
    return {
        "random": random.random(),
        "uuid": str(uuid.uuid4()),
        "urandom": os.urandom(8),
        "main thread": threading.get_native_id() == os.getpid(),
        "other thread": ids != [os.getpid()],
        "child": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]),
        "environment": dict(os.environ),
        "argv": sys.argv[1:],
        "descriptors": [path.name for path in Path("/proc/self/fd").iterdir()],
        "cmdline": Path("/proc/self/cmdline").read_bytes().strip(b"\0"),
        "environ": Path("/proc/self/environ").read_bytes().strip(b"\0"),
        "canary": canary(),
    }


def canary() -> int:
    """Of the stack protector, at fs:0x28; pthread_self is the thread's control block."""
    block = threading.get_ident()
    with Path("/proc/self/mem").open("rb") as memory:
        memory.seek(block + 0x28)
        return int.from_bytes(memory.read(8), sys.byteorder)


def test_each_process_has_what_is_its_own(file: Path) -> None:
    caller = nsenter.Caller(env={"HERE": "1"}, modules=["random", "uuid"])
    first, second = caller.call(of_its_own), caller.call(of_its_own)
    for name in ("random", "uuid", "urandom", "canary"):
        assert first[name] != second[name], name
    assert first["canary"] & 0xFF == 0
    assert first["main thread"] and first["other thread"] and first["child"] == 1
    assert first["environment"] == {"HERE": "1"}
    assert first["cmdline"] == b"nsenter-init"
    assert first["environ"] == b""
    assert sorted(first["descriptors"], key=int)[:3] == ["0", "1", "2"]


def the_same_either_way() -> dict[str, Any]:
    import locale
    import signal
    import time

    def stream(file: Any) -> Any:
        return (
            *(file.fileno(), file.name, file.mode, file.encoding, file.errors),
            *(file.line_buffering, file.newlines, file.closed),
        )

    return {
        "flags": tuple(sys.flags),
        "path": sys.path,
        "executable": sys.executable,
        "stdin": stream(sys.stdin),
        "stdout": stream(sys.stdout),
        "stderr": stream(sys.__stderr__),
        "signals": [str(signal.getsignal(number)) for number in range(1, 32)],
        "blocked": [*signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "locale": locale.setlocale(locale.LC_ALL),
        "zone": (time.tzname, time.localtime(0).tm_hour),
        "encodings": (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "depth": depth(0),
        "ids": (os.getuid(), os.getgid(), os.getpid(), os.getppid(), os.getsid(0)),
        "cwd": str(Path.cwd()),
    }


def depth(n: int) -> int:
    try:
        return depth(n + 1)
    except RecursionError:
        return n


def test_a_call_sees_the_same_either_way(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = nsenter.Caller(modules=["signal", "locale"])
    from_image = caller.call(the_same_either_way)
    monkeypatch.setenv(image.VARIABLE, image.OFF)
    booted = caller.call(the_same_either_way)
    assert abs(from_image.pop("depth") - booted.pop("depth")) < 20
    assert from_image == booted


@pytest.mark.parametrize(
    "zone",
    some(["Europe/Berlin", "Asia/Tokyo", "UTC0", "CET-1CEST", ""], "Asia/Tokyo", "UTC0"),
)
def test_each_time_zone_has_an_image_of_its_own(zone: str, place: Path) -> None:
    def hour() -> int:
        return time.localtime(0).tm_hour

    environment = {"TZ": zone}
    image_maker.make(image.PAYLOAD, {b"TZ": zone.encode()})
    assert nsenter.call(how) == "boot"
    caller = nsenter.Caller(env=environment)
    assert caller.call(how) == "image"
    expected = {"Europe/Berlin": 1, "Asia/Tokyo": 9, "CET-1CEST": 1}.get(zone, 0)
    if "/" in zone and not Path(f"/usr/share/zoneinfo/{zone}").exists():
        expected = 0
    assert caller.call(hour) == expected


def with_libraries() -> tuple[str, str, int]:
    import ctypes
    import hashlib

    libc = ctypes.CDLL(None)
    return how(), hashlib.sha256(b"x").hexdigest()[:8], libc.getpid() - os.getpid()


def test_extensions_that_are_in_no_image_are_loaded(file: Path) -> None:
    names = ["_hashlib", "_ctypes"]
    assert image.lacks(module_archive.archive_for(["hashlib", "ctypes"], names), image.PAYLOAD)
    caller = nsenter.Caller(modules=["hashlib", "ctypes"], extensions=names, files=False)
    assert caller.call(with_libraries) == ("image", "2d711642", 0)


# ---- the one for roots without files


@pytest.fixture
def memory_file(place: Path, memory_made: bytes) -> Path:
    """The only image there is."""
    return put(place, image.MEMORY, memory_made)


FROM_MEMORY = nsenter.Caller(files=False)


def import_all(names: list[str]) -> tuple[str, list[str]]:
    """By code that nobody could have looked into before."""
    bad = []
    for name in names:
        try:
            exec(f"import {name}")
        except ImportError as error:
            bad.append(str(error))
    return how(), bad


def test_an_image_has_all_of_pythons_own_extensions_loaded(memory_file: Path) -> None:
    own = module_archive.pythons_own()
    assert not image.lacks(module_archive.archive_for(own, None), image.MEMORY)
    assert FROM_MEMORY.call(import_all, sorted(own)) == ("image", [])


def test_an_extension_from_another_file_is_loaded(memory_file: Path, tmp_path: Path) -> None:
    """The interpreter would open the file in the foreign root else."""
    path = Path(module_archive.pythons_own()["_decimal"])
    shutil.copy(path, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        found = module_archive._build(frozenset(["_decimal"]), None)
    assert found.extensions["_decimal"] == str(tmp_path / path.name)
    assert image.lacks(found, image.MEMORY)


def test_the_image_for_files_does_for_a_root_without(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    monkeypatch.setattr(image, "make_later", lambda kind, _: asked.append(kind))
    assert FROM_MEMORY.call(import_all, ["_ctypes", "_decimal"]) == ("image", [])
    assert asked == [image.MEMORY]


def test_what_cannot_be_loaded_is_in_no_image(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "_broken.so"
    broken.write_text("no library")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {**module_archive.pythons_own(), "_broken": str(broken)}
    monkeypatch.setattr(module_archive, "_pythons_own", lambda: own)
    monkeypatch.setattr(module_archive, "_unloadable", {})
    before = image.name_of(image.MEMORY, os.environb)
    made = Path(image_maker.make(image.MEMORY))
    assert names(place) == [made.name]
    assert made.name == image.name_of(image.MEMORY, os.environb) != before
    assert "_broken.so" in module_archive._unloadable["_broken"]
    assert FROM_MEMORY.call(how) == "image"


def raises(kind: str) -> None:
    raise {"value": ValueError("x"), "exit": SystemExit(3)}[kind]


def test_exceptions_come_back_from_an_image(file: Path) -> None:
    with pytest.raises(ValueError, match="x"):
        nsenter.call(raises, "value")
    with pytest.raises(nsenter.RemoteError, match="SystemExit"):
        nsenter.call(raises, "exit")


STATUSES = {"status": 5, "none": 0, "exit": 1, "error": 1, "interrupt": -signal.SIGINT}


@pytest.mark.parametrize("way", ["image", "off"])
@pytest.mark.parametrize("kind", STATUSES)
def test_an_init_ends_the_same_either_way(
    kind: str, way: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "off":
        monkeypatch.setenv(image.VARIABLE, image.OFF)
    written = tmp_path / "written"
    init = PythonInit(
        "image_targets:endings", (kind, str(written)), modules=["threading"], extensions=None
    )
    with (
        (tmp_path / "out").open("w+") as out,
        (tmp_path / "err").open("w+") as err,
        launch(BootstrapData(), init, stdout=out.fileno(), stderr=err.fileno()) as child,
    ):
        assert child.wait(SECONDS) == STATUSES[kind]
        out.seek(0), err.seek(0)
        assert sorted(out.read().split()) == ["atexit", "freed", "newline", "no", "thread"]
        said = err.read()
    assert ("a message" in said) == (kind == "exit")
    assert ("ValueError: unhandled" in said) == (kind == "error")
    assert ("KeyboardInterrupt" in said) == (kind == "interrupt")
    assert written.read_text() == "flushed"


@pytest.mark.parametrize("way", ["image", "off"])
def test_the_main_thread_may_end_before_the_others(
    way: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "off":
        monkeypatch.setenv(image.VARIABLE, image.OFF)
    init = PythonInit(
        "image_targets:endings",
        ("thread", str(tmp_path / "written")),
        modules=["threading", "ctypes"],
        extensions=None,
    )
    with (
        (tmp_path / "out").open("w+") as out,
        launch(BootstrapData(), init, stdout=out.fileno()) as child,
    ):
        assert child.wait(SECONDS) == 0


IN_EACH_PYTHON = """
import hashlib, os, sys, threading
from nsenter import Caller
from nsenter._interpreter import module_archive, image, image_maker
image.directories = lambda: iter([sys.argv[1]])
for kind in (image.PAYLOAD, image.MEMORY):
    image_maker.make(kind)
os.environ[image.VARIABLE] = image.USE

def plain():
    return "nsinit" in os.readlink("/proc/self/exe"), sys.version_info[:3]

def more():
    ended = []
    thread = threading.Thread(target=lambda: ended.append(True))
    thread.start()
    thread.join()
    return *plain(), ended, hashlib.sha256(b"x").hexdigest()[:8]

def import_all(names):
    import warnings
    warnings.simplefilter("ignore")  # some are deprecated
    for name in names:
        exec(f"import {name}")
    return plain()

version = sys.version_info[:3]
memory = Caller(files=False, imports=True)
assert memory.call(import_all, sorted(module_archive.pythons_own())) == (True, version)
for _ in range(5):
    assert Caller().call(plain) == (True, version)
    answer = Caller(modules=["hashlib", "threading"]).call(more)
    assert answer == (True, version, [True], "2d711642"), answer
print("as it should be")
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[pythons.Stage]:
    with pythons.staged() as stage:
        yield stage


@pytest.mark.parametrize(
    "python", [python for python in pythons.installed() if python.version[:2] <= image._NEWEST],
    ids=str,
)  # fmt: skip
def test_each_python_can_be_dumped_and_restored(
    python: pythons.Python, stage: pythons.Stage, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    environment = stage.environment(python)
    environment.pop(image.VARIABLE, None)
    done = subprocess.run(
        [python.binary, "-c", IN_EACH_PYTHON, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    assert (done.stdout, done.stderr) == ("as it should be\n", "")


# ---- what is in an image


def test_nothing_of_the_makers_environment_is_in_an_image(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = os.urandom(16).hex()
    monkeypatch.setenv("TOKEN", secret)
    content = Path(image_maker.make(image.PAYLOAD)).read_bytes()
    assert secret.encode() not in content


def test_the_newest_images_are_kept_and_the_leftovers_of_makers_are_removed(
    place: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("of somebody else")
    (place / "linked-0000000000000000.image").symlink_to(target)
    for number in range(image_maker._MOST + 4):
        for suffix in (".image", ".image.failed"):
            other = place / f"payload-{number:016x}{suffix}"
            other.touch()
            os.utime(other, (number, number))
    killed = place / "payload-000000000000000a.image.99"
    killed.touch()
    os.utime(killed, (1, 1))
    at_work = place / "payload-000000000000000b.image.99"
    at_work.touch()
    made = image_maker.make(image.PAYLOAD)
    images = {path.name for path in place.glob("*.image")}
    assert len(images) == len({*place.glob("*.failed")}) == image_maker._MOST
    assert Path(made).name in images and f"payload-{image_maker._MOST + 3:016x}.image" in images
    assert "payload-0000000000000000.image" not in images
    assert at_work.exists() and not killed.exists()
    assert target.read_text() == "of somebody else"


def test_what_the_maker_ignores_is_not_ignored_in_an_image(place: Path) -> None:
    def caught() -> tuple[str, bool]:
        import signal

        default = signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        return str(signal.getsignal(signal.SIGINT)), default

    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGUSR1):
            stack.callback(signal.signal, number, signal.signal(number, signal.SIG_IGN))
        image_maker.make(image.PAYLOAD)
    sigint, sigusr1 = nsenter.Caller(modules=["signal"]).call(caught)
    assert "default_int_handler" in sigint
    assert sigusr1


@pytest.mark.parametrize("size", [1 << 20, resource.RLIM_INFINITY])
def test_threads_have_stacks_as_this_process_has_its_limit(size: int, file: Path) -> None:
    def mapped() -> int:
        """The size of the mapping that a new thread's stack is in."""
        import re
        import threading

        sizes = []

        def look() -> None:
            top = threading.get_ident()
            with open("/proc/self/maps") as maps:  # noqa: PTH123
                for line in maps:
                    start, end = (int(word, 16) for word in re.split("[- ]", line)[:2])
                    if start <= top < end:
                        sizes.append(end - start)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return sizes[0]

    before = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (size, before[1]))
    try:
        found = nsenter.Caller(modules=["threading", "re"]).call(mapped)
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, before)
    expected = 2 << 20 if size == resource.RLIM_INFINITY else size
    assert expected <= found < expected + (1 << 18)


def held() -> list[str]:
    """The modules that are there before anything is imported, but those of the interpreter."""
    import _imp

    own = {*sys.builtin_module_names, "__main__"}
    names = (name for name in sys.modules if name not in own and not _imp.is_frozen(name))
    return sorted({name.partition(".")[0] for name in names})


def test_the_modules_in_an_image_are_known(file: Path) -> None:
    unknown = {
        name
        for name in nsenter.Caller(imports=False).call(held)
        if module_archive.origin_of(name) and name not in image.CAN_HOLD
    }
    assert unknown <= {__name__.partition(".")[0], "genericpath", "posixpath"}


def of_a_moment() -> list[str]:
    """The globals of modules that look like a time, or are an open file."""
    import io

    now = time.time()
    found = []
    for name, module in list(sys.modules.items()):
        for key, value in vars(module).items():
            is_time = isinstance(value, (int, float)) and any(
                abs(value - now * scale) < 10 * 86400 * scale for scale in (1, 10**3, 10**9)
            )
            if is_time or (isinstance(value, io.IOBase) and not key.strip("_").startswith("std")):
                found.append(f"{name}.{key}")
    return found


def test_no_global_of_a_module_is_of_the_makers_moment(file: Path) -> None:
    assert nsenter.call(of_a_moment) == []


def test_a_file_of_another_name_shadows_a_module_of_the_image(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reasons: Callable[[], str]
) -> None:
    (tmp_path / "keyword.py").write_text("kwlist = softkwlist = []\niskeyword = print\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert nsenter.call(how) == "boot"
    assert "'keyword' is another module here" in reasons()


# ---- when it is not used

Break = Callable[[Path], Any]


def patched(at: int, with_: bytes) -> Break:
    def change(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(at)
            opened.write(with_)

    return change


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def linked(file: Path) -> None:
    file.rename(file.with_suffix(".real"))
    file.symlink_to(file.with_suffix(".real"))


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir(mode=0o700)


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def linked_place(file: Path) -> None:
    place = file.parent
    place.rename(place.with_suffix(".real"))
    place.symlink_to(place.with_suffix(".real"))


def tables(file: Path) -> tuple[int, ...]:
    return image_maker._TABLES.unpack_from(file.read_bytes(), image_maker._TABLES_AT)


def another_file(is_mapped: int) -> Break:
    """As if one of the files that the image was made of had changed since."""

    def change(file: Path) -> None:
        content = bytearray(file.read_bytes())
        at, count = tables(file)[2:4]
        record = image_files._FILE
        for number in range(count):
            fields = list(record.unpack_from(content, at + number * record.size))
            if fields[-1] == is_mapped:
                fields[6] ^= 1  # a nanosecond of its mtime
                record.pack_into(content, at + number * record.size, *fields)
                break
        file.write_bytes(content)

    return change


def a_collision(file: Path) -> None:
    """Some constants of a library are to be where nsinit is."""
    content = bytearray(file.read_bytes())
    (at, count), record = tables(file)[:2], image_maker._REGION
    size = count * record.size
    regions = [list(region) for region in record.iter_unpack(content[at : at + size])]
    constants = next(region for region in regions if region[4:6] == [1, 1])  # REGION_FILE, r--
    constants[:2] = 0x70000000, 0x70000000 + constants[1] - constants[0]
    content[at : at + size] = b"".join(record.pack(*region) for region in sorted(regions))
    file.write_bytes(content)


DOUBTS: dict[str, tuple[Break, str]] = {
    "another boot": (patched(BOOT_ID_AT, b"00000000"), "another boot"),
    "another kernel": (patched(VDSO_ID_AT, b"\0\0\0\0"), "another kernel or processor"),
    "another processor": (patched(HWCAP_AT, b"\0\0\0\0"), "another kernel or processor"),
    "another format": (patched(8, b"\0\0\0\0\0\0\0\0"), "another version"),
    "no image": (patched(0, b"no image"), "no image"),
    "cut short": (truncated, "its size is another"),
    "empty": (lambda file: os.truncate(file, 0), "no image"),
    "a library has changed": (another_file(1), "has changed since"),
    "a source has changed": (another_file(0), "has changed since"),
    "a collision": (a_collision, "File exists"),
    "group may read it": (lambda file: file.chmod(0o640), "others have access"),
    "group may write to it": (lambda file: file.chmod(0o620), "others have access"),
    "others may execute it": (lambda file: file.chmod(0o601), "others have access"),
    "a symbolic link": (linked, "Too many levels of symbolic links"),
    "a directory": (a_directory, "no regular file"),
    "a fifo": (a_fifo, "no regular file"),
    "group may list the place": (lambda file: file.parent.chmod(0o750), "there is none"),
    "the place is a symbolic link": (linked_place, "there is none"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_in_doubt_the_interpreter_boots(doubt: str, file: Path, reasons: Callable[[], str]) -> None:
    change, reason = DOUBTS[doubt]
    assert nsenter.call(how) == "image"
    change(file)
    assert nsenter.call(how) == "boot"
    assert reason in reasons()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may give a file away")
@pytest.mark.parametrize("which", ["file", "place"])
def test_what_belongs_to_somebody_else_is_not_used(
    which: str, file: Path, reasons: Callable[[], str]
) -> None:
    os.chown(file if which == "file" else file.parent, 12345, 12345)
    assert nsenter.call(how) == "boot"
    assert ("belongs to somebody else" if which == "file" else "there is none") in reasons()


@pytest.mark.parametrize(
    ("doubt", "reason"),
    [
        ("group may list the place", "others have access"),
        ("the place is a symbolic link", "Not a directory"),
    ],
)
def test_the_loader_looks_at_the_place_too(
    doubt: str,
    reason: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    reasons: Callable[[], str],
) -> None:
    monkeypatch.setattr(image, "is_private", lambda _: True)
    DOUBTS[doubt][0](file)
    assert nsenter.call(how) == "boot"
    assert reason in reasons()


def test_a_refused_image_is_tried_once(file: Path, reasons: Callable[[], str]) -> None:
    patched(BOOT_ID_AT, b"00000000")(file)
    assert [nsenter.call(how) for _ in range(2)] == ["boot", "boot"]
    assert "has been refused before" in reasons()


def test_an_image_that_something_was_in_the_way_of_is_tried_again(
    file: Path, reasons: Callable[[], str]
) -> None:
    a_collision(file)
    assert nsenter.call(how) == "boot"
    assert "File exists" in reasons()
    assert image.find(image.PAYLOAD, os.environb) == (str(file), "")


@pytest.mark.parametrize(
    "variable",
    ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX"],
)
def test_variables_of_the_loader_are_in_the_way(
    variable: str, file: Path, monkeypatch: pytest.MonkeyPatch, reasons: Callable[[], str]
) -> None:
    monkeypatch.setenv(variable, "")
    assert nsenter.call(how) == "boot"
    assert f"{variable} is set" in reasons()


def test_images_can_be_turned_off(
    file: Path, monkeypatch: pytest.MonkeyPatch, reasons: Callable[[], str]
) -> None:
    monkeypatch.setenv(image.VARIABLE, image.OFF)
    assert nsenter.call(how) == "boot"
    assert "NSENTER_IMAGE is off" in reasons()
    with pytest.raises(image_maker.ImageError, match="NSENTER_IMAGE is off"):
        image_maker.make(image.PAYLOAD)


# ---- where it is


def test_the_places_are_this_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    shared = ["/dev/shm/nsenter-image-1234", "/tmp/nsenter-image-1234"]
    assert [*image.directories()] == shared
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1234")
    assert [*image.directories()] == ["/run/user/1234/nsenter-image", *shared]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert next(image.directories()) == "/run/nsenter-image"


def test_the_first_place_that_can_be_had_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, missing, good = (tmp_path / name for name in ("others", "missing", "good"))
    others.mkdir(mode=0o755)
    candidates = [str(others), str(missing / "below"), str(good)]
    monkeypatch.setattr(image, "directories", lambda: iter(candidates))
    made = Path(image_maker.make(image.PAYLOAD))
    assert made.parent == good
    assert stat.S_IMODE(good.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert names(good) == [made.name]
    assert nsenter.call(how) == "image"


def test_without_a_place_no_image_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "directories", lambda: iter([f"{tmp_path}/missing/below"]))
    with pytest.raises(image_maker.ImageError, match="no directory that only this user"):
        image_maker.make(image.PAYLOAD)
    assert nsenter.call(how) == "boot"


# ---- who makes it


RUN = """
import os, sys, time
import nsenter
from nsenter._interpreter import image
image._FIRST_PID_NAMESPACE = os.readlink("/proc/self/ns/pid")
print(nsenter.call(abs, -1), image.name_of(image.PAYLOAD, os.environb))
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
"""


def first_start(place: Path, **environment: str) -> list[str]:
    """The output of a process that starts something, and that reads to the end of its pipe."""
    env = {**os.environ, "XDG_RUNTIME_DIR": str(place), **environment}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=env, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


@pytest.fixture
def own_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That of this user, without images."""
    place = Path("/run/nsenter-image")
    if os.geteuid() != 0:
        pytest.skip("the places of an ordinary user are shared with what else it runs")
    shutil.rmtree(place, ignore_errors=True)
    yield place
    wait_until(lambda: not [*makers()])
    shutil.rmtree(place, ignore_errors=True)


def makers() -> Iterator[int]:
    for pid in all_pids():
        if any("nsenter._interpreter.image_maker" in word for word in words_of(pid)):
            yield pid


def test_the_first_start_has_an_image_made_by_nobodys_child(
    own_place: Path, tmp_path: Path
) -> None:
    left: set[str] = set()
    for _ in range(20):  # on a machine that is too slow just now, its two seconds are over before
        said = first_start(tmp_path)
        name = said[0].split()[1]
        assert said[1] == "no child"
        wait_until(lambda: not [*makers()])
        left = {*names(own_place)} if own_place.exists() else set()
        if left == {name}:
            break
        assert left <= {f"{name}.failed"}
        shutil.rmtree(own_place, ignore_errors=True)
    assert left == {name}


@pytest.mark.parametrize("value", [image.OFF, image.USE])
def test_no_image_is_made_where_that_is_not_wanted(
    value: str, own_place: Path, tmp_path: Path
) -> None:
    first_start(tmp_path, NSENTER_IMAGE=value)
    assert not [*makers()]
    assert not own_place.exists()


def test_no_image_is_made_in_a_containers_pid_namespace(
    place: Path, reasons: Callable[[], str]
) -> None:
    assert nsenter.call(how) == "boot"
    assert "in a container's pid namespace" in reasons()


def test_a_maker_that_fails_leaves_word_of_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "reason_against_making", lambda: "")
    monkeypatch.setattr(sys, "argv", ["-c", image.PAYLOAD, ":/etc/localtime", ""])
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    image_maker.detached()
    assert "LD_PRELOAD is set" in image.failure(image.PAYLOAD, {})
    monkeypatch.delenv("LD_PRELOAD")
    started: list[object] = []
    monkeypatch.setattr(image, "_start_maker", lambda *what: started.append(what))
    image.make_later(image.PAYLOAD, {})
    assert started == []
    image_maker.make(image.PAYLOAD, {})
    assert image.failure(image.PAYLOAD, {}) == ""


def test_a_maker_that_is_too_late_leaves_nothing_but_word_of_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["-c", image.PAYLOAD, ":/etc/localtime", ""])
    monkeypatch.setattr(image_maker, "_try", lambda *_: signal.raise_signal(signal.SIGALRM))
    before = signal.getsignal(signal.SIGALRM)
    try:
        image_maker.detached()
    finally:
        signal.signal(signal.SIGALRM, before)
    (left,) = names(place)
    assert left.endswith(".failed")
    assert "two seconds" in image.failure(image.PAYLOAD, {})


def test_what_killed_makers_have_left_is_removed(file: Path) -> None:
    old, young = (Path(f"{file}.{number}") for number in (4_999_999, 5_999_999))
    for left in (old, young):
        left.touch()
    os.utime(old, (0, 0))
    image_maker.make(image.PAYLOAD)
    assert {*names(file.parent)} == {file.name, young.name}


def test_one_maker_at_a_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(sys, "argv", ["-c", image.PAYLOAD, ":/etc/localtime", ""])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    lock = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        image_maker.detached()
        assert names(place) == []
    finally:
        os.close(lock)
    image_maker.detached()
    assert len(names(place)) == 1


def test_what_cannot_be_dumped_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MODULES", (*image.MODULES, "nsenter.calling"))
    with pytest.raises(image_maker.ImageError, match="cannot be imported"):
        image_maker.make(image.PAYLOAD)
    assert names(place) == []


@pytest.mark.parametrize("number", [100, 2000])
def test_no_image_is_made_of_a_process_with_a_descriptor_open(
    place: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """With any: it is also found above the usual limit of 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    run = subprocess.run

    def run_with_descriptor(
        argv: list[bytes], pass_fds: tuple[int, ...], **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        return run(argv, pass_fds=(*pass_fds, number), **options)

    monkeypatch.setattr(subprocess, "run", run_with_descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number + 1), hard))
    try:
        os.dup2(0, number, inheritable=False)
        with pytest.raises(image_maker.ImageError, match=f"a descriptor open: {number}$"):
            image_maker.make(image.PAYLOAD)
    finally:
        os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert names(place) == []


def test_the_runtime_never_uses_the_payloads_image(file: Path) -> None:
    path, reason = image.find("libcontainer.init", os.environb)
    assert (path, reason) == ("", "there is none")


@pytest.mark.parametrize("name", ["_NSENTER_DETACH", "_NSENTER_IMAGE", "_NSENTER_LOADS"])
def test_a_variable_of_nsinit_in_a_programs_environment_does_nothing(name: str) -> None:
    options = nsenter.Options(new=("user", "pid", "mnt"))
    env = {"PATH": os.environ["PATH"], name: "1"}
    done = nsenter.run(["sh", "-c", "echo $$; env"], options=options, env=env, capture_output=True)
    pid, *variables = done.stdout.decode().split("\n")
    assert int(pid) < 10
    assert not [variable for variable in variables if variable.startswith("_NSENTER")]


def test_a_stage_never_detaches() -> None:
    """nsinit alone, as a parent other than ours may start it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        env = {"_NSENTER_DETACH": "1", "_LIBCONTAINER_INITPIPE": str(theirs.fileno())}
        process = subprocess.Popen(
            ["/bin/echo", "detached"],
            executable=nsenter_launch.nsinit_path(),
            env=env,
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        assert ours.recv(1) == b"\0"  # it waits for the message
        ours.close()
        said, _ = process.communicate(timeout=SECONDS)
    assert said == b""
    assert process.returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="the places of root are looked for")
def test_a_sandbox_does_not_show_the_images() -> None:
    def shown(places: list[str]) -> list[str]:
        return [place for place in places if os.access(place, os.F_OK)]

    places = [*image.directories()]
    for place in places:
        Path(place).mkdir(mode=0o700, exist_ok=True)
    assert nsenter.call(shown, places, options=nsenter.presets.sandbox()) == []
    for place in places:
        with contextlib.suppress(OSError):
            Path(place).rmdir()


# ---- the command, and the doctor


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nsenter", "image", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_the_command_makes_and_removes_it(own_place: Path) -> None:
    made = command()
    assert made.returncode == 0, made.stderr
    assert {Path(line).parent for line in made.stdout.splitlines()} == {own_place}
    assert len(made.stdout.splitlines()) == 2
    assert command("--remove").stdout == made.stdout
    assert command("--remove").stdout == "there was none\n"


def test_the_command_says_why_it_cannot() -> None:
    done = command(NSENTER_IMAGE="off")
    assert done.returncode == 1
    assert "NSENTER_IMAGE is off" in done.stderr


def test_the_doctor_says_whether_it_works(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nsenter import doctor

    (found,) = doctor._image({})
    assert (found.state, str(file) in found.seen) == (doctor.OK, True)
    patched(BOOT_ID_AT, b"00000000")(file)
    (found,) = doctor._image({})
    assert (found.state, "another boot" in found.seen) == (doctor.LIMITED, True)
    file.unlink()
    (found,) = doctor._image({})
    assert found.seen == "there is none (this process is in a container's pid namespace)"
    monkeypatch.setenv(image.VARIABLE, image.OFF)
    (found,) = doctor._image({})
    assert "NSENTER_IMAGE is off" in found.seen


# ---- many times


def many(count: int, at_once: int, caller: nsenter.Caller | None = None) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            assert (caller or nsenter.Caller()).call(how) == "image"
        except BaseException as error:
            failures.append(error)

    for _ in range(count):
        threads = [threading.Thread(target=start) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_it_is_restored_many_times(file: Path) -> None:
    many(40, 1)
    many(3, 16)


@pytest.mark.sweep
def test_the_one_with_all_extensions_is_restored_many_times(memory_file: Path) -> None:
    many(40, 1, FROM_MEMORY)
    many(3, 16, FROM_MEMORY)


@pytest.mark.sweep
def test_it_is_restored_a_thousand_times(file: Path) -> None:
    many(1000, 1)
    many(50, 16)


@pytest.mark.sweep
def test_the_one_with_all_extensions_is_restored_a_thousand_times(memory_file: Path) -> None:
    many(1000, 1, FROM_MEMORY)
    many(50, 16, FROM_MEMORY)


def test_the_tables_are_as_the_maker_reads_them(made: bytes) -> None:
    counts = image_maker._TABLES.unpack_from(made, image_maker._TABLES_AT)
    assert made[:8] == b"nsximg1\0"
    assert struct.unpack_from("=Q", made, 16) == (len(made),)
    assert 20 < counts[1] < 1000 and 20 < counts[3] < 1000 and 0 < counts[9] <= 512


# ---- large pages

LARGE_PAGE = 2 << 20


def large_ranges(content: bytes) -> list[tuple[int, int]]:
    at, count = image_maker._TABLES.unpack_from(content, image_maker._TABLES_AT)[10:]
    return [struct.unpack_from("=QQ", content, at + number * 16) for number in range(count)]


def test_what_the_interpreter_has_allocated_is_in_ranges_of_large_pages(made: bytes) -> None:
    ranges = large_ranges(made)
    at, count = image_maker._TABLES.unpack_from(made, image_maker._TABLES_AT)[:2]
    regions = [
        image_maker._REGION.unpack_from(made, at + number * image_maker._REGION.size)
        for number in range(count)
    ]
    assert len(ranges) == 2
    assert all(start % LARGE_PAGE == end % LARGE_PAGE == 0 for start, end in ranges)
    saved = {True: 0, False: 0}
    for start, end, _, _, kind, protection, flags, _ in regions:
        inside = any(first <= start and end <= last for first, last in ranges)
        assert inside is bool(flags & image_maker._LARGE)
        if kind == 2 and protection & mmap.PROT_WRITE:  # REGION_SAVED
            saved[inside] += end - start
    assert saved[True] > saved[False]


def allocate_and_free() -> tuple[int, int]:
    """Take hundreds of arenas and give them back: how much memory is used meanwhile, and then."""
    parts = [bytes([number % 256]) * 400 for number in range(400_000)]
    assert all(part == bytes([number % 256]) * 400 for number, part in enumerate(parts))
    meanwhile = resident()
    parts.clear()
    return meanwhile, resident()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_objects_are_allocated_and_freed_as_without_an_image(file: Path) -> None:
    meanwhile, then = nsenter.call(allocate_and_free)
    assert meanwhile - then > 100 << 20


PR_SET_THP_DISABLE = 41  # children inherit it, and a program that they execute


@pytest.fixture
def small_pages_alone() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
    yield
    assert libc.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0


def test_it_works_where_the_kernel_has_no_large_page_to_give(
    small_pages_alone: None, file: Path
) -> None:
    assert nsenter.call(how) == "image"


def a_large_range_that_ends_within_a_page(content: bytearray) -> None:
    at = image_maker._TABLES.unpack_from(content, image_maker._TABLES_AT)[10]
    struct.pack_into("=Q", content, at + 8, large_ranges(content)[0][1] + 4096)


def a_large_range_that_is_missing(content: bytearray) -> None:
    where = image_maker._TABLES_AT + 11 * 4
    struct.pack_into("=I", content, where, struct.unpack_from("=I", content, where)[0] - 1)


def a_region_that_is_said_to_be_large(content: bytearray) -> None:
    at = image_maker._TABLES.unpack_from(content, image_maker._TABLES_AT)[0]
    fields = list(image_maker._REGION.unpack_from(content, at))
    fields[6] |= image_maker._LARGE
    image_maker._REGION.pack_into(content, at, *fields)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (a_large_range_that_ends_within_a_page, "a large range is not of large pages"),
        (a_large_range_that_is_missing, "not where the large ranges have it"),
        (a_region_that_is_said_to_be_large, "not where the large ranges have it"),
    ],
)
def test_a_damaged_table_of_large_ranges_is_refused(
    damage: Callable[[bytearray], None], reason: str, file: Path, reasons: Callable[[], str]
) -> None:
    content = bytearray(file.read_bytes())
    damage(content)
    file.write_bytes(content)
    assert nsenter.call(how) == "boot"
    assert reason in reasons()


# ---- recursion


def nested() -> str:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    try:
        return repr(value)
    except RecursionError:
        return "RecursionError"
    finally:
        while value:
            value = value[0]


def test_an_endless_recursion_is_an_error_in_an_image(file: Path) -> None:
    """Since 3.14, CPython compares addresses with the bounds of the stack of its own process."""
    for _ in range(5):
        assert nsenter.call(nested) == "RecursionError"
