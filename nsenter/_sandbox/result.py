# SPDX-License-Identifier: Apache-2.0
"""What a run in a sandbox did: why it ended, what it wrote, and what it used."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from enum import StrEnum
from subprocess import TimeoutExpired
from typing import Any

from nsenter._host.base_error import NsenterError
from nsenter._host.records import Value
from nsenter._launch.usage import Usage
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter._sandbox.denials import Denial
else:
    Denial = object  # what typing.get_type_hints finds: few runs are explained

__all__ = ["Result", "RunFailed", "Verdict", "add_end", "verdict_of"]


class Verdict(StrEnum):
    """Why a run in a sandbox ended. Each member is also a string, such as "timeout".

    Attributes:
        EXITED: the program ended by itself; see `Result.returncode`.
        SIGNALLED: a signal killed the program.
        TIMEOUT: the time was over, and everything in the sandbox was killed.
        OUT_OF_MEMORY: the tree of processes needed more memory than its limit, and was killed.
        OUTPUT_LIMIT: the program wrote more than the limit, and everything in the sandbox was
            killed.
        PIDS_LIMIT: the program did not succeed, and the limit of processes had refused it one.
        DENIED: the system call filter killed the program (SIGSYS).
        NOT_STARTED: the program was not executed, for example because there is no such file.
    """

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_LIMIT = "output_limit"
    PIDS_LIMIT = "pids_limit"
    DENIED = "denied"
    NOT_STARTED = "not_started"


class RunFailed(NsenterError, RuntimeError):
    """A run in a sandbox did not end with exit status 0. `Result.check` raises this.

    Attributes:
        result: the `Result` of the run.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        result = self.result
        words = f"{result.args!r}: {result.verdict}"
        if result.error is not None:
            return f"{words}: {result.error}"
        return f"{words}, returncode {result.returncode}"


class Result(Value):
    """The result of `Sandbox.run`.

    Args:
        args: the program and its arguments.
        verdict: why the run ended.
        returncode: the exit status, or -N if signal N killed the program; None if it was not
            started. If everything was killed, this is usually -9.
        stdout, stderr: what the program wrote, up to the output limit, also if it was killed.
        wall_time: elapsed seconds from the execution of the program to its end.
        usage: what all processes of the run used together; None if the program was not started.
        limited_by: for each limit that is set: "cgroup" if it holds for all processes together,
            "rlimit" if it holds for each process by itself, "not limited" if it cannot be set.
        refused: a line for each thing that the network or the workspace refused.
        error: why the program was not started.
        denied: what the system call filter denied, if the run was started with `explain=True`. This
            does not change the verdict: that a call was denied does not mean that the program
            failed because of it.
        isolated_by: "namespaces"; or "landlock" if namespaces are forbidden, and the sandbox was
            made with `fallback="landlock"`.
    """

    args: tuple[object, ...]
    verdict: Verdict
    returncode: int | None
    stdout: bytes
    stderr: bytes
    wall_time: float
    usage: Usage | None
    limited_by: Mapping[str, str]
    refused: tuple[str, ...] = ()
    error: BootstrapError | None = None
    denied: tuple[Denial, ...] = ()
    isolated_by: str = "namespaces"

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with exit status 0."""
        return self.verdict is Verdict.EXITED and self.returncode == 0

    def check(self) -> Result:
        """Return the result itself if the program ended with exit status 0.

        Raises:
            RunFailed: it did not.
        """
        if not self.ok:
            raise RunFailed(self)
        return self


def add_end(error: BaseException, returncode: int | None, usage: Usage | None) -> None:
    """Add `verdict` and `usage` to an exception about a process that has ended.

    Args:
        error: the exception. A timeout has the verdict TIMEOUT.
        returncode: the returncode of the process; None if it is not known.
        usage: what the process used.
    """
    is_timeout = isinstance(error, (TimeoutError, TimeoutExpired))
    cause = Verdict.TIMEOUT if is_timeout else None
    if cause is None and returncode is None:
        return
    told: Any = error
    told.verdict = verdict_of(cause, returncode or 0, usage)
    told.usage = usage


def verdict_of(cause: Verdict | None, returncode: int, usage: Usage | None) -> Verdict:
    """Return why a run ended.

    Args:
        cause: why this process killed the run; None if it did not.
        returncode: the exit status of the program, or the negative number of a signal.
        usage: what was counted.
    """
    if cause is not None:
        return cause
    if usage is not None and usage.oom_kills:
        return Verdict.OUT_OF_MEMORY
    if returncode == -signal.SIGSYS:
        return Verdict.DENIED
    if returncode and usage is not None and usage.refused_forks:
        return Verdict.PIDS_LIMIT
    return Verdict.SIGNALLED if returncode < 0 else Verdict.EXITED
