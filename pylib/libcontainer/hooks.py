# SPDX-License-Identifier: Apache-2.0
"""Hooks that run in the runtime's namespaces (OCI runtime specification, "POSIX-platform Hooks").

Imported only where a container has any.
"""

from __future__ import annotations

import errno
import os
import subprocess

from libcontainer.init.hooks import complaint, environment_of, failed, not_executed, timed_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer.configs import Hook

__all__ = ["run_hooks"]


def run_hooks(kind: str, hooks: Iterable[Hook], state: str, folder: str, first: int = 0) -> None:
    """Run each in turn, with OCI's state on its stdin.

    Args:
        folder: to run in, the bundle; where it is gone, ours.
        first: the number of the first among those of its kind.

    Raises:
        Failure: one could not be run, took too long, or ended badly; names it and gives what
            it wrote to stderr. Those behind it are not run.
    """
    for number, hook in enumerate(hooks, first):
        code, why = _run(hook, state, folder)
        if why:
            raise failed(kind, number, hook, code, why)


def _run(hook: Hook, state: str, folder: str) -> tuple[int, str]:
    """What went wrong with it: an errno, and why; "": nothing."""
    try:
        done = subprocess.run(
            list(hook.args or (hook.path,)),
            executable=hook.path,
            input=state.encode(),
            cwd=folder if os.path.isdir(folder) else None,
            env=environment_of(hook, os.environ),
            capture_output=True,
            timeout=hook.timeout,
        )
    except subprocess.TimeoutExpired:
        return timed_out(hook)
    except OSError as error:
        return not_executed(hook, error.errno or 0)
    if not done.returncode:
        return 0, ""
    return errno.ECHILD, complaint(done.returncode, done.stdout, done.stderr)
