"""Any parent can start a process: one with threads, a large one, one with unusual settings.

Each parent is a Python process of its own, so that they do not disturb each other. It starts a
process in a new namespace of each kind, once a Program and once a PythonInit, and checks the
promises of launching.py. At the end it has no more children, descriptors and threads than before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import launching
import rootless
from needs import needs
from nsenter.bootstrap import BootstrapData
from nsenter.launch import launch
from nsenter.namespaces import NamespaceType
from sweeps import some

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")

PRELUDE = """
import contextlib, errno, os, signal, sys, threading, time
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
import inside
from isolations import KEEPS_STATUS
from launching import *
from processes import children_of, wait_until

def go(count=1):
    for case in of_each_target(Case(name="all", new=KINDS), Case(name="user", new=("user",))):
        for _ in range(count):
            bad = broken(case, outcome(case))
            assert not bad, bad

def kept():
    links = inside.descriptors().values()
    ours = "/memfd:ns", "/dev/shm/nsenter-", "/proc/"
    return sorted(link for link in links if not link.startswith(ours))

@contextlib.contextmanager
def nothing_left():
    before = kept()
    yield
    assert kept() == before, (before, kept())
    assert not children_of(), children_of()

"""

PARENTS = {
    "plain": """
with nothing_left():
    go()
""",
    "eight threads": """
done = threading.Event()
def work():
    while not done.wait(0.0001):
        sum(range(1000))
busy = [threading.Thread(target=work) for _ in range(8)]
for thread in busy:
    thread.start()
assert inside.read()["threads"] == 9
try:
    with nothing_left():
        go()
finally:
    done.set()
""",
    "from a thread that is not the main one": """
with nothing_left(), ThreadPoolExecutor(1) as pool:
    pool.submit(go).result()
""",
    "numpy": """
import numpy
assert numpy.ones((300, 300)) @ numpy.ones((300, 300)) is not None
with nothing_left():
    go()
""",
    "asyncio": """
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    for _ in range(2):  # with the loop's watcher of children at work
        other = await asyncio.create_subprocess_exec("true")
        slow = asyncio.create_task(asyncio.create_subprocess_exec("sleep", "0.1"))
        await asyncio.gather(*(loop.run_in_executor(None, go) for _ in range(3)))
        go()
        assert await other.wait() == 0
        assert await (await slow).wait() == 0
asyncio.run(main())
with nothing_left():
    pass
""",
    "much memory": """
memory = bytearray(1 << 28)
memory[:: 4096] = bytes([1]) * len(memory[:: 4096])
assert int(Path("/proc/self/statm").read_text().split()[1]) * 4096 > 1 << 28
with nothing_left():
    go()
del memory
""",
    "16 at once": """
gate = threading.Barrier(16)
def one(_):
    gate.wait()
    go()
with nothing_left():
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(16)))
""",
    "forks": """
go()
pid = os.fork()
if pid == 0:
    try:
        with nothing_left():
            go()
        os._exit(0)
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
with nothing_left():
    go()
""",
    "SIGCHLD ignored": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with nothing_left():
    for new in (), KINDS:
        with launch(message(new), SLEEP) as child:
            assert inside.read(child.pid)["pids"][0] == child.pid
        child = launch(message(new), Program(["sh", "-c", "exit 3"]))
        try:
            assert child.wait(20) == 3 and KEEPS_STATUS
        except ChildProcessError:
            assert not KEEPS_STATUS
        finally:
            child.close()
        try:
            launch(message(new), Program(["/no/such"]))
        except BootstrapError as error:
            assert (error.operation, error.errno) == ("execve", errno.ENOENT), error
    wait_until(lambda: not children_of())  # nobody can wait for them
""",
    "SIGCHLD handler and blocked signals": """
seen = []
signal.signal(signal.SIGCHLD, lambda *args: seen.append(args))
signal.signal(signal.SIGALRM, lambda *args: None)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
with nothing_left():
    go(3)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
with nothing_left():
    go()
assert seen
""",
    "somebody else waits for all children": """
stop = threading.Event()
def reap():
    while not stop.is_set():
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.0001)
reaper = threading.Thread(target=reap)
reaper.start()
try:
    for i in range(40):
        with launch(message(KINDS if i % 2 else ()), SLEEP) as child:
            assert inside.read(child.pid)["pids"][0] == child.pid
        try:
            launch(message(["user"]), Program(["/no/such"]))
        except BootstrapError as error:
            assert (error.operation, error.errno) == ("execve", errno.ENOENT), error
finally:
    stop.set()
    reaper.join()
with nothing_left():
    pass
""",
    "few descriptors": """
import resource
go()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
refused = worked = 0
highest = max(map(int, inside.descriptors()))
with nothing_left():
    for limit in range(3, highest + 20):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            for target in SLEEP, PythonInit("targets:echo"):
                launch(message(["user", "pid"]), target).__exit__()
            worked += 1
        except OSError as error:
            assert error.errno == errno.EMFILE, error
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
assert refused > 3 and worked > 3, (refused, worked)
""",
    "many descriptors": """
fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(900)]
for fd in fds:
    os.set_inheritable(fd, True)
with nothing_left():
    go()
""",
    "a subreaper": """
import ctypes
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
with nothing_left():
    go()
""",
    "not dumpable": """
import ctypes
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
with nothing_left():
    go()
""",
    "started 200 times": """
with nothing_left():
    for i in range(200):
        with launch(message(["user"]), Program(["true"])) as child:
            assert child.wait(20) == 0
""",
}


def run(body: str, *wrapper: str | Path, **options: Any) -> None:
    done = subprocess.run(
        [*wrapper, sys.executable, "-W", "error", "-c", PRELUDE + body],
        env={**os.environ, "PYTHONPATH": launching.PYTHONPATH},
        **{"capture_output": True, "text": True, "timeout": 300, "check": False} | options,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


# The quick run leaves out what test_threads.py has as well, or another parent in other words.
_OTHERS = (
    "from a thread that is not the main one", "many descriptors", "not dumpable", "SIGCHLD ignored",
    "started 200 times", "eight threads",
)  # fmt: skip


@pytest.mark.parametrize(
    "parent", some(PARENTS, *(p for p in PARENTS if p not in _OTHERS)), ids=str
)
def test_it_starts_processes(parent: str) -> None:
    run(PARENTS[parent])


PID_1 = """
assert os.getpid() == 1
with nothing_left():
    go()
"""
# A /proc that does not know the caller: what is read of it would be another's.
PID_1_WITHOUT_PROC = """
assert os.getpid() == 1
for new in (), ["pid"], ALL_BUT_USER:
    with launch(message(new), SLEEP) as child:
        assert child.poll() is None
    with launch(message(new), PythonInit("targets:leave", args=[3])) as child:
        assert child.wait(20) == 3
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    pass
else:
    raise AssertionError("a process is left")
"""


@as_root
def test_pid_1_starts_processes() -> None:
    unshare = needs("unshare", package="util-linux")
    run(PID_1, unshare, "--pid", "--fork", "--kill-child", "--mount-proc")


@as_root
def test_pid_1_starts_processes_with_the_hosts_proc() -> None:
    run(PID_1_WITHOUT_PROC, needs("unshare", package="util-linux"), "--pid", "--fork")


STRANGER = """
Path("/proc/sys/kernel/ns_last_pid").write_text("{last}")
try:
    launch(message(["user"]), SLEEP, trace={trace}).__exit__()
except BootstrapError:
    pass
"""


@as_root
@pytest.mark.parametrize(("trace", "before"), [(False, 1), (True, 2)], ids=["direct", "stages"])
def test_a_stranger_with_the_same_number_in_the_hosts_proc_is_given_no_maps(
    trace: bool, before: int
) -> None:
    """Where /proc is of another pid namespace, /proc/PID is not the process that was started."""
    unshare = needs("unshare", package="util-linux")
    unmapped = BootstrapData(clone_flags=NamespaceType.NEWUSER.clone_flag)
    with launch(unmapped, launching.SLEEP) as stranger:
        # Started directly it has the next number, by the stages that behind stage 0's.
        script = STRANGER.format(last=stranger.pid - before, trace=trace)
        run(script, unshare, "--pid", "--fork")
        assert Path(f"/proc/{stranger.pid}/uid_map").read_text() == ""


@as_root
def test_a_user_with_threads_starts_processes() -> None:
    words = ["env", f"PYTHONPATH={launching.PYTHONPATH}", sys.executable, "-W", "error", "-c"]
    for parent in "eight threads", "numpy":
        done = rootless.as_user([*words, PRELUDE + PARENTS[parent]])
        assert (done.returncode, done.stderr) == (0, "")
