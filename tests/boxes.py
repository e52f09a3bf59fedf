"""Processes in a root of their own with the system's programs in it, and what they say."""

from __future__ import annotations

import ast
import contextlib
import os
from pathlib import Path
from typing import Any

import launching
from launching import SECONDS
from nsenter import Bind, Options, Program, PythonInit

# A shell's own `!` does not end a script (-e).
NO = 'no() { if "$@" 2>&-; then echo "could: $*"; exit 1; fi; }; '
SYSTEM = tuple(Bind(p) for p in ("/usr", "/bin", "/lib", "/lib64") if Path(p).exists())


def box(**fields: Any) -> Options:
    """Everything new, and the system's programs in an empty root."""
    mounts = (*SYSTEM, *fields.pop("mounts", ()))
    return Options(**{"new": "user,mnt,pid", "root": "tmpfs", "mounts": mounts} | fields)


def output(options: Options, script: str, *words: str) -> list[str]:
    """The lines that a shell script says; it ends well."""
    with contextlib.ExitStack() as stack:
        said, stdout = launching.pipe(stack)
        argv = ["/bin/sh", "-euc", NO + script, "sh", *words]
        child = stack.enter_context(options.launch(Program(argv), stdout=stdout, stderr=stdout))
        os.close(stdout)
        text = b""
        while part := os.read(said, 1 << 16):
            text += part
        assert child.wait(SECONDS) == 0, text.decode()
    return text.decode().splitlines()


def mounts_of(options: Options) -> dict[str, set[str]]:
    """Mount point → the flags of the mount, read inside."""
    rows = (line.split() for line in output(options, "cat /proc/self/mountinfo"))
    return {row[4]: set(row[5].split(",")) for row in rows}


def told(options: Options) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        said, stdout = launching.pipe(stack)
        child = stack.enter_context(options.launch(PythonInit("told:look"), stdout=stdout))
        found: dict[str, Any] = ast.literal_eval(launching.read_line(said))
        assert child.wait(SECONDS) == 0
    return found
