# SPDX-License-Identifier: Apache-2.0
"""Hooks that run in the runtime's namespaces (OCI runtime specification, "POSIX-platform Hooks").

Imported only where a container has any.
"""

from __future__ import annotations

import errno
import os
import subprocess

from libcontainer.init.hooks import complaint, environment_of
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer.configs import Hook

__all__ = ["run_hooks"]


def run_hooks(kind: str, hooks: Iterable[Hook], state: str, folder: str) -> None:
    """Run each in turn, with OCI's state on its stdin.

    Args:
        folder: to run in, the bundle; where it is gone, ours.

    Raises:
        Failure: one could not be run, took too long, or ended badly; names it and gives what
            it wrote to stderr. Those behind it are not run.
    """
    for hook in hooks:
        _run(f"error running hook {kind}", hook, state, folder)


def _run(what: str, hook: Hook, state: str, folder: str) -> None:
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
        raise Failure(what, hook.path, errno.ETIMEDOUT, f"it took over {hook.timeout} s") from None
    except OSError as error:
        raise Failure(what, hook.path, error.errno or 0) from None
    if done.returncode:
        why = complaint(done.returncode, done.stdout + done.stderr)
        raise Failure(what, hook.path, errno.ECHILD, why)
