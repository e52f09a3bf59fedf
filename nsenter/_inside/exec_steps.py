# SPDX-License-Identifier: Apache-2.0
"""The last steps of an init: the resource limits, the seccomp filter, the program.

csrc/inside/exec_steps.c carries them out.
"""

from __future__ import annotations

import posix

from nsenter._host.records import Value
from nsenter._nsexec import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, NoReturn

__all__ = ["ExecSteps", "execute"]

_ERRNOS = 134  # one more than the highest errno of Linux


class ExecSteps(Value):
    """The limits and the filter that are in force when the program begins.

    Args:
        rlimits: for each resource its name, its number, its soft limit and its hard limit.
        filter: an array of struct sock_filter. b"" means no filter.
        filter_flags: SECCOMP_FILTER_FLAG_* bits.
        agent_fd: a connected socket to which the filter's listener is sent. -1 means none.
        agent_message: what is sent to the agent together with the listener.
        agent_path: the path on which the agent listens, for errors.
    """

    rlimits: tuple[tuple[str, int, int, int], ...] = ()
    filter: bytes = b""
    filter_flags: int = 0
    agent_fd: int = -1
    agent_message: bytes = b""
    agent_path: str = ""

    def encoded_rlimits(self) -> bytes:
        """Return the limits in the form that csrc/message/launch_lists.c reads."""
        return ",".join(":".join(map(str, limit)) for limit in self.rlimits).encode()


def execute(
    path: str,
    args: Iterable[str],
    env: Mapping[str, str],
    confinement: ExecSteps,
    *,
    channel: int = -1,
    errno_text: Callable[[int], str] = posix.strerror,
) -> NoReturn:
    """Confine this process and execute a program.

    This function does not raise an exception on failure, but reports it: once a limit is in force,
    Python may have no memory to raise an exception, and the filter may deny a system call that is
    required to handle one.

    Args:
        path: the path of the program.
        args: the argument vector, including argv[0].
        env: the environment.
        confinement: the limits and the filter.
        channel: the descriptor on which a failure is reported as `libcontainer.init.sync.Error`.
            -1 means that it is reported on standard error.
        errno_text: returns the text for an errno.
    """
    kept: list[Any] = []

    def text(data: bytes) -> Any:
        memory = ffi.from_buffer(data)
        kept.extend((data, memory))
        return memory

    def span(data: bytes) -> tuple[Any, int]:
        return (text(data) if data else ffi.NULL), len(data)

    words = ([_raw(word) for word in args], [_raw(f"{k}={v}") for k, v in env.items()])
    argv, envp = (ffi.new("char *[]", [*map(text, part), ffi.NULL]) for part in words)
    execution = ffi.new(
        "struct execution *",
        {
            "path": text(_raw(path)),
            "argv": argv,
            "envp": envp,
            "rlimits": span(confinement.encoded_rlimits()),
            "filter": span(confinement.filter),
            "filter_flags": confinement.filter_flags,
            "agent_fd": confinement.agent_fd,
            "agent_message": span(confinement.agent_message),
            "agent_path": text(_raw(confinement.agent_path)),
            "channel_fd": channel,
            "errno_texts": span(_errno_texts(errno_text)),
        },
    )
    lib.execution_run(execution)
    raise AssertionError("it does not return")


def _raw(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def _errno_texts(errno_text: Callable[[int], str]) -> bytes:
    return "".join(f"{errno_text(number)}\0" for number in range(_ERRNOS)).encode()
