# SPDX-License-Identifier: Apache-2.0
"""The configuration of a process: a container's first, or one that is executed in it later."""

from __future__ import annotations

from collections.abc import Mapping

from libcontainer.configs.config import Capabilities, IOPriority, Rlimit, Scheduler
from nsenter._host.records import Value


class ProcessConfig(Value):
    """The configuration of a process. A field that is None is taken from the container's `Config`.

    Args:
        args: the program and its arguments. A program without a slash is searched in the PATH of
            `env`.
        env: the environment, as strings "NAME=value".
        cwd: the working directory, an absolute path in the container.
        uid, gid, additional_gids: the user and the group ids, as ids in the container.
        umask: the file mode creation mask.
        terminal: give the process a pseudo-terminal.
        console_width, console_height: the size of the terminal in characters. 0 means not set.
        capabilities: the five sets of capabilities.
        rlimits: the resource limits.
        no_new_privileges: set PR_SET_NO_NEW_PRIVS (prctl(2)).
        apparmor_profile, process_label: the AppArmor profile and the SELinux label. "" means the
            one of the container's `Config`.
        oom_score_adj: from -1000 to 1000.
        io_priority, scheduler: the I/O priority and the scheduling.
        exec_cpu_affinity: lists of CPUs under the keys "initial" and "final", for a process that is
            executed later.
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
