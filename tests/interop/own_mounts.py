# SPDX-License-Identifier: Apache-2.0
"""A mount namespace for a manager of containers, whose mounts are nobody else's business.

Another test run on this machine does not see them, and they are gone with it.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from needs import needs


@contextlib.contextmanager
def own_mounts() -> Iterator[tuple[str, ...]]:
    """The words that a command is started by, to be in the namespace."""
    unshare = needs("unshare", package="util-linux")
    enter = needs("nsenter", package="util-linux")
    script = "echo ready; exec sleep 1000000"
    argv = [unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"ready\n"
            yield (str(enter), f"--mount=/proc/{holder.pid}/ns/mnt", "--")
        finally:
            holder.kill()
