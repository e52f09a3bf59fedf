"""A bare OSError is named by the built-in function that raised it, from compiled code alone."""

# The functions of os are what this is about.
# ruff: noqa: PTH101, PTH116, PTH123, PTH208, PTH211, SIM115

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nsenter.failed import in_words, operation_of, subject_of

NONE = 999_999  # no descriptor
ABSENT = "/absent/it"


def _raise() -> None:
    raise OSError(5, "its own")


def _of_arguments() -> None:
    os.chmod(ABSENT, stat.S_IMODE(os.fstat(NONE).st_mode))


def _over_lines() -> None:
    fcntl.fcntl(
        NONE,
        fcntl.F_DUPFD, int("3"),
    )  # fmt: skip


def _in_a_block() -> None:
    try:
        with os.scandir(NONE):
            pass
    finally:
        os.getpid()


def _of_an_object() -> None:
    made = {"of": socket.socket(socket.AF_UNIX)}
    with made["of"]:
        made["of"].connect(ABSENT)


def _by_another_name(close: Callable[[int], None] = os.close) -> None:
    close(NONE)


CALLS: dict[str, tuple[Callable[[], object], str, str]] = {
    "a module's": (lambda: os.read(NONE, len("x")), "read", ""),
    "a built-in": (lambda: open(ABSENT), "open", ABSENT),
    "with stars": (lambda: os.write(*(NONE, b"x")), "write", ""),
    "with keywords": (lambda: os.symlink("a", ABSENT, dir_fd=None), "symlink", f"a {ABSENT}"),
    "in an index": (lambda: os.listdir(ABSENT)[0].upper(), "listdir", ABSENT),
    "in a comprehension": (lambda: [os.close(fd) for fd in (NONE,)], "close", ""),
    "in an argument": (_of_arguments, "fstat", ""),
    "over lines": (_over_lines, "fcntl", ""),
    "in a block": (_in_a_block, "scandir", ""),
    "a method": (_of_an_object, "connect", ""),
    "of a library": (lambda: Path(ABSENT).rmdir(), "rmdir", ABSENT),
    "bytes": (lambda: os.stat(b"/absent/\xff"), "stat", "/absent/\udcff"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_failure_has_the_name_of_what_was_called(name: str) -> None:
    call, operation, subject = CALLS[name]
    with pytest.raises(OSError) as caught:
        call()
    assert (operation_of(caught.value), subject_of(caught.value)) == (operation, subject)


def test_what_calls_nothing_that_has_a_name_is_named_by_its_function() -> None:
    for function, operation in ((_raise, "raise"), (_by_another_name, "by_another_name")):
        with pytest.raises(OSError) as caught:
            function()
        assert operation_of(caught.value) == operation
    assert in_words(OSError(5, "told")) == "system call: told"


def test_it_needs_no_source_and_no_position() -> None:
    script = (
        "import sys; from nsenter.failed import operation_of\n"
        "def reader():\n"
        "    import os; os.read(999999, 1)\n"
        "try: reader()\n"
        "except OSError as error: print(operation_of(error))\n"
    )
    for options, said in (((), "read"), (("-X", "no_debug_ranges"), "reader")):
        words = [sys.executable, *options, "-c", script]
        cwd = Path(__file__).parents[2]
        assert subprocess.check_output(words, text=True, cwd=cwd).strip() == said
