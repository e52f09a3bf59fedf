"""create_subprocess_exec and create_subprocess_shell return an asyncio Process in namespaces.

They require no child watcher, and the loop continues while a process is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

import pytest

import inside
import launching
from isolations import ALL, DIRECT, KEEPS_STATUS, PLAIN, STAGES, each_way
from nsenter import create_subprocess_exec, create_subprocess_shell
from nsenter._launch.child import Child
from nsenter.asyncio_process import Process
from nsenter.errors import BootstrapError
from nsenter.options import Options

SECONDS = 20.0
MEGABYTES = 4 << 20


def go(main: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a new loop that says what it thinks is slow or wrong."""
    return asyncio.run(asyncio.wait_for(main, 60), debug=False)


async def with_end(process: Process) -> int:
    process.kill()
    return await process.wait()


# ---- what it is


@each_way
def test_it_is_an_asyncio_process(options: Options) -> None:
    async def main() -> None:
        process = await create_subprocess_exec("sh", "-c", "exit 3", options=options)
        assert isinstance(process, asyncio.subprocess.Process)
        assert repr(process) == f"<Process {process.pid}>"
        assert process.stdin is process.stdout is process.stderr is None
        assert await process.wait() == await process.wait() == process.returncode == 3

    go(main())


def test_it_is_in_the_namespaces_of_its_options() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("sleep", "1000", options=ALL)
        here, there = inside.namespaces(), inside.namespaces(process.pid)
        assert process.returncode is None
        assert await with_end(process) == -signal.SIGKILL
        assert not set(here.values()) & set(there.values())

    go(main())


def test_another_joins_its_namespaces() -> None:
    async def main() -> None:
        first = await create_subprocess_exec("sleep", "1000", options=STAGES)
        words = ("readlink", "/proc/self/ns/uts")
        second = await create_subprocess_exec(*words, options=Options(join=first), stdout=PIPE)
        said, _ = await second.communicate()
        assert said.decode().strip() == inside.namespaces(first.pid)["uts"]
        await with_end(first)
        assert first.pidfd == -1

    go(main())


def test_a_command_of_the_shell() -> None:
    async def main() -> None:
        words: dict[str, Any] = {"env": {"A": "1"}, "cwd": "/usr", "stdout": PIPE}
        process = await create_subprocess_shell("echo $A $PWD; exit 2", DIRECT, **words)
        assert await process.communicate() == (b"1 /usr\n", None)
        assert process.returncode == 2

    go(main())


# ---- streams


@each_way
def test_megabytes_go_both_ways_at_once(options: Options) -> None:
    async def main() -> None:
        data = os.urandom(MEGABYTES)
        streams = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
        process = await create_subprocess_shell("tee /dev/stderr", options, **streams)
        assert await process.communicate(data) == (data, data)
        assert process.returncode == 0

    go(main())


def test_streams_are_read_and_written_by_lines() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("cat", options=DIRECT, stdin=PIPE, stdout=PIPE)
        assert process.stdin and process.stdout
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            await process.stdin.drain()
            assert await process.stdout.readline() == line
        process.stdin.close()
        await process.stdin.wait_closed()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    go(main())


def test_limit_is_what_a_reader_buffers() -> None:
    async def main() -> None:
        said = "printf 'a line that is too long\\n'"
        process = await create_subprocess_shell(said, DIRECT, stdout=PIPE, limit=8)
        assert process.stdout
        with pytest.raises(ValueError, match="chunk is longer than limit"):
            await process.stdout.readline()
        await process.communicate()

    go(main())


def test_other_streams_are_as_for_popen(tmp_path: Path) -> None:
    async def main() -> None:
        with (tmp_path / "out").open("wb") as out:
            process = await create_subprocess_shell(
                "cat; echo err >&2", DIRECT, stdin=DEVNULL, stdout=out, stderr=STDOUT
            )
            assert await process.wait() == 0
        assert (tmp_path / "out").read_bytes() == b"err\n"

    go(main())


def test_a_program_that_does_not_read_breaks_nothing() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("true", options=DIRECT, stdin=PIPE)
        assert await process.communicate(b"x" * MEGABYTES) == (None, None)
        assert process.returncode == 0

    go(main())


def test_a_status_comes_though_another_has_the_pipe() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("sleep 1000 & echo $!", PLAIN, stdout=PIPE)
        assert process.stdout
        other = int(await process.stdout.readline())
        while process.returncode is None:
            await asyncio.sleep(0.01)
        os.kill(other, signal.SIGKILL)
        assert await process.stdout.read() == b""
        assert await process.wait() == process.returncode == 0

    go(main())


# ---- signals and time


def test_signals_reach_it() -> None:
    async def main() -> None:
        for send, number in (
            (Process.terminate, signal.SIGTERM),
            (Process.kill, signal.SIGKILL),
            (lambda process: process.send_signal(signal.SIGUSR1), signal.SIGUSR1),
        ):
            process = await create_subprocess_exec("sleep", "1000", options=PLAIN)
            send(process)
            assert await process.wait() == -number
            with pytest.raises(ProcessLookupError):
                send(process)

    go(main())


def test_a_wait_that_is_given_up_can_be_taken_up() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("cat", options=DIRECT, stdin=PIPE)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(process.wait(), 0.02)
        assert process.stdin
        process.stdin.close()
        assert await process.wait() == 0

    go(main())


def test_many_wait_for_one() -> None:
    async def main() -> None:
        process = await create_subprocess_exec("sleep", "0.05", options=DIRECT)
        assert await asyncio.gather(*(process.wait() for _ in range(10))) == [0] * 10

    go(main())


def test_a_status_that_another_has_taken_is_told_all_the_same() -> None:
    async def main() -> None:
        process = await create_subprocess_shell("sleep 0.1; exit 5", PLAIN)
        os.waitpid(process.pid, 0)
        assert await process.wait() == (5 if KEEPS_STATUS else 255)

    go(main())


# ---- failing


@each_way
def test_a_start_that_fails_says_so(options: Options) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError) as caught:
            await create_subprocess_exec("/no/such", options=options, stdin=PIPE, stdout=PIPE)
        assert isinstance(caught.value, BootstrapError)
        assert caught.value.filename == "/no/such"

    go(main())


@pytest.mark.parametrize(
    "argument", [{"text": True}, {"encoding": "utf-8"}, {"bufsize": 1}, {"errors": "strict"}]
)
def test_text_is_refused(argument: dict[str, Any]) -> None:
    name = next(iter(argument))
    with pytest.raises(ValueError, match=f"{name}: the streams of asyncio are bytes"):
        go(create_subprocess_exec("true", **argument))


def test_a_list_is_no_command() -> None:
    words: Any = ["echo", "a"]
    with pytest.raises(TypeError, match="expected a string, which is the shell's to split"):
        go(create_subprocess_shell(words))


def test_what_popen_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="preexec_fn="):
        go(create_subprocess_exec("true", preexec_fn=print))  # type: ignore[call-arg]


def test_one_more_descriptor_than_there_are() -> None:
    script = """
import asyncio, os, resource
from subprocess import PIPE
from nsenter import create_subprocess_exec
async def main():
    for _ in range(2):
        await (await create_subprocess_exec("true", stdout=PIPE)).communicate()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused = 0
    for more in range(10):
        before = sorted(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[-2] + 1 + more, hard))
        try:
            process = await create_subprocess_exec("true", stdin=PIPE, stdout=PIPE)
        except OSError as error:
            assert error.errno == 24, error
            refused += 1
        else:
            await process.communicate()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1000):  # the loop closes what is left in its own time
            if sorted(map(int, os.listdir("/proc/self/fd"))) == before:
                break
            await asyncio.sleep(0.01)
        assert sorted(map(int, os.listdir("/proc/self/fd"))) == before
    assert 4 < refused < 10, refused
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        print("no child")
asyncio.run(main())
"""
    words = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.stdout, done.stderr) == ("no child\n", "")


# ---- giving up


def test_a_start_that_is_cancelled_leaves_no_process() -> None:
    """At whatever moment; the tests' own fixture looks for what is left."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for step in range(40):
            words: dict[str, Any] = {"options": ALL, "stdin": PIPE, "stdout": PIPE}
            task = loop.create_task(create_subprocess_exec("sleep", "1000", **words))
            await asyncio.sleep(step * 0.0001)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await with_end(await task)

    go(main())


def test_a_task_that_is_cancelled_can_kill_and_wait() -> None:
    async def work(started: asyncio.Event) -> None:
        process = await create_subprocess_exec("sleep", "1000", options=DIRECT)
        try:
            started.set()
            await process.wait()
        finally:
            assert await with_end(process) == -signal.SIGKILL

    async def main() -> None:
        started = asyncio.Event()
        async with asyncio.TaskGroup() as group:  # nobody waits for one that has failed
            task = group.create_task(work(started))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    go(main())


def test_one_that_is_left_when_its_loop_ends_is_killed_and_warned_of() -> None:
    script = """
import asyncio, contextlib, gc, os
from subprocess import PIPE
from nsenter import create_subprocess_exec, run
async def main():
    return (await create_subprocess_exec("sleep", "1000", stdout=PIPE)).pid
pid = asyncio.run(main())
gc.collect()
with contextlib.suppress(ChildProcessError):  # it was so fast that it is reaped already
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
run(["true"])  # which reaps what was left
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print(sorted(map(int, os.listdir("/proc/self/fd")))[:-1])
"""
    words = [sys.executable, "-W", "always", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert "ResourceWarning: unclosed transport <_Transport" in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stdout == "[0, 1, 2]\n"


# ---- loops


def test_the_loop_of_any_thread_will_do() -> None:
    told: list[int] = []

    async def main() -> None:
        process = await create_subprocess_shell("exit 9", DIRECT, stdout=PIPE)
        await process.communicate()
        told.append(await process.wait())

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [9] * 4


def test_no_process_starts_in_the_loops_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start takes a millisecond or more, in which the loop goes on."""
    launch, threads = Options.launch, set()

    def noted(self: Options, *arguments: Any, **more: Any) -> Child:
        threads.add(threading.get_ident())
        return launch(self, *arguments, **more)

    async def one() -> None:
        await (await create_subprocess_exec("true", options=STAGES)).wait()

    async def main() -> None:
        await asyncio.gather(*(one() for _ in range(10)))

    monkeypatch.setattr(Options, "launch", noted)
    go(main())
    assert threads
    assert threading.get_ident() not in threads


def test_500_at_once() -> None:
    script = """
import asyncio, os, resource
from subprocess import PIPE
from isolations import ALL
from nsenter import create_subprocess_exec
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
alive = most = 0
async def one(number):
    global alive, most
    process = await create_subprocess_exec("cat", options=ALL, stdin=PIPE, stdout=PIPE)
    alive += 1
    most = max(most, alive)
    if alive == 500:
        gate.set()
    await gate.wait()
    data = b"%d " % number * 1000
    assert await process.communicate(data) == (data, None)
    assert process.returncode == 0
async def main():
    global gate
    asyncio.get_running_loop().slow_callback_duration = 60  # told of in -X dev; machines are busy
    gate = asyncio.Event()
    await asyncio.gather(*map(one, range(500)))
asyncio.run(main())
assert most == 500
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("no child", len(os.listdir("/proc/self/fd")) < 10)
"""
    env = {**os.environ, "PYTHONPATH": launching.PYTHONPATH}
    words = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env, timeout=300)
    assert (done.stdout, done.stderr) == ("no child True\n", "")
