# SPDX-License-Identifier: Apache-2.0
"""Run Python code where no user namespace can be made, as in many containers.

`run` starts it in a user namespace of its own whose sysctl forbids more of them. It has one user.
"""

from __future__ import annotations

import os
import subprocess
import sys

import nsenter
from launching import PYTHONPATH, SECONDS
from nsenter import Options

_FORBID = """
import ctypes, os
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
"""


def run(code: str) -> str:
    """Return what the code prints. It has no privileges over anything outside."""
    done = nsenter.run(
        [sys.executable, "-c", _FORBID + code],
        Options(new=("user", "pid", "mnt"), maps="root"),
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)
