"""Processes in a root of their own with the system's programs in it, and what they say."""

from __future__ import annotations

import ast
import contextlib
import os
from collections.abc import Sequence
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


def said(options: Options, argv: Sequence[str], *, errors: bool = False) -> str:
    """What a program says to stdout, with `errors` to stderr as well; it ends well."""
    with contextlib.ExitStack() as stack:
        reader, stdout = launching.pipe(stack)
        stderr = stdout if errors else 2
        launched = options.launch(Program(argv), stdout=stdout, stderr=stderr)
        child = stack.enter_context(launched)
        os.close(stdout)
        text = b""
        while part := os.read(reader, 1 << 16):
            text += part
        assert child.wait(SECONDS) == 0, text.decode()
    return text.decode()


def output(options: Options, script: str, *words: str) -> list[str]:
    """The lines that a shell script says; it ends well."""
    argv = ["/bin/sh", "-euc", NO + script, "sh", *words]
    return said(options, argv, errors=True).splitlines()


def mounts_of(options: Options) -> dict[str, set[str]]:
    """Mount point → the flags of the mount, read inside."""
    rows = (line.split() for line in output(options, "cat /proc/self/mountinfo"))
    return {row[4]: set(row[5].split(",")) for row in rows}


def told(options: Options, target: str = "report_status:look") -> dict[str, Any]:
    """The first line that a Python init says; it ends well."""
    with contextlib.ExitStack() as stack:
        reader, stdout = launching.pipe(stack)
        child = stack.enter_context(options.launch(PythonInit(target), stdout=stdout))
        found: dict[str, Any] = ast.literal_eval(launching.read_line(reader))
        assert child.wait(SECONDS) == 0
    return found
