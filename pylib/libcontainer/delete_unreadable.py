# SPDX-License-Identifier: Apache-2.0
"""Delete a container whose state cannot be read, for `delete --force`.

A runtime may have been killed before it had written the state, or another program may have changed
the file. Everything that can still be identified is killed and removed, and the rest is reported.
"""

from __future__ import annotations

import _signal
import os

from libcontainer.cgroups import layout, new_manager
from libcontainer.configs import Cgroup
from libcontainer.errors import ConfigError
from libcontainer.state import fragments_of
from libcontainer.state_folder import StateFolder
from nsenter._host.procfs import start_time_of
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import send_signal, signal_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["take_away"]


def take_away(folder: StateFolder, warn: Callable[[str], None]) -> None:
    """Remove it, as far as it is known; locked.

    Args:
        warn: is told what may be left.
    """
    text = folder.text()
    if text is not None:  # else there was nothing before the state
        known = fragments_of(text)
        _kill(known)
        if not _remove_cgroup(folder.id, known):
            warn(
                f"the state of container {folder.id!r} does not name its cgroup: the cgroup, "
                "and processes in it, may be left"
            )
    folder.remove()


def _kill(known: dict[str, Any]) -> None:
    """Kill the first process of the container, if it is known for certain."""
    pid, started = known.get("init_process_pid", 0), known.get("init_process_start", 0)
    if type(pid) is not int or not 0 < pid < 1 << 31 or not started:
        return
    with suppress(ProcessLookupError):
        fd = signal_handle(pid)
        try:
            # Only now: if the pid had been reused before it was opened, the start would differ.
            if start_time_of(pid) == started:
                send_signal(fd, pid, _signal.SIGKILL)
        finally:
            os.close(fd)


def _remove_cgroup(id: str, known: dict[str, Any]) -> bool:
    """Remove the cgroup with its processes; return whether it was known."""
    paths = known.get("cgroup_paths")
    if not isinstance(paths, dict) or not paths:
        return False
    try:
        roots = tuple(f"{hierarchy.mount_point}/" for hierarchy in layout().all())
        usable = {
            controller: path
            for controller, path in paths.items()
            if type(path) is str and path.startswith(roots) and "\0" not in path
        }
        if not usable:
            return False
        manager = new_manager(Cgroup(name=id), usable)
        manager.kill_all()
        manager.destroy()
    except (OSError, ConfigError, LookupError):
        return False
    return len(usable) == len(paths)
