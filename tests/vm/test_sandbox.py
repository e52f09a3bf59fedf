# SPDX-License-Identifier: Apache-2.0
"""The limits of its cgroup stop a bomb in a sandbox."""

from __future__ import annotations

import sys

import pytest
import session
from session import DELEGATED, cgroup

import nsenter
from nsenter import presets

FORKS = """
import os, signal
made = 0
try:
    while made < 100:
        if not os.fork():
            signal.pause()
        made += 1
except BlockingIOError:
    pass
print(made)
"""
MOST = 12
# As its user, in the cgroup that is delegated to it.
AS_THE_USER = """
import os, sys, nsenter
from nsenter import presets
box = sys.argv[1]
os.mkdir(box)
with open(f"{box}/pids.max", "w") as file: file.write(sys.argv[3])
options = presets.sandbox(cgroup=box)
print(nsenter.check_output([sys.executable, "-c", sys.argv[2]], options, text=True))
"""


def test_a_fork_bomb_is_held_by_the_number_of_processes() -> None:
    with cgroup("box", pids_max=str(MOST)) as box:
        words = [sys.executable, "-c", FORKS]
        # Its PID 1 and itself are in there, too.
        assert nsenter.check_output(words, presets.sandbox(cgroup=box)) == b"%d\n" % (MOST - 2)
        assert nsenter.check_output(words, presets.sandbox()) == b"100\n"
        assert (box / "cgroup.procs").read_text() == "", "it has taken all along"


def test_a_fork_bomb_of_a_user_is_held_as_well() -> None:
    argv = [sys.executable, "-c", AS_THE_USER, f"{DELEGATED}/bomb", FORKS, str(MOST)]
    done = session.as_the_user(argv)
    (DELEGATED / "bomb").rmdir()
    assert (done.stdout.strip(), done.stderr) == (str(MOST - 2), "")


@pytest.mark.parametrize(
    "code",
    [
        "bytearray(200 << 20)",
        "f = open('/tmp/x', 'wb')\nfor _ in range(200): f.write(b'x' * (1 << 20))",
    ],
    ids=["its-own", "its-tmp"],
)
def test_a_memory_bomb_ends_alone(code: str) -> None:
    with cgroup("box", memory_max="60M", memory_swap_max="0") as box:
        done = nsenter.run([sys.executable, "-c", code], presets.sandbox(cgroup=box))
        assert done.returncode == -9
        assert "oom_kill 0\n" not in (box / "memory.events").read_text()
