# SPDX-License-Identifier: Apache-2.0
"""Spawning without a fork: the Python side of csrc/products/spawn.c and csrc/products/direct.c."""

from __future__ import annotations

import os

from nsenter._host.records import Value
from nsenter._nsexec import ffi, lib
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Spawn"]


def _split(words: list[bytes]) -> tuple[Any, Any]:
    """A NULL-terminated char*[] of the words, and the memory that it points into."""
    # One piece of memory for all: a new cdata for each of forty variables would cost as much as
    # the rest of the spawn.
    memory = ffi.new("char[]", b"\0".join(words))
    array = ffi.new("char *[]", len(words) + 1)
    lib.spawn_split(memory, len(words), array)
    return array, memory


class Spawn(Value):
    """One program to start.

    Args:
        argv: its words.
        environment: its environment, by names.
        stdio: the descriptors that it has as 0, 1 and 2.
        keep_fds: the others that it inherits, under their own numbers.
        ignored_signals: those that stay ignored if they are ignored here.
        executable: its path, or an open descriptor of it; None: argv[0], looked for in PATH.
    """

    argv: list[bytes]
    environment: dict[bytes, bytes]
    stdio: tuple[int, int, int]
    keep_fds: Iterable[int]
    executable: bytes | int | None = None
    ignored_signals: Iterable[int] = ()

    def run(self) -> tuple[int, int]:
        """Start it, the leader of a process group of its own.

        Returns:
            its pid and a pidfd, close-on-exec.

        Raises:
            BootstrapError: it could not be started; nothing is left.
        """
        started = self._start(lib.spawn_process, "parent")
        assert started is not None
        return started

    def run_direct(self, bootstrap: bytes, launch: bytes) -> tuple[int, int] | None:
        """Start it in the namespaces of the two messages, if that takes no stages.

        Returns:
            its pid and a pidfd; None where it does take them, and nothing was done.

        Raises:
            BootstrapError: it could not be started; nothing is left.
        """
        first, second = ffi.from_buffer("char[]", bootstrap), ffi.from_buffer("char[]", launch)

        def start(spawn: Any, pidfd: Any) -> int:
            spans = (first, len(bootstrap)), (second, len(launch))
            pid: int = lib.direct_launch(spawn, *spans, pidfd)
            return pid

        return self._start(start, "init")

    def _start(self, start: Any, stage: str) -> tuple[int, int] | None:
        argv, argv_memory = _split(self.argv)
        envp, envp_memory = _split([b"%b=%b" % item for item in self.environment.items()])
        by_path = isinstance(self.executable, bytes)
        exe_path = ffi.new("char[]", self.executable) if by_path else ffi.NULL
        numbers = sorted(set(self.keep_fds) - {0, 1, 2})
        keep_fds = ffi.new("int[]", numbers)
        fields = {
            "exe_fd": self.executable if isinstance(self.executable, int) else -1,
            "exe_path": exe_path,
            "argv": argv,
            "envp": envp,
            "stdio": self.stdio,
            "keep_fds": keep_fds,
            "keep_count": len(numbers),
            "keep_ignored": sum(1 << number - 1 for number in self.ignored_signals),
        }
        spawn, pidfd = ffi.new("struct spawn *", fields), ffi.new("int *", -1)
        pid = start(spawn, pidfd)
        del argv_memory, envp_memory  # alive until here
        if pid == lib.DIRECT_DECLINED:
            return None
        if pid < 0:
            raise _error(spawn, stage)
        return pid, pidfd[0]


def _error(spawn: Any, stage: str) -> BootstrapError:
    if spawn.child_signal:
        return BootstrapError.killed(stage, spawn.child_signal)
    return BootstrapError(
        stage if spawn.child_failed else "launcher",
        ffi.string(spawn.err.operation).decode(),
        os.fsdecode(ffi.string(spawn.err.subject)),
        spawn.err.errnum,
    )
