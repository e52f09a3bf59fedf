# SPDX-License-Identifier: Apache-2.0
"""A process of a container: its first, or one that is executed in it later."""

from __future__ import annotations

from collections.abc import Mapping

from libcontainer.configs.config import Capabilities, IOPriority, Rlimit, Scheduler
from nsenter._host.records import Value


class ProcessConfig(Value):
    """What a process is to be. What is None is as in the container's `Config`.

    Args:
        args: the program, looked for in PATH of `env` unless it has a slash, and its arguments.
        env: its environment, "NAME=value" each.
        cwd: absolute, in the container.
        uid, gid, additional_gids: ids in the container.
        umask: permission bits to mask.
        terminal: whether it gets a pseudo-terminal.
        console_width, console_height: of the terminal, in characters; 0: not set.
        capabilities: its five sets.
        rlimits: resource limits.
        no_new_privileges: see prctl(2), PR_SET_NO_NEW_PRIVS.
        apparmor_profile, process_label: of Linux security modules; "": none.
        oom_score_adj: -1000 … 1000.
        io_priority, scheduler: see `Config`.
        exec_cpu_affinity: "initial" and "final" lists of CPUs, for a process executed later.
    """

    nested = {
        "capabilities": Capabilities,
        "rlimits": Rlimit,
        "io_priority": IOPriority,
        "scheduler": Scheduler,
    }

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    umask: int | None = None
    terminal: bool = False
    console_width: int = 0
    console_height: int = 0
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] | None = None
    no_new_privileges: bool | None = None
    apparmor_profile: str = ""
    process_label: str = ""
    oom_score_adj: int | None = None
    io_priority: IOPriority | None = None
    scheduler: Scheduler | None = None
    exec_cpu_affinity: Mapping[str, str] = {}
