# SPDX-License-Identifier: Apache-2.0
"""The table of error messages, tests/error_messages.txt, and how each message is caused.

As a script, writes into the table what each line causes now:
PYTHONPATH=tests:tests/support python -m error_messages
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import libcontainer
import nsenter
from full_spec import SHORT, changed
from libcontainer.configs.validate import validate
from libcontainer.pyrunc import main as pyrunc
from libcontainer.pyrunc.log import Log
from libcontainer.specconv import config_from_spec
from nsenter import __main__ as pynsenter
from nsenter import idmap, presets, seccomp

TABLE = Path(__file__).parents[1] / "error_messages.txt"
# As in bash(1): the last word of the command line is its standard input.
_HERE = "<<<"
_CAUSE = re.compile(r"^(>>>|\$) (.+)$")


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Args:
        kind: ">>>" if the cause is an expression of Python, "$" if it is a command line.
        cause: the expression or the command line.
        message: the lines that it prints.
    """

    kind: str
    cause: str
    message: str


def cases() -> list[Case]:
    """Return the rows of the table, in order. Blank lines and comments stand between them."""
    found: list[Case] = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cause = _CAUSE.match(line)
        if cause:
            found.append(Case(cause[1], cause[2], ""))
        elif line and not line.startswith("# "):
            kind, words, said = found[-1].kind, found[-1].cause, found[-1].message
            found[-1] = Case(kind, words, f"{said}\n{line}".lstrip("\n"))
    return found


def message_of(case: Case) -> str:
    """Cause an error, and return its message."""
    if case.kind == ">>>":
        try:
            eval(case.cause, _names())
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "no error"
    words = shlex.split(case.cause)
    typed = words.pop() if _HERE in words else ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        if words[0] == "pyrunc":
            return _of_pyrunc(words[1:], patch)
        return _of_pynsenter([word for word in words[1:] if word != _HERE])


def _of_pynsenter(words: list[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        pynsenter.main(words)
    return said.getvalue().rstrip("\n")


def _of_pyrunc(words: list[str], patch: pytest.MonkeyPatch) -> str:
    """Without the time in front, and without the help behind a usage error."""
    said: list[str] = []
    patch.setattr(Log, "error", lambda log, message: said.append(message))
    patch.setattr(pyrunc, "show", lambda text: None)
    pyrunc.run(words)
    return "\n".join(said)


def _config(changes: Mapping[str, Any]) -> None:
    """Read a config.json that has these values, by their places in it."""
    spec = changed(SHORT, "root.path", "/")
    for path, value in changes.items():
        spec = changed(spec, path, value)
    validate(config_from_spec(spec, id="box", bundle="/"))


def _names() -> dict[str, Any]:
    names = {name: getattr(nsenter, name) for name in vars(nsenter)["__all__"]}
    more = {"presets": presets, "seccomp": seccomp, "idmap": idmap, "os": os, "config": _config}
    return {**names, **more, "libcontainer": libcontainer}


def main() -> None:
    lines: list[str] = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cause = _CAUSE.match(line)
        if cause:
            lines += [line, message_of(Case(cause[1], cause[2], ""))]
        elif not line or line.startswith("# "):
            lines.append(line)
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
