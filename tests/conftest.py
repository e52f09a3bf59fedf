"""What every test is held to: it leaves no process, no descriptor and no mount behind."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from links import KEPT
from mounted import mounted
from nsenter._host import syscalls
from nsenter._nsexec import lib
from places import plugin
from pyrunc import PYRUNC

# The C library's has the signals 32 and 33 ignored in who is spawned, and so in who is from there.
vars(subprocess)["_USE_POSIX_SPAWN"] = False

# A busy machine is no fault: neither a slow test is one, nor examples that are slow to make.
_PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("all", **_PATIENT)
settings.register_profile("quick", max_examples=40, **_PATIENT)

_SIGNALS = range(1, 65)
_SIGACTION_BYTES, _SIGSET_BYTES = 32, 8
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("quick" if config.option.markexpr == "not sweep" else "all")
    plugin.configure(config)
    gc.disable()  # while thousands of tests are made, none of which is garbage


def pytest_collection_finish() -> None:
    """From here on the collector leaves alone what has been made, which stays until the end."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Collect what a failed test has left before its failure is explained, and nothing meanwhile.

    The explanation parses sources. A finalizer that the garbage collector calls then may format a
    traceback, which parses a source too: an asyncio task whose exception nobody has retrieved does.
    Before Python 3.11.8 and 3.12.2 the parser does not survive that: "AST constructor recursion
    depth mismatch" (CPython's issue 106905).
    """
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        if was_enabled:
            gc.enable()


@pytest.fixture(autouse=True, scope="session")
def other_users_can_read_what_tests_make() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True, scope="session")
def interpreters_boot_or_are_from_an_image() -> None:
    """The same in all tests but those of test_image.py.

    NSENTER_TEST_IMAGES=off has all of them boot, as `make test-boot` wants it, and "on" requires
    images. Without it, they are from images if images can be made here, as for users.
    """
    from nsenter._interpreter import image, image_maker

    wanted = os.environ.get("NSENTER_TEST_IMAGES")
    os.environ.pop(image.VARIABLE, None)
    try:
        if wanted != "off":
            for kind in (image.PAYLOAD, image.MEMORY):
                image_maker.make(kind)
            subprocess.run([*PYRUNC, "image"], stdout=subprocess.DEVNULL, check=True)
    except (image_maker.ImageError, subprocess.CalledProcessError):
        if wanted == "on":
            raise
        wanted = "off"
    os.environ[image.VARIABLE] = "off" if wanted == "off" else image.USE


@pytest.fixture(autouse=True, scope="session")
def tests_of_tests_have_a_folder_of_their_own() -> Iterator[None]:
    """A pytest that starts closes the folder that its user's runs share, and others' tests of
    users have no way to their files then."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o1777)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = folder
        yield
        del os.environ["PYTEST_DEBUG_TEMPROOT"]


@pytest.fixture(autouse=True, scope="session")
def no_signal_is_ignored() -> None:
    """Whoever runs the tests may ignore some, as nohup(1) and a shell's `&` have it, and not every
    runtime passes that on to a container. Also 32 and 33, at which Python's own module does
    not get."""
    for number in set(_SIGNALS) - _IGNORED_BY_PYTHON:
        if _is_ignored(number):
            by_default = bytes(_SIGACTION_BYTES)
            _sigaction(number, by_default, None)
            if number == signal.SIGINT:  # an interpreter that starts without it does not catch it
                signal.signal(number, signal.default_int_handler)


def _is_ignored(number: int) -> bool:
    now = bytearray(_SIGACTION_BYTES)
    _sigaction(number, None, now)
    return int.from_bytes(now[:8], sys.byteorder) == signal.SIG_IGN


def _sigaction(number: int, new: bytes | None, old: bytearray | None) -> None:
    """rt_sigaction(2), as the kernel has it: struct sigaction begins with the handler."""
    syscalls.call("rt_sigaction", number, lib.SYS_rt_sigaction, number, new, old, _SIGSET_BYTES)


# Twice for each of thousands of tests: pathlib would take as long as the rest of most.
# ruff: noqa: PTH115, PTH123, PTH208


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _children() -> set[int]:
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends just now
            found.update(map(int, _text(f"/proc/self/task/{task}/children").split()))
    return found


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the folder's own
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    children, descriptors = _children(), _descriptors()
    mounts = mounted()
    yield
    left = {
        fd: link
        for fd, link in _descriptors().items()
        if descriptors.get(fd) != link and not link.startswith(KEPT)
    }
    assert not left, f"descriptors left open: {left}"
    assert _children() <= children, "processes left behind"
    assert mounted() == mounts, "mounts left behind"
