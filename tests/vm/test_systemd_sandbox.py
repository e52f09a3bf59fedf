# SPDX-License-Identifier: Apache-2.0
"""The limits of a user whose own cgroup is root's: the user's systemd delegates a scope."""

from __future__ import annotations

import sys

import pytest
import session
from session import UID

from processes import wait_until

SCRIPT = """
import sys, time, nsenter
from nsenter import Limits, Options, Sandbox, Verdict
def python(code): return [sys.executable, "-I", "-S", "-c", code]
with Sandbox(memory="64M", pids=8, timeout=60) as box:
    done = box.run(["cat", "/proc/self/cgroup"])
    print(done.verdict, done.returncode, done.limited_by)
    print(box.run(python("bytearray(30 << 20)")).usage.peak_memory > 30 << 20)
    for code in (
        "import os, time\\nfor n in range(3):\\n if os.fork() == 0:\\n  x = bytearray(30 << 20)"
        "\\n  time.sleep(99)\\ntime.sleep(99)",
        "import os, time\\nwhile True:\\n if os.fork() == 0: time.sleep(99)",
    ):
        print(box.run(python(code)).verdict)
    print(box.call(divmod, 7, 2))
    try:
        box.call(bytearray, 1 << 30)
    except nsenter.WorkerDied as error:
        print(error.verdict)
    print(box.run(["/no/such"]).verdict)
options = Options(new="user,pid,mnt", limits=Limits(pids=5))
with nsenter.Popen(["sh", "-c", "exit 3"], options, wait_for_go=True) as process:
    process.go()
print(process.returncode, process.usage.peak_pids)
print(open("/proc/self/cgroup").read().strip())
"""
TOLD = [
    "exited 0 {'memory': 'cgroup', 'pids': 'cgroup'}",
    "True",
    "out_of_memory",
    "pids_limit",
    "(3, 1)",
    "out_of_memory",
    "not_started",
    "3 2",
]


@pytest.fixture(scope="module", autouse=True)
def user_session() -> None:
    """The user's systemd runs, as after a login."""
    done = session.run(["systemctl", "start", f"user@{UID}.service"])
    assert done.returncode == 0, done.stderr


def scopes() -> list[str]:
    folder = session.CGROUPS / f"user.slice/user-{UID}.slice/user@{UID}.service"
    return [path.name for path in folder.rglob("nsenter-*")]


def test_a_users_runs_are_limited_in_a_scope_of_the_users_systemd() -> None:
    done = session.run([*session.AS_THE_USER, sys.executable, "-c", SCRIPT])
    lines = done.stdout.splitlines()
    assert lines[:-1] == TOLD, done.stderr
    assert f"user@{UID}" not in lines[-1]  # it was not moved itself
    wait_until(lambda: scopes() == [])  # the scope ends with the process


def test_a_scope_that_was_stopped_is_made_anew() -> None:
    script = """
import subprocess, nsenter
options = nsenter.Options(limits=nsenter.Limits(pids=5))
for _ in range(2):
    print(nsenter.run(["true"], options).usage.oom_kills)
    subprocess.run(["systemctl", "--user", "stop", "nsenter-*.scope"], check=True)
"""
    done = session.run([*session.AS_THE_USER, sys.executable, "-c", script])
    assert done.stdout.splitlines() == ["0", "0"], done.stderr
