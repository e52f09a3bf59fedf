"""The limits of a sandbox hold for the whole tree of processes, and leave no cgroup behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nsenter
import rootless
from nsenter import BootstrapError, Limits, Options, Sandbox, Verdict, presets
from nsenter._cgroups import limited
from nsenter._cgroups.layout import layout
from processes import runs, wait_until

LONG = 60.0
MIB = 1 << 20


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def trees() -> list[Path]:
    """The cgroups that this process has made and not removed."""
    roots = {hierarchy.mount_point for hierarchy in layout().all()}
    begin = f"nsenter-tree-{os.getpid()}-"
    # Others' cgroups come and go meanwhile, which Path.rglob() does not bear.
    folders = (Path(folder) for root in roots for folder, _, _ in os.walk(root))
    return [folder for folder in folders if folder.name.startswith(begin)]


@pytest.fixture(autouse=True)
def no_cgroup_is_left() -> Iterator[None]:
    assert trees() == []
    yield
    assert trees() == []


# ---- each limit

SEVERAL = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        block = bytearray(30 << 20)
        time.sleep(1000)
time.sleep(1000)
"""


def test_memory_is_that_of_all_processes_together() -> None:
    with Sandbox(memory="64M", timeout=LONG) as box:
        alone = box.run(python("block = bytearray(30 << 20)"))
        result = box.run(python(SEVERAL))
    assert alone.ok
    # With cgroup v1 the sandbox may kill them before the kernel does: it is told first.
    assert result.verdict is Verdict.OUT_OF_MEMORY
    assert result.usage is not None and result.usage.peak_memory is not None
    assert 60 * MIB < result.usage.peak_memory <= 64 * MIB


SACRIFICE = """
import os, sys
if os.fork() == 0:
    block = bytearray(1 << 30)
os.wait()
sys.exit(0)
"""


def test_a_process_that_outlives_the_one_that_was_killed_hides_nothing() -> None:
    with Sandbox(memory="32M", timeout=LONG) as box:
        assert box.run(python(SACRIFICE)).verdict is Verdict.OUT_OF_MEMORY


def test_a_file_system_in_memory_counts() -> None:
    with Sandbox(memory="32M", timeout=LONG, tmp_size="1G") as box:
        result = box.run(["dd", "if=/dev/zero", "of=/tmp/full", "bs=1M", "count=100"])
    assert result.verdict is Verdict.OUT_OF_MEMORY


# The input ends when the start is complete.
FORKS = """
import os, sys, time
sys.stdin.read()
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except OSError:
    print(made)
    raise
"""


@pytest.mark.parametrize("pids", [1, 2, 7])
def test_as_many_processes_as_the_limit_says(pids: int) -> None:
    with Sandbox(pids=pids, timeout=LONG) as box:
        assert box.run(["true"]).ok
        result = box.run(python(FORKS))
    assert result.verdict is Verdict.PIDS_LIMIT
    assert int(result.stdout) == pids - 1
    assert result.usage is not None and result.usage.refused_forks == 1


def test_a_program_that_copes_with_the_limit_of_processes_has_exited() -> None:
    code = FORKS.replace("    raise\n", "    os._exit(0)\n")
    with Sandbox(pids=3, timeout=LONG) as box:
        result = box.run(python(code))
    assert (result.verdict, result.returncode) == (Verdict.EXITED, 0)


def test_processors_are_shared_by_all_processes() -> None:
    code = "import os\nos.fork(); os.fork()\nwhile True: pass"
    with Sandbox(cpus=0.1, timeout=2) as box:
        result = box.run(python(code))
    assert result.verdict is Verdict.TIMEOUT
    assert result.usage is not None and result.usage.cpu_time is not None
    # At most one period more than the quota: a slow machine only lowers the figure.
    assert result.usage.cpu_time <= 0.1 * (result.wall_time + 0.5)


# ---- what was used

BURNING_DAEMON = """
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        block = bytearray(40 << 20)
        while time.process_time() < 0.3: pass
        os.write(writer, b"x")
        time.sleep(1000)
    os._exit(0)
os.wait()
os.read(reader, 1)
"""


def test_a_daemon_that_nobody_waited_for_counts() -> None:
    with Sandbox(memory="128M", timeout=LONG) as box:
        result = box.run(python(BURNING_DAEMON)).check()
    usage = result.usage
    assert usage is not None and usage.cpu_time is not None and usage.peak_memory is not None
    assert usage.cpu_time >= 0.3
    assert usage.peak_memory > 40 * MIB
    assert usage.peak_pids is not None and 3 <= usage.peak_pids <= 4


def test_the_peak_of_memory_is_not_the_callers() -> None:
    block = bytearray(200 * MIB)
    with Sandbox(memory="128M") as box:
        usage = box.run(["true"]).check().usage
    assert len(block) and usage is not None
    assert usage.peak_memory is not None and usage.peak_memory < 20 * MIB
    assert usage.max_rss is None


def test_without_limits_the_same_is_counted() -> None:
    with Sandbox(timeout=LONG) as box:
        result = box.run(python("block = bytearray(50 << 20)")).check()
    assert result.limited_by == {}
    assert result.usage is not None and result.usage.peak_memory is not None
    assert result.usage.peak_memory > 50 * MIB


# ---- nothing is left

FAILURES = {
    "a program that is missing": {"args": ["/no/such"]},
    "a program that is killed": {"args": ["sleep", "1000"], "timeout": 0.1},
    "a working directory that is missing": {"args": ["true"], "cwd": "/no/such"},
    "an environment that is none": {"args": ["true"], "env": {"": ""}},
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_run_that_fails_leaves_no_cgroup(name: str) -> None:
    with Sandbox(memory="64M", pids=8, cpus=1) as box:
        try:
            box.run(**FAILURES[name])  # type: ignore[arg-type]
        except ValueError:
            assert "environment" in name
        assert trees() == []


def test_many_runs_at_once_have_a_cgroup_each() -> None:
    results: list[nsenter.Result] = []
    with Sandbox(pids=2, memory="64M", timeout=LONG) as box:
        run = ["sh", "-c", "sleep 0.05; echo done"]
        threads = [threading.Thread(target=lambda: results.append(box.run(run))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [result.verdict for result in results] == [Verdict.EXITED] * 8


def test_the_fork_bomb_of_one_run_is_none_of_the_next() -> None:
    with Sandbox(pids=16, timeout=1) as box:
        for _ in range(3):
            bomb = box.run(python("import os\nwhile True:\n try: os.fork()\n except OSError: pass"))
            assert bomb.verdict is Verdict.TIMEOUT
            assert box.run(["sh", "-c", "true & true & wait"], timeout=LONG).ok


def test_what_a_caller_that_was_killed_has_left_is_removed_after_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with nsenter.Popen(["sleep", "1000"], Options(limits=Limits(pids=3))) as process:
        above = {path.parent for path in trees()}
        process.kill()
    name = f"nsenter-tree-1-{os.urandom(6).hex()}"
    made = [folder / f"{name}-{age}" for folder in above for age in ("old", "new")]
    try:
        for path in made:
            path.mkdir()
            if path.name.endswith("old"):
                os.utime(path, (0, 0))
        monkeypatch.setattr(limited, "_swept", set())
        assert nsenter.run(["true"], LIMITED).returncode == 0
        assert {path.name for path in made if path.exists()} == {f"{name}-new"}
    finally:
        for path in made:
            if path.exists():
                path.rmdir()


# ---- Options.limits, without a sandbox

LIMITED = Options(limits=Limits(memory="64M", pids=8))


def test_run_and_popen_have_limits() -> None:
    done = nsenter.run(python("bytearray(1 << 30)"), LIMITED, timeout=LONG)
    assert done.usage is not None and done.usage.oom_kills
    with nsenter.Popen(["true"], LIMITED) as process:
        process.wait()
    assert process.usage is not None and process.usage.oom_kills == 0


def test_what_a_process_leaves_in_its_cgroup_is_killed_when_it_is_waited_for() -> None:
    script = "sleep 1000 >/dev/null 2>&1 & echo $!"
    done = nsenter.run(["sh", "-c", script], LIMITED, stdout=subprocess.PIPE, timeout=LONG)
    wait_until(lambda: not runs(int(done.stdout)))


def test_asyncio_has_limits() -> None:
    async def run() -> nsenter.Usage | None:
        process = await nsenter.create_subprocess_exec("true", options=LIMITED)
        await process.wait()
        return process.usage

    usage = asyncio.run(run())
    assert usage is not None and usage.oom_kills == 0


def test_a_call_has_limits() -> None:
    options = presets.sandbox(limits=Limits(memory="128M", pids=16))
    assert nsenter.call(sum, [1, 2], options=options) == 3
    with pytest.raises(nsenter.WorkerDied):
        nsenter.call(bytearray, 1 << 30, options=options)


def test_limits_are_of_their_type_and_alone() -> None:
    with pytest.raises(TypeError, match=r"limits must be an nsenter\.Limits, not 5"):
        Options(limits=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limits and cgroup cannot both be given"):
        Options(limits=Limits(), cgroup="/sys/fs/cgroup")


# ---- the exceptions of run and call


def test_an_exception_about_the_end_of_a_program_says_why() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        nsenter.run(python("bytearray(1 << 30)"), LIMITED, check=True, timeout=LONG)
    assert getattr(failed.value, "verdict", None) is Verdict.OUT_OF_MEMORY
    assert getattr(failed.value, "usage").oom_kills  # noqa: B009  (typeshed has no such attribute)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        nsenter.run(["sh", "-c", "exit 3"], check=True)
    assert getattr(failed.value, "verdict", None) is Verdict.EXITED
    with pytest.raises(subprocess.TimeoutExpired) as late:
        nsenter.run(["sleep", "1000"], LIMITED, timeout=0.1)
    assert getattr(late.value, "verdict", None) is Verdict.TIMEOUT


def test_an_exception_about_the_end_of_a_call_says_why() -> None:
    with Sandbox(memory="128M", timeout=LONG) as box:
        with pytest.raises(nsenter.WorkerDied) as died:
            box.call(bytearray, 1 << 30)
        assert died.value.verdict is Verdict.OUT_OF_MEMORY
        assert died.value.usage is not None and died.value.usage.oom_kills
        with pytest.raises(nsenter.WorkerDied) as died:
            box.call(os._exit, 3)
        assert died.value.verdict is Verdict.EXITED
    with Sandbox(timeout=1) as box:
        with pytest.raises(TimeoutError) as late:
            box.call(time.sleep, 1000)
        assert getattr(late.value, "verdict", None) is Verdict.TIMEOUT
    with Sandbox(timeout=LONG) as box:
        with pytest.raises(TimeoutError) as own:
            box.call(raise_timeout)
        assert not hasattr(own.value, "verdict")


def raise_timeout() -> None:
    raise TimeoutError


# ---- where no cgroup can be made

AS_USER = """
import sys, nsenter
from nsenter import Sandbox
try:
    with Sandbox(memory="64M", pids=16, cpus=1): pass
except nsenter.BootstrapError as error:
    print(error)
with Sandbox(memory="200M", pids=16, cpus=1, limits="best effort", timeout=60) as box:
    result = box.run([sys.executable, "-I", "-S", "-c", "bytearray(1 << 30)"])
    print(result.limited_by, result.verdict, b"MemoryError" in result.stderr)
    forks = "import os, time\\nwhile True:\\n if os.fork() == 0: time.sleep(1000)"
    result = box.run([sys.executable, "-I", "-S", "-c", forks])
    print(result.verdict, result.returncode, b"BlockingIOError" in result.stderr)
    print(result.usage.peak_memory, result.usage.peak_pids, result.usage.oom_kills)
with Sandbox(timeout=60) as box:
    print(box.run(["true"]).ok)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without cgroups")
def test_a_user_without_cgroups_is_refused_or_gets_resource_limits() -> None:
    done = rootless.as_user([sys.executable, "-c", AS_USER])
    lines = done.stdout.splitlines()
    assert len(lines) == 5, done.stderr
    assert lines[0].startswith("launcher: limit memory=67108864, pids=16, cpus=1: no cgroup can be")
    assert "required=False" in lines[0]
    limited_by = "{'memory': 'rlimit', 'pids': 'rlimit', 'cpus': 'not limited'}"
    assert lines[1] == f"{limited_by} exited True"
    assert lines[2] == "exited 1 True"
    assert lines[3] == "None None None"
    assert lines[4] == "True"


def test_a_limit_that_cannot_be_set_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        limited, "legacy_files", lambda *_, **__: iter([("memory", [("memory.no_such", "1")])])
    )
    monkeypatch.setattr(limited, "unified_files", lambda *_, **__: iter([("memory.no_such", "1")]))
    with pytest.raises(BootstrapError, match=r"memory\.no_such") as caught:
        Sandbox(memory="64M").open()
    assert caught.value.stage == "launcher"
    with Sandbox(memory="1G", limits="best effort") as box:
        result = box.run(["true"])
    assert result.ok and result.limited_by == {"memory": "rlimit"}


@pytest.mark.parametrize(
    ("parent", "words"),
    [("/tmp", "the directory is not in"), ("{}/no/such", "No such file or directory")],
)
def test_a_parent_that_is_no_cgroup_is_refused(parent: str, words: str) -> None:
    v2 = layout().v2
    assert v2 is not None, "cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified"
    parent = parent.format(v2.mount_point)
    with pytest.raises(BootstrapError) as caught:
        nsenter.run(["true"], Options(limits=Limits(pids=3, parent=parent)))
    assert parent in str(caught.value)
    assert words in str(caught.value)
