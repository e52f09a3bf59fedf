"""Tests look at processes, which may end at any moment, in one way that tolerates it."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import processes

TESTS = Path(__file__).parent
# What of /proc/PID a test reads itself fails now and then, if the process may end. Scripts that run
# elsewhere and parts of longer paths are no such place.
READS = re.compile(
    r"""Path\(f"/proc/\{[^}]+\}/(?:stat|comm|cmdline|task|fd|wchan|syscall)(?:/\{[^}]+\}/\w+)?"\)"""
)
ASKING = TESTS / "support" / "processes.py"

CHURN = """
import os
while True:
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:
            os.close(os.open("/", os.O_RDONLY))
        else:
            os.wait()
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_no_test_reads_such_a_file_itself() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{number}"
        for path in TESTS.rglob("*.py")
        if path != ASKING
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if READS.search(line)
    ]
    assert not found, "ask processes.py: a process may end between two looks, or while it is read"


def asked_about(parent: int) -> set[int]:
    """All that there are, asked for all that anybody may know; ours also for the rest."""
    pids = {*processes.all_pids()}
    for pid in pids:
        processes.runs(pid), processes.name_of(pid), processes.words_of(pid)
        processes.stat_fields(pid), processes.children_of(pid)
    for pid in processes.children_of(parent):
        processes.links_of(pid)
    return pids


def test_processes_that_come_and_go_are_asked_about() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", CHURN]) as churn:
        try:
            seen: set[int] = set()
            for number in itertools.count():
                seen |= asked_about(churn.pid)
                assert processes.runs(churn.pid)
                if number > 300 and len(seen) > 300:  # however fast this machine is
                    break
        finally:
            churn.kill()
    assert not processes.runs(churn.pid)


def test_a_zombie_has_ended_and_is_a_child() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert not processes.runs(pid)
        assert processes.name_of(pid) == "true"
        assert processes.words_of(pid) == []
        assert pid in processes.children_of()
    finally:
        os.waitpid(pid, 0)
    assert pid not in processes.children_of()
    assert (processes.name_of(pid), processes.stat_fields(pid)) == ("", [])
    assert (processes.threads_of(pid), processes.links_of(pid)) == ([], {})


def test_a_program_is_awaited_until_it_is_there_as_a_whole() -> None:
    with subprocess.Popen(["sh", "-c", "exec sleep 1000"]) as process:
        try:
            processes.wait_until_executed(process.pid, "sleep")
            assert processes.words_of(process.pid) == ["sleep", "1000"]
        finally:
            process.send_signal(signal.SIGKILL)
