"""Thousands of launches leave nothing: no descriptor, no zombie, no namespace, no memory.

The caller is a Python process in a user namespace that may have only a few namespaces at a time. If
every twentieth launch left one, the kernel would refuse the next.
"""

from __future__ import annotations

import os
import sys

import pytest

import launching
from nsenter.options import Options
from nsenter.popen import run

AT_ONCE = 200  # namespaces of a kind

SCRIPT = """
import asyncio, errno, gc, os, sys, time
from itertools import cycle, islice
from pathlib import Path
from subprocess import PIPE
from nsenter import Popen, create_subprocess_exec, run
from nsenter.options import Options

launches, at_once = map(int, sys.argv[1:])
for kind in "user", "pid", "mnt", "ipc", "uts":
    Path(f"/proc/sys/user/max_{kind}_namespaces").write_text(str(at_once))

direct = Options(new="pid,mnt,ipc,uts")
stages = Options(new="user,pid,mnt,ipc,uts")

def ends(options):
    assert run(["true"], options).returncode == 0

def talks(options):
    assert run(["cat"], options, input=b"x", capture_output=True).stdout == b"x"

def fails(options):
    try:
        run(["/no/such"], options, capture_output=True)
    except FileNotFoundError:
        return
    raise AssertionError("it was started")

def is_killed(options):
    with Popen(["sleep", "1000"], options, stdin=PIPE, stdout=PIPE) as process:
        process.kill()

def is_no_block(options):
    process = Popen(["true"], options, stderr=PIPE, text=True)
    process.stderr.close()
    process.wait()

def patiently(life, options):
    # What has ended is taken down by the kernel a moment later; what is left, never.
    deadline = time.monotonic() + 60
    while True:
        try:
            return life(options)
        except OSError as error:
            if error.errno != errno.ENOSPC or time.monotonic() > deadline:
                raise
            time.sleep(0.02)

async def talk():
    process = await create_subprocess_exec("cat", options=direct, stdin=PIPE, stdout=PIPE)
    assert await process.communicate(b"x") == (b"x", None)

def in_a_loop(options):
    with asyncio.Runner() as runner:
        for _ in range(20):
            patiently(lambda _: runner.run(talk()), options)

def launch(count):
    lives = ends, talks, fails, is_killed, is_no_block
    for _ in range(count // 200):
        in_a_loop(direct)
    kinds = cycle([direct] * 8 + [stages])
    for life, options in zip(islice(cycle(lives), count - count // 10), kinds):
        patiently(life, options)

def counted():
    gc.collect()
    page = os.sysconf("SC_PAGE_SIZE")
    here = Path("/proc/self/fd").iterdir()
    return {
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * page,
        "descriptors": sorted(os.readlink(fd) for fd in here if os.path.exists(fd)),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }

launch(launches // 5)
before = counted()
launch(launches)
after = counted()
deadline = time.monotonic() + 60
while after["threads"] > before["threads"] and time.monotonic() < deadline:
    time.sleep(0.01)  # one that was joined is there a moment longer
    after = counted()
grown = after.pop("memory") - before.pop("memory")
assert after == before, (before, after)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(grown)
"""


@pytest.mark.parametrize("launches", [400, pytest.param(5000, marks=pytest.mark.sweep)])
def test_nothing_is_left_of_thousands_of_launches(launches: int) -> None:
    words = [sys.executable, "-W", "error", "-c", SCRIPT, str(launches), str(AT_ONCE)]
    env = {**os.environ, "PYTHONPATH": launching.PYTHONPATH}
    options = Options(new="user,mnt")
    done = run(words, options, env=env, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 1 << 20, "bytes that it has grown by"
