"""For a bare OSError, the built-in function that raised it is found from compiled code alone."""

# The functions of os are what this is about.
# ruff: noqa: PTH101, PTH116, PTH123, PTH208, PTH211, SIM115

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nsenter._host.os_errors import in_words, operation_of, subject_of
from pythons import Python, installed

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


def _of_a_local_module() -> None:
    import os as local  # fmt: skip

    local.read(NONE, 1)


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
    "of a local module": (_of_a_local_module, "read", ""),
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


# Without a source. What is called is loaded in other ways by each Python.
NAMES = ", ".join(f"sys.flags if sys else sys.n{number}" for number in range(200))
SCRIPT = """
import sys
failed = {}
exec(compile(open("nsenter/_host/os_errors.py").read(), "failed", "exec"), failed)
import os
def reader():
    import os; os.read(999999, 1)
def opener(path):
    with open(path): pass
def closer(fd, other):
    other, fd = fd, other
    os.close(fd)
def caller(function=os.stat):
    function("/absent")
def writer(module, words):
    module.write(*words)
def many():
    NAMES; os.rmdir("/absent")
CALLS = (reader,), (opener, "/absent"), (closer, 1, 999999), (caller,), (writer, os, (999999, b""))
for call, *args in (*CALLS, (many,)):
    try: call(*args)
    except OSError as error: print(failed["operation_of"](error))
""".replace("NAMES", NAMES)


@pytest.mark.parametrize("python", installed(), ids=str)
def test_each_python_names_what_was_called(python: Python) -> None:
    for options, said in (
        ((), ["read", "open", "close", "caller", "write", "many"]),
        (("-X", "no_debug_ranges"), ["reader", "opener", "closer", "caller", "writer", "many"]),
    ):
        words = [python.binary, *options, "-I", "-c", SCRIPT]
        cwd = Path(__file__).parents[2]
        assert subprocess.check_output(words, text=True, cwd=cwd).split() == said
