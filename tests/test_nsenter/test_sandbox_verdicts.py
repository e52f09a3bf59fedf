"""Why a run in a sandbox ended is told truly, and nothing that it started outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nsenter
from launching import SECONDS
from nsenter import Result, RunFailed, Sandbox, Verdict

# Each runs until it is killed, or nearly; a test must not hang if the kill is what is broken.
LONG = 60.0
TASKS = Path("/proc/self/task")


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


ENDS: dict[str, tuple[list[str], Verdict, int]] = {
    "success": (["true"], Verdict.EXITED, 0),
    "failure": (["sh", "-c", "exit 3"], Verdict.EXITED, 3),
    "the status of a signal, by exit": (["sh", "-c", "exit 137"], Verdict.EXITED, 137),
    "signal": (["sh", "-c", "kill -9 $$"], Verdict.SIGNALLED, -signal.SIGKILL),
    "abort": (python("import os; os.abort()"), Verdict.SIGNALLED, -signal.SIGABRT),
    "filter": (["sh", "-c", "kill -SYS $$"], Verdict.DENIED, -signal.SIGSYS),
    # The init passes SIGTERM on, to a program that ignores it.
    "signals for the init": (
        ["sh", "-c", "trap '' TERM; kill -9 1; kill 1; exit 4"],
        Verdict.EXITED,
        4,
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_verdict_says_how_a_program_ended(name: str) -> None:
    args, verdict, returncode = ENDS[name]
    with Sandbox(timeout=LONG) as box:
        result = box.run(args)
    assert (result.verdict, result.returncode) == (verdict, returncode)
    assert result.ok == (name == "success")


@pytest.mark.parametrize("args", [["/no/such"], ["no-such"], ["/etc"], ["/proc/self/environ"]])
def test_a_program_that_cannot_be_executed_is_not_started(args: list[str]) -> None:
    with Sandbox() as box:
        result = box.run(args)
        assert result.verdict is Verdict.NOT_STARTED
        assert (result.returncode, result.usage, result.stdout) == (None, None, b"")
        assert args[0] in str(result.error)
        with pytest.raises(RunFailed, match="not_started"):
            result.check()
        assert box.run(["true"]).check().ok


def test_a_result_can_be_checked() -> None:
    with Sandbox() as box:
        with pytest.raises(RunFailed, match=r"exited, returncode 5") as caught:
            box.run(["sh", "-c", "exit 5"]).check()
        assert caught.value.result.returncode == 5


def out_of_time(args: list[str], *, says: str) -> Result:
    """What comes of a program that says something on a stream, and ends at its deadline.

    The deadline is the first of some within which this machine gets to that.
    """
    with Sandbox() as box:
        for seconds in (0.5, 4.0, 30.0):
            result = box.run(args, timeout=seconds)
            if getattr(result, says):
                break
    return result


def test_the_output_until_the_deadline_is_kept() -> None:
    script = "echo before; echo wrong >&2; sleep 1000"
    result = out_of_time(["sh", "-c", script], says="stderr")
    assert result.verdict is Verdict.TIMEOUT
    assert (result.stdout, result.stderr) == (b"before\n", b"wrong\n")


DAEMON = """
import os, signal, sys, time
sys.stdout.write("main\\n"); sys.stdout.flush()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.write(1, b"daemon\\n")
        time.sleep(1000)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("rest", ["", "\ntime.sleep(1000)"], ids=["it exits", "it is killed"])
def test_a_daemon_does_not_outlive_the_run(rest: str) -> None:
    if rest:
        result = out_of_time(python(DAEMON + rest), says="stdout")
    else:
        with Sandbox() as box:
            result = box.run(python(DAEMON), timeout=LONG)
    assert result.verdict is (Verdict.TIMEOUT if rest else Verdict.EXITED)
    # The run has ended although the daemon held the pipe of the output open.
    assert result.stdout.startswith(b"main\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_limit_of_output_is_exact(stream: str, more: int) -> None:
    limit = 100_000
    code = f"import sys; sys.{stream}.write('x' * {limit + more})"
    with Sandbox(timeout=LONG) as box:
        result = box.run(python(code), output_limit=limit)
    is_over = more > 0
    assert result.verdict is (Verdict.OUTPUT_LIMIT if is_over else Verdict.EXITED)
    assert len(getattr(result, stream)) == limit + min(more, 0)


def test_the_limit_of_output_is_that_of_both_streams() -> None:
    code = "import os\nwhile True: os.write(1, b'a' * 50); os.write(2, b'b' * 50)"
    with Sandbox(timeout=LONG, output_limit="64K") as box:
        result = box.run(python(code))
    assert result.verdict is Verdict.OUTPUT_LIMIT
    assert len(result.stdout) + len(result.stderr) == 1 << 16
    assert result.returncode == -signal.SIGKILL


def test_no_output_may_be_allowed() -> None:
    with Sandbox(timeout=LONG, output_limit=0) as box:
        assert box.run(["true"]).ok
        assert box.run(["echo"]).verdict is Verdict.OUTPUT_LIMIT


def test_input_of_any_size_is_read_or_not() -> None:
    data = os.urandom(1 << 20)
    with Sandbox(timeout=LONG) as box:
        assert box.run(["cat"], input=data).stdout == data
        assert box.run(["cat"]).stdout == b""
        assert box.run(["true"], input=data).ok
        assert box.run(["head", "-c", "3"], input=data).stdout == data[:3]


def test_a_program_has_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "hidden")
    with Sandbox() as box:
        assert b"hidden" not in box.run(["env"]).check().stdout
        assert box.run(["env"], env={"A": "b"}).stdout == b"A=b\n"
    with Sandbox(env={"C": "d"}) as box:
        assert box.run(["env"]).stdout == b"C=d\n"
        assert box.run(["pwd"], cwd="/tmp").stdout == b"/tmp\n"


def test_a_run_takes_no_thread() -> None:
    with Sandbox() as box:
        box.run(["true"])  # a thread that stays starts processes that end with the caller
        threads, tasks = {*threading.enumerate()}, {*TASKS.iterdir()}
        results = [box.run(["sh", "-c", "ls /proc; sleep 0.01"]) for _ in range(3)]
        assert all(result.ok for result in results)
        # Those of before may end meanwhile.
        assert {*threading.enumerate()} <= threads and {*TASKS.iterdir()} <= tasks


def test_many_threads_use_one_sandbox() -> None:
    outputs: list[bytes] = []

    def run(number: int) -> None:
        outputs.append(box.run(["echo", str(number)]).stdout)

    with Sandbox(timeout=LONG) as box:
        threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outputs) == sorted(b"%d\n" % n for n in range(8))


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"memory": "lots"}, TypeError, "memory must be a number of bytes, also as"),
        ({"memory": 0}, ValueError, "memory must be 1 … "),
        ({"swap": "1M"}, ValueError, "swap=1048576 requires a limit of memory"),
        ({"pids": 0}, ValueError, "pids must be 1 … 4194304, not 0"),
        ({"pids": "64"}, TypeError, "pids must be a number of processes, not '64'"),
        ({"pids": True}, TypeError, "pids must be a number of processes, not True"),
        ({"cpus": 0}, ValueError, "cpus must be 0.01 … 65536, not 0"),
        ({"cpus": float("nan")}, ValueError, "cpus must be 0.01 … 65536, not nan"),
        ({"cpus": [0]}, TypeError, "cpus must be a number of processors, such as 1.5"),
        ({"limits": "maybe"}, ValueError, 'limits must be "required" or "best effort", not'),
        ({"timeout": -1}, ValueError, "timeout must be at least 0 seconds, or None, not -1"),
        ({"timeout": "3"}, TypeError, "timeout must be seconds or None, not '3'"),
        ({"output_limit": "much"}, TypeError, "output_limit must be a number of bytes, also as"),
        ({"output_limit": -1}, ValueError, "output_limit must be at least 0 bytes, not -1"),
        ({"network": "some"}, ValueError, 'network must be "none" or "host", not \'some\''),
        ({"overlay": True}, ValueError, "overlay and workspace_size require a workspace"),
        ({"new": "user,mnt"}, ValueError, "a sandbox requires a new PID namespace"),
        ({"init": False}, ValueError, "init=False: a sandbox requires the init"),
        ({"terminal": True}, ValueError, "terminal=True: the streams of a sandbox are pipes"),
        ({"cgroup": "/x"}, ValueError, "options must have no limits and no cgroup"),
        ({"options": nsenter.Options(new="pid"), "uid": 1}, ValueError, "uid: options is given"),
        ({"options": "strict"}, TypeError, "options must be an nsenter.Options, not 'strict'"),
        ({"no_such": 1}, TypeError, "no_such"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused_before_anything_starts(
    arguments: dict[str, object], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        Sandbox(**arguments)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_a_bad_argument_of_a_run_is_refused() -> None:
    with Sandbox() as box:
        for arguments in ({"timeout": -1}, {"output_limit": "x"}, {"env": {"A=": "b"}}):
            with pytest.raises((TypeError, ValueError)):
                box.run(["true"], **arguments)  # type: ignore[arg-type]
        for args in ([], "true", ["a\0b"]):
            with pytest.raises((TypeError, ValueError)):
                box.run(args)
        assert box.run(["true"]).ok


def test_a_sandbox_can_be_opened_once_at_a_time() -> None:
    box = Sandbox()
    with box:
        with pytest.raises(ValueError, match="open already"):
            box.open()
        assert box.run(["true"]).ok
    box.close()
    with box:
        assert box.run(["true"]).ok


INTERRUPTED = """
import nsenter, os, signal, threading
main = threading.main_thread()
def interrupt():
    signal.pthread_kill(main.ident, signal.SIGINT)
with nsenter.Sandbox() as box:
    try:
        threading.Timer(0.3, interrupt).start()
        box.run(["sh", "-c", "sleep 1000"])
    except KeyboardInterrupt:
        print("interrupted")
children = open(f"/proc/self/task/{os.getpid()}/children").read()
print("children:", children.split())
"""


def test_an_interrupt_ends_the_run_and_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.stdout.split() == ["interrupted", "children:", "[]"], done.stderr


def test_a_function_is_called() -> None:
    with Sandbox(timeout=LONG) as box:
        assert box.call(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            box.call(divmod, 7, 0)
        assert box.call(os.getpid) == 2


# ---- asyncio


def test_asyncio_runs_programs_at_once() -> None:
    async def run_all(box: Sandbox) -> list[nsenter.Result]:
        args = [["echo", "one"], ["sh", "-c", "exit 3"], ["sleep", "1000"], ["cat"], ["/no/such"]]
        times = [2 if words[0] == "sleep" else LONG for words in args]
        runs = zip(args, times, strict=True)
        return await asyncio.gather(*(box.run_async(a, timeout=t, input=b"in") for a, t in runs))

    with Sandbox() as box:
        one, three, sleep, cat, missing = asyncio.run(run_all(box))
    assert one.check().stdout == b"one\n"
    assert (three.verdict, three.returncode) == (Verdict.EXITED, 3)
    assert sleep.verdict is Verdict.TIMEOUT
    assert cat.stdout == b"in"
    assert missing.verdict is Verdict.NOT_STARTED


def test_no_thread_waits_for_a_program_of_asyncio() -> None:
    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        seen = [asyncio.Event() for _ in range(3)]
        tasks = [
            asyncio.create_task(
                box.run_async(
                    ["sh", "-c", "echo up; sleep 1000"],
                    on_output=lambda stream, piece, event=event: event.set(),  # type: ignore[misc]
                )
            )
            for event in seen
        ]
        for event in seen:
            await asyncio.wait_for(event.wait(), SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with Sandbox() as box:
        asyncio.run(run())


def test_asyncio_limits_the_output() -> None:
    async def run() -> nsenter.Result:
        return await box.run_async(python("while True: print('x' * 99)"), output_limit="64K")

    with Sandbox(timeout=LONG) as box:
        result = asyncio.run(run())
    assert (result.verdict, len(result.stdout)) == (Verdict.OUTPUT_LIMIT, 1 << 16)


def test_a_task_that_is_cancelled_leaves_nothing() -> None:
    async def run() -> None:
        seen = asyncio.Event()
        started = box.run_async(
            ["sh", "-c", "echo up; sleep 1000"], on_output=lambda stream, piece: seen.set()
        )
        task = asyncio.create_task(started)
        await asyncio.wait_for(seen.wait(), SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for steps in range(6):  # at some point of the start
            early = asyncio.create_task(box.run_async(["sleep", "1000"]))
            for _ in range(steps):
                await asyncio.sleep(0)
            early.cancel()
            with pytest.raises(asyncio.CancelledError):
                await early

    with Sandbox() as box:
        asyncio.run(run())


def test_output_is_passed_on_as_it_comes() -> None:
    pieces: list[tuple[int, bytes]] = []
    script = "echo out; echo err >&2; read line; echo $line"
    with Sandbox(timeout=LONG) as box:
        result = box.run(
            ["sh", "-c", script], input=b"in\n", on_output=lambda *piece: pieces.append(piece)
        )
    assert (
        b"".join(piece for stream, piece in pieces if stream == 1) == result.stdout == b"out\nin\n"
    )
    told = {number: b"".join(piece for n, piece in pieces if n == number) for number in (1, 2)}
    assert told == {1: result.stdout, 2: result.stderr} == {1: b"out\nin\n", 2: b"err\n"}


def test_an_error_of_on_output_ends_the_run() -> None:
    def fail(stream: int, piece: bytes) -> None:
        raise ZeroDivisionError

    with Sandbox() as box:
        with pytest.raises(ZeroDivisionError):
            box.run(["sh", "-c", "echo; sleep 1000"], on_output=fail)
        with pytest.raises(ZeroDivisionError):
            asyncio.run(box.run_async(["sh", "-c", "echo; sleep 1000"], on_output=fail))
