# SPDX-License-Identifier: Apache-2.0
"""The sub-commands of `python -m nsenter`, one module each.

Each has `add_arguments(parser)` and `execute(args)`, which returns the exit status.
"""

from __future__ import annotations

import argparse


def add_file(parser: argparse.ArgumentParser, what: str) -> None:
    """The argument `file`: what is read, from standard input where it is - or not given."""
    parser.add_argument(
        "file",
        nargs="?",
        type=argparse.FileType("rb"),
        default="-",
        help=f"{what}; - or nothing: standard input",
    )


def command_words(remainder: list[str]) -> list[str]:
    """What stands behind the options, without the `--` that may part the two."""
    return remainder[1:] if remainder[:1] == ["--"] else remainder
