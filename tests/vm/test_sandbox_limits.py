# SPDX-License-Identifier: Apache-2.0
"""A sandbox's limits on cgroup v2: of root, and of a user to whom a cgroup is delegated.

tests/test_nsenter/test_sandbox_limits.py has the rest, as it is run for cgroup v1 as well.
"""

from __future__ import annotations

import os
import sys

import session
from session import CGROUPS

import nsenter
from nsenter import Limits, Options, Sandbox, Verdict

SCRIPT = """
import sys
from nsenter import Sandbox
def python(code): return [sys.executable, "-I", "-S", "-c", code]
with Sandbox(memory="64M", pids=8, cpus=0.5, timeout=40) as box:
    done = box.run(python("bytearray(30 << 20)"))
    print(done.verdict, done.returncode, done.limited_by["memory"], done.limited_by["cpus"])
    usage = done.usage
    print(30 << 20 < usage.peak_memory < 64 << 20, usage.cpu_time > 0, usage.peak_pids)
    for code in (
        "import os, time\\nfor n in range(3):\\n if os.fork() == 0:\\n  x = bytearray(30 << 20)"
        "\\n  time.sleep(99)\\ntime.sleep(99)",
        "import os, time\\nwhile True:\\n if os.fork() == 0: time.sleep(99)",
        "import time\\nprint(1, flush=True)\\nwhile True: print('x' * 99)",
    ):
        print(box.run(python(code), output_limit=1000).verdict)
"""
TOLD = [
    "exited 0 cgroup cgroup",
    "True True 2",
    "out_of_memory",
    "pids_limit",
    "output_limit",
]


def _leftovers() -> list[str]:
    walked = (names for _, names, _ in os.walk(CGROUPS))
    return [name for names in walked for name in names if name.startswith("nsenter-tree-")]


def test_the_limits_of_root() -> None:
    done = session.run([sys.executable, "-c", SCRIPT])
    assert done.stdout.splitlines() == TOLD, done.stderr
    assert _leftovers() == []


def test_the_limits_of_a_user_with_a_cgroup() -> None:
    done = session.as_the_user([sys.executable, "-c", SCRIPT])
    assert done.stdout.splitlines() == TOLD, done.stderr
    assert _leftovers() == []


def test_a_user_without_a_cgroup_is_refused_and_told_why() -> None:
    script = "import nsenter; nsenter.Sandbox(memory='64M').open()"
    words = [*session.AS_THE_USER, sys.executable, "-c", script]
    done = session.run(words)
    assert "BootstrapError: launcher: limit memory=67108864: no cgroup can be used" in done.stderr


def test_the_parent_can_be_named() -> None:
    with session.cgroup("nsx-parent") as parent:
        (parent / "cgroup.subtree_control").write_text("+memory +pids")
        options = Options(limits=Limits(memory="64M", parent=parent))
        done = nsenter.run(["cat", "/proc/self/cgroup"], options, capture_output=True, text=True)
        assert done.stdout.startswith("0::/nsx-parent/nsenter-tree-")
        with session.cgroup("nsx-parent/nsx-full") as full:
            (full / "cgroup.procs").write_text(str(os.getpid()))
            try:
                options = Options(limits=Limits(memory="64M", parent=full))
                assert "there are processes in this cgroup" in _refused(options)
            finally:
                (CGROUPS / "cgroup.procs").write_text(str(os.getpid()))


def _refused(options: Options) -> str:
    try:
        nsenter.run(["true"], options)
    except nsenter.BootstrapError as error:
        return str(error)
    return ""


def test_a_tree_that_runs_out_of_memory_dies_at_once() -> None:
    code = "import os\nif os.fork() == 0: bytearray(1 << 30)\nos.wait(); print('survived')"
    with Sandbox(memory="32M", timeout=40) as box:
        result = box.run([sys.executable, "-I", "-S", "-c", code])
    assert (result.verdict, result.stdout) == (Verdict.OUT_OF_MEMORY, b"")
