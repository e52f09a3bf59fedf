# SPDX-License-Identifier: Apache-2.0
"""Take the place of `runc init`.

The command goes through runc's stages for the parent that started it. In stage 2 it executes
PROGRAM, with the parent's init pipe open at the number in _LIBCONTAINER_INITPIPE.

The work is done by nsinit, a static program in the directory of the package (--path shows where).
It can be started instead of this command, and starts faster.
"""

from __future__ import annotations

import os

from nsenter.commands import read
from nsenter.commands.table import Option, Usage
from nsenter.launch import nsinit_path

_OPTIONS = (Option(("--path",), "", "print the path of nsinit and exit", "path"),)


def main(words: list[str]) -> int:
    """Execute nsinit; return only for `--path` and `--help`."""
    given = read("stub", __doc__, _OPTIONS, words, "-- PROGRAM [ARG]…")
    if given is None:
        return 0
    nsinit = nsinit_path()
    if not given.all("path"):
        if not given.operands:
            raise Usage("stub: name the program to execute: stub -- PROGRAM [ARG]…")
        os.execv(nsinit, ["nsinit", *given.operands])
    print(nsinit)
    return 0
