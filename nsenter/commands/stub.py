# SPDX-License-Identifier: Apache-2.0
"""Take the place of `runc init`: go through runc's stages for the parent that started this, then
execute PROGRAM in stage 2, with the parent's init pipe still open at the number that
_LIBCONTAINER_INITPIPE says.

This only executes nsinit, the static program beside the package (its path: --path), which can
be started in its place and starts faster.
"""

from __future__ import annotations

import argparse
import os

from nsenter.commands import command_words
from nsenter.launch import nsinit_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--path`, or the program and its arguments."""
    parser.add_argument("--path", action="store_true", help="print where nsinit is, and stop")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="-- PROGRAM [ARGS...]")


def execute(args: argparse.Namespace) -> int:
    """Become nsinit; returns only for `--path`."""
    nsinit = nsinit_path()
    words = command_words(args.program)
    if not args.path and not words:
        raise ValueError("stub: name the program to execute: stub -- PROGRAM [ARGS...]")
    if not args.path:
        os.execv(nsinit, ["nsinit", *words])
    print(nsinit)
    return 0
