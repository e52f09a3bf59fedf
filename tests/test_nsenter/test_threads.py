"""Popen works from any caller: with threads, numpy or 1 GiB, as PID 1, nested, unprivileged.

Each caller is a Python process of its own, so that they do not disturb each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import launching
import rootless
from needs import needs
from sweeps import some

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")

PRELUDE = """
import os, signal, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE
from isolations import ALL, DIRECT, KEEPS_STATUS, PLAIN, STAGES
from nsenter.options import Options
from nsenter.popen import Popen, check_output, run

def work(number, options=ALL):
    # A whole life: pipes both ways, a status, a signal, a timeout.
    data = b"%d " % number * 500
    done = run("cat; exit 3", options, shell=True, input=data, capture_output=True)
    assert (done.stdout, done.stderr, done.returncode) == (data, b"", 3), done
    with Popen(["sleep", "1000"], options) as process:
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
    try:
        run(["sleep", "1000"], options, timeout=0.01)
    except subprocess.TimeoutExpired:
        pass

def nothing_left():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
    else:
        raise AssertionError("a child is left")
    links = {os.readlink(f"/proc/self/fd/{fd}") for fd in range(3, 100) if is_open(fd)}
    assert all(link.startswith(("/memfd:", "/dev/shm/")) for link in links), links

def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
"""

CALLERS = {
    "16 threads at once": """
gate = threading.Barrier(16)
def one(number):
    gate.wait()
    work(number)
with ThreadPoolExecutor(16) as pool:
    list(pool.map(one, range(16)))
""",
    "300 launches from threads": """
def one(number):
    options = (DIRECT, STAGES, PLAIN)[number % 3]
    assert check_output(["echo", str(number)], options) == b"%d\\n" % number
with ThreadPoolExecutor(8) as pool:
    list(pool.map(one, range(300)))
""",
    "busy threads": """
done = threading.Event()
def busy():
    while not done.wait(0.0001):
        sum(range(1000))
threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads:
    thread.start()
try:
    for number in range(5):
        work(number)
finally:
    done.set()
""",
    "numpy": """
import numpy
assert (numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum() == 300 ** 3
assert len(os.listdir("/proc/self/task")) > 1 or len(os.sched_getaffinity(0)) == 1
work(1)
""",
    "much memory": """
# None of its pages becomes a copy's: after a fork each one faults when it is written to.
import mmap, resource
PAGES = 16_384
memory = mmap.mmap(-1, PAGES * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in range(PAGES):
        memory[page * mmap.PAGESIZE] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
assert faults() >= PAGES
for options in DIRECT, ALL, STAGES:
    work(1, options)
    assert faults() < PAGES // 10, options
pid = os.fork()
if pid == 0:
    os._exit(0)
assert faults() >= PAGES, "this shows copies"
os.waitpid(pid, 0)
""",
    "handlers that interrupt": """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for number in range(20):
    work(number, DIRECT)
signal.setitimer(signal.ITIMER_REAL, 0)
""",
    "a handler that kills while its thread waits": """
process = Popen(["sleep", "1000"], DIRECT, stdout=PIPE)
signal.signal(signal.SIGALRM, lambda *_: process.kill())
for wait in process.wait, lambda: process.wait(20):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with process:
        assert wait() == -signal.SIGKILL
    process = Popen(["sleep", "1000"], DIRECT, stdout=PIPE)
signal.setitimer(signal.ITIMER_REAL, 0.05)
with process:
    assert process.communicate() == (b"", None)
""",
    "SIGCHLD is ignored": """
if not KEEPS_STATUS:
    sys.exit()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for options in PLAIN, DIRECT, STAGES:
    for status in 0, 7:
        assert run(f"exit {status}", options, shell=True).returncode == status
    with Popen(["sleep", "1000"], options) as process:
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
""",
    "beside subprocess": """
with ThreadPoolExecutor(4) as pool:
    theirs = [pool.submit(subprocess.run, ["true"]) for _ in range(50)]
    ours = [pool.submit(run, ["true"], DIRECT) for _ in range(50)]
    assert {future.result().returncode for future in theirs + ours} == {0}
""",
    "two threads of one process": """
# One writes, one reads, one waits.
with Popen(["cat"], DIRECT, stdin=PIPE, stdout=PIPE) as process, ThreadPoolExecutor(3) as pool:
    read = pool.submit(process.stdout.read)
    status = pool.submit(process.wait)
    data = os.urandom(1 << 20)
    process.stdin.write(data)
    process.stdin.close()
    assert read.result() == data and status.result() == 0
""",
}


def run(body: str, *wrapper: str | Path) -> None:
    done = subprocess.run(
        [*wrapper, sys.executable, "-W", "error", "-c", PRELUDE + body + "\nnothing_left()\n"],
        env={**os.environ, "PYTHONPATH": launching.PYTHONPATH},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# The quick run leaves out what test_any_parent.py has as well.
_OTHERS = ("numpy", "much memory", "beside subprocess", "two threads of one process")


@pytest.mark.parametrize(
    "caller", some(CALLERS, *(c for c in CALLERS if c not in _OTHERS)), ids=str
)
def test_it_starts_processes(caller: str) -> None:
    run(CALLERS[caller])


@as_root
def test_pid_1_of_a_container_starts_processes() -> None:
    """Orphans become its children; they are not taken for what it has started."""
    body = """
assert os.getpid() == 1
for number in range(5):
    work(number)
script = "setsid sh -c 'sleep 0.1; exit 7' & exit 3"
assert run(script, PLAIN, shell=True).returncode == 3
pid, status = os.waitpid(-1, 0)
assert os.waitstatus_to_exitcode(status) == 7
"""
    run(body, needs("unshare", package="util-linux"), "--pid", "--fork", "--mount-proc")


NESTED = """
from pathlib import Path
depth = int(sys.argv[1]) if len(sys.argv) > 1 else 0
if depth < 5:
    words = [sys.executable, "-W", "error", __file__, str(depth + 1)]
    env = {**os.environ}
    said = check_output(words, Options(new="user,pid,mnt,net"), env=env, text=True)
    print(f"{depth}:{os.getpid()}", said, end="")
else:
    work(1, Options(new="user,pid,mnt"))
    print(f"{depth}:{os.getpid()}")
"""


def test_one_is_started_inside_another_five_deep(tmp_path: Path) -> None:
    script = tmp_path / "nested.py"
    script.write_text(PRELUDE + NESTED)
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        env={**os.environ, "PYTHONPATH": launching.PYTHONPATH},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    below_an_init = "2"
    found = [word.partition(":")[2] for word in done.stdout.split()]
    assert found[1:] == [below_an_init] * 5


def test_a_user_starts_processes() -> None:
    for caller in ("16 threads at once", "numpy"):
        words = ["env", f"PYTHONPATH={launching.PYTHONPATH}", sys.executable, "-W", "error", "-c"]
        script = PRELUDE + CALLERS[caller] + "\nnothing_left()\n"
        done = rootless.as_user([*words, script])
        assert (done.returncode, done.stderr) == (0, "")
