# SPDX-License-Identifier: Apache-2.0
"""What Popen and its kin take, as types."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import IO, Any, TypedDict

from nsenter.launch import Environment

Path = str | bytes | os.PathLike[str]
Command = Path | Sequence[Path]
Stream = int | IO[Any] | None


class ProcessArguments(TypedDict, total=False):
    """Of a process, besides its streams."""

    executable: Path | None
    env: Environment | None
    pass_fds: Iterable[int]
    close_fds: bool
    restore_signals: bool
    process_group: int | None
    wait_for_go: bool
    pipesize: int
    cwd: Path | None
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    umask: int
    start_new_session: bool


class Text(TypedDict, total=False):
    """How its pipes are text, besides `text` itself."""

    universal_newlines: bool | None
    encoding: str | None
    errors: str | None


class OutputArguments(ProcessArguments, total=False):
    """Of check_output."""

    bufsize: int
    stdin: Stream
    stderr: Stream
    shell: bool


class TextOutputArguments(OutputArguments, Text, total=False):
    """Of check_output, as text."""


class Arguments(OutputArguments, total=False):
    """Of Popen."""

    stdout: Stream


class TextArguments(Arguments, Text, total=False):
    """Of Popen, with pipes of text."""
