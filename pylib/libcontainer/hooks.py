# SPDX-License-Identifier: Apache-2.0
"""Hooks that run in the runtime's namespaces (OCI runtime specification, "POSIX-platform Hooks").

This module is imported only if a container has such hooks.
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
    """Run hooks one after the other, each with the OCI state on its stdin.

    Args:
        kind: the kind of the hooks, such as "poststart", for errors.
        hooks: the hooks.
        state: the OCI state of the container, as JSON.
        folder: the directory in which they run: the bundle. If it is gone, they run in the current
            directory.
        first: the number of the first hook among those of its kind, for errors.

    Raises:
        Failure: a hook could not be run, took too long, or failed. The error names the hook and
            quotes the end of what it wrote. The hooks after it are not run.
    """
    for number, hook in enumerate(hooks, first):
        code, why = _run(hook, state, folder)
        if why:
            raise failed(kind, number, hook, code, why)


def _run(hook: Hook, state: str, folder: str) -> tuple[int, str]:
    """Run a hook; return an errno and a description of the failure, which is "" after a success."""
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
