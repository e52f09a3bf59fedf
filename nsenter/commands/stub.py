# SPDX-License-Identifier: Apache-2.0
"""Take the place of `runc init`: go through runc's stages for the parent that started this, then
execute PROGRAM in stage 2, with the parent's init pipe still open at the number that
_LIBCONTAINER_INITPIPE says.

This only executes nsinit, the static program beside the package (its path: --path), which can
be started in its place and starts faster.
"""

from __future__ import annotations

import os

from nsenter.commands import read
from nsenter.commands.table import Option, Usage
from nsenter.launch import nsinit_path

_OPTIONS = (Option(("--path",), "", "print where nsinit is, and stop", "path"),)


def main(words: list[str]) -> int:
    """Become nsinit; returns only for `--path` and `--help`."""
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
