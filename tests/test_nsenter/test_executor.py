"""NamespaceExecutor is an executor of concurrent.futures in namespaces; nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, CancelledError, wait
from pathlib import Path

import pytest

import call_targets
import nsenter
import roots
from links import children, descriptors
from nsenter._remote.call_bytes import SerializationError
from nsenter.executor import BrokenInitializer, BrokenWorker, NamespaceExecutor
from nsenter.options import Options
from processes import runs, wait_until
from rootless import as_user

PAYLOADS = Path(__file__).parents[1] / "payloads"
AS_ROOT = os.geteuid() == 0
SHARED = Options(new="user")  # pids are as the caller sees them


# ---- as an executor


def test_values_and_exceptions_come_as_of_any_executor() -> None:
    with NamespaceExecutor(2) as executor:
        futures = [executor.submit(call_targets.add, n, right=1) for n in range(20)]
        assert [future.result() for future in futures] == list(range(1, 21))
        assert list(executor.map(call_targets.add, range(5), range(5))) == [0, 2, 4, 6, 8]
        failed = executor.submit(call_targets.divide, 1, 0)
        assert isinstance(failed.exception(), ZeroDivisionError)
        assert "in divide" in str(failed.exception().__cause__)
        assert executor.submit(lambda: 5).result() == 5


def test_workers_stay_warm_and_are_as_many_as_allowed(tmp_path: Path) -> None:
    with NamespaceExecutor(2, SHARED) as executor:
        met = [executor.submit(call_targets.meet_and_tell_pid, str(tmp_path), 2) for _ in range(2)]
        pids = {call.result() for call in met}
        assert len(pids) == 2
        assert set(executor.map(call_targets.pid_and_sleep, [0.01] * 8)) <= pids
        assert {str(pid) for pid in pids} <= children()
        assert os.getpid() not in pids


def test_calls_run_at_once(tmp_path: Path) -> None:
    with NamespaceExecutor(4, SHARED) as executor:
        met = [executor.submit(call_targets.meet, str(tmp_path), str(n), 4) for n in range(4)]
        assert [future.result() for future in met] == [True] * 4


def test_a_worker_starts_when_it_is_needed() -> None:
    before = children()
    with NamespaceExecutor(8) as executor:
        assert children() == before
        for _ in range(5):
            executor.submit(call_targets.add, 1).result()
        assert len(children() - before) == 1


def test_it_serves_many_threads() -> None:
    sums: list[int] = []
    with NamespaceExecutor(2) as executor:

        def use() -> None:
            sums.append(sum(executor.map(call_targets.add, range(20))))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sums == [190] * 8


def test_asyncio_can_wait_for_it() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        with NamespaceExecutor(2) as executor:
            calls = [loop.run_in_executor(executor, call_targets.add, n) for n in range(10)]
            return await asyncio.gather(*calls)

    assert asyncio.run(main()) == list(range(10))


def test_what_cannot_travel_is_refused_when_it_is_submitted() -> None:
    with (
        NamespaceExecutor(1) as executor,
        pytest.raises(SerializationError, match=r"argument 1: a _thread\.lock"),
    ):
        executor.submit(call_targets.echo, threading.Lock())


@pytest.mark.parametrize("settings", [{"max_workers": 0}, {"max_tasks_per_child": 0}])
def test_bad_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        NamespaceExecutor(**settings)
    with pytest.raises(TypeError, match="unknown"):
        NamespaceExecutor(unknown=1)


def test_settings_of_a_call_are_taken() -> None:
    with NamespaceExecutor(1, trusted=True, env={"NAME": "given"}) as executor:
        assert executor.submit(lambda: call_targets.Thing(1)).result() == call_targets.Thing(1)
        assert executor.submit(call_targets.environment, "NAME").result() == "given"


def test_it_works_in_an_empty_root_of_somebody_else() -> None:
    with roots.held(roots.EMPTY, own_user=not AS_ROOT) as root:
        kinds = ("mnt",) if AS_ROOT else ("user", "mnt")
        options = Options(new="pid", join=dict.fromkeys(kinds, root.pid))
        with NamespaceExecutor(1, options) as executor:
            assert executor.submit(call_targets.names_of_root).result() == []
            assert executor.submit(call_targets.late_module).result() == "colorsys"


def test_an_unprivileged_user_can_have_one() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(PAYLOADS)!r}); import call_targets, nsenter\n"
        "with nsenter.NamespaceExecutor(2) as executor:\n"
        "    print(sum(executor.map(call_targets.add, range(50))))"
    )
    done = as_user([sys.executable, "-c", code])
    assert (done.stdout, done.stderr) == ("1225\n", "")


# ---- state


def test_state_stays_in_a_worker() -> None:
    with NamespaceExecutor(1) as executor:
        assert [executor.submit(call_targets.keep).result() for _ in range(3)] == [1, 2, 3]


def test_a_fresh_call_finds_none() -> None:
    with NamespaceExecutor(1, fresh=True) as executor:
        assert [executor.submit(call_targets.keep).result() for _ in range(3)] == [1, 1, 1]
        assert executor.submit(call_targets.late_module).result() == "colorsys"


@pytest.mark.parametrize("init", [False, True])
def test_a_fresh_call_leaves_no_process(init: bool) -> None:
    with NamespaceExecutor(1, Options(new="all", init=init), fresh=True) as executor:
        assert executor.submit(lambda: os.fork() and 5).result() == 5
        left = executor.submit(call_targets.processes).result()
        assert left == 2 + init, "the worker and its fork, and its init"


def test_a_fresh_call_that_dies_leaves_the_worker_warm() -> None:
    with NamespaceExecutor(1, fresh=True) as executor:
        executor.submit(call_targets.add, 1).result()
        before = children()
        for status in (0, 3):
            with pytest.raises(BrokenWorker, match=f"exit status {status}"):
                executor.submit(call_targets.leave, status).result()
        with pytest.raises(BrokenWorker, match=r"signal 9 \(SIGKILL\)"):
            executor.submit(call_targets.signal_self, 9).result()
        assert executor.submit(call_targets.add, 1).result() == 1
        assert children() == before


def test_the_initializer_is_called_in_each_worker_once() -> None:
    for fresh in (False, True):
        with NamespaceExecutor(1, initializer=call_targets.keep, fresh=fresh) as executor:
            assert executor.submit(call_targets.keep).result() == 2
            assert executor.submit(call_targets.keep).result() == (2 if fresh else 3)


def test_an_initializer_that_fails_breaks_the_executor() -> None:
    with NamespaceExecutor(1, initializer=call_targets.divide, initargs=(1, 0)) as executor:
        first = executor.submit(call_targets.add, 1)
        error = first.exception()
        assert isinstance(error, BrokenInitializer)
        assert isinstance(error.__cause__, ZeroDivisionError)
        with pytest.raises(BrokenExecutor):
            executor.submit(call_targets.add, 1)


def test_an_initializer_that_dies_breaks_the_executor() -> None:
    with NamespaceExecutor(1, initializer=call_targets.leave, initargs=(9,)) as executor:
        error = executor.submit(call_targets.add, 1).exception()
        assert isinstance(error, BrokenInitializer)
        assert "exit status 9" in str(error.__cause__)


def test_a_worker_is_replaced_after_its_number_of_calls() -> None:
    with NamespaceExecutor(1, max_tasks_per_child=2) as executor:
        kept = [executor.submit(call_targets.keep).result() for _ in range(5)]
        assert kept == [1, 2, 1, 2, 1]


@pytest.mark.parametrize(("init", "pid", "processes"), [(True, 2, 2), (False, 1, 1)])
def test_orphans_do_not_pile_up_in_a_worker(init: bool, pid: int, processes: int) -> None:
    with NamespaceExecutor(1, Options(new="all", init=init)) as executor:
        pids = [executor.submit(call_targets.leave_an_orphan).result() for _ in range(3)]
        assert pids == [pid] * 3
        # An orphan may end after the call that left it.
        wait_until(lambda: executor.submit(call_targets.processes).result() == processes)


def test_a_worker_without_an_extension_is_replaced_by_one_that_has_it() -> None:
    with NamespaceExecutor(1, files=False) as executor:
        assert executor.submit(call_targets.keep).result() == 1
        names = ("_struct", "_cffi_backend")

        def use() -> object:
            import _cffi_backend

            return _cffi_backend.__name__

        assert executor.submit(use).result() in names
        assert executor.submit(use).result() in names
        assert executor.submit(call_targets.keep).result() == 1
        assert executor.submit(call_targets.keep).result() == 2


# ---- ends


def test_a_worker_that_dies_fails_its_call_alone() -> None:
    with NamespaceExecutor(1) as executor:
        futures = [
            executor.submit(call_targets.add, 1),
            executor.submit(call_targets.leave, 3),
            executor.submit(call_targets.add, 2),
        ]
        assert futures[0].result() == 1  # type: ignore[attr-defined]
        with pytest.raises(BrokenExecutor, match="exit status 3 before it answered"):
            futures[1].result()  # type: ignore[attr-defined]
        assert futures[2].result() == 2  # type: ignore[attr-defined]


def test_a_free_worker_that_died_or_spoke_is_not_used(tmp_path: Path) -> None:
    with NamespaceExecutor(1, SHARED) as executor:
        pid = executor.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not runs(pid))
        assert executor.submit(call_targets.add, 1).result() == 1
        told = tmp_path / "told"
        speaker = executor.submit(call_targets.speak_later, b"v" + bytes(8), str(told)).result()
        told.mkdir()
        wait_until(lambda: not runs(speaker))
        assert executor.submit(call_targets.add, 2).result() == 2


def test_a_call_that_takes_too_long_fails_alone() -> None:
    for fresh in (False, True):
        for seconds in (0.3, 3.0, 30.0):  # the first within which this machine makes the quick one
            with NamespaceExecutor(1, timeout=seconds, fresh=fresh) as executor:
                slow = executor.submit(call_targets.sleep, 1000)
                quick = executor.submit(call_targets.add, 2)
                with pytest.raises(TimeoutError, match=f"{seconds:g} s"):
                    slow.result()
                with contextlib.suppress(TimeoutError):
                    assert quick.result() == 2
                    break
        else:
            raise AssertionError("the quick one did not end in time")


def test_a_worker_that_cannot_start_fails_each_call() -> None:
    with NamespaceExecutor(1, Options(new="mnt", join={"net": "/nowhere"})) as executor:
        for _ in range(2):
            with pytest.raises(nsenter.BootstrapError, match="/nowhere"):
                executor.submit(call_targets.add, 1).result()


def test_what_was_cancelled_does_not_run(tmp_path: Path) -> None:
    executor = NamespaceExecutor(1)
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    running = executor.submit(call_targets.meet, str(meeting), "running", 2)
    pending = [
        executor.submit(call_targets.make_folder_after, str(tmp_path / str(n)), 0) for n in range(3)
    ]
    wait_until((meeting / "running").exists)
    assert pending[0].cancel()
    executor.shutdown(wait=False, cancel_futures=True)
    (meeting / "end").mkdir()
    assert running.result()
    executor.shutdown()
    for future in pending:
        with pytest.raises(CancelledError):
            future.result()
    assert list(tmp_path.iterdir()) == [meeting]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(call_targets.add, 1)


def test_shutdown_without_waiting_lets_calls_finish() -> None:
    before = children(), descriptors()
    executor = NamespaceExecutor(2)
    futures = [executor.submit(call_targets.sleep, 0.1) for _ in range(6)]
    executor.shutdown(wait=False)
    assert [future.result() for future in futures] == [0.1] * 6
    wait_until(lambda: (children(), descriptors()) == before)


def test_an_executor_that_is_forgotten_ends() -> None:
    before, others = children(), {*threading.enumerate()}  # which may end meanwhile
    executor = NamespaceExecutor(2)
    wait([executor.submit(call_targets.add, n) for n in range(4)])
    own = {*threading.enumerate()} - others
    assert own
    del executor
    gc.collect()
    wait_until(lambda: not any(thread.is_alive() for thread in own))
    assert children() == before
    assert {*threading.enumerate()} <= others


LEFT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import call_targets, nsenter
from nsenter.options import Options
executor = nsenter.NamespaceExecutor(2, Options(new="user"))
met = [executor.submit(call_targets.meet_and_tell_pid, sys.argv[1], 2) for _ in range(2)]
print(*(call.result() for call in met), flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_an_interpreter_that_ends_leaves_no_worker(end: str, tmp_path: Path) -> None:
    script = LEFT.format(tests=str(PAYLOADS), end=end)
    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    pids = done.stdout.split()
    assert len({*pids}) == 2
    wait_until(lambda: not any(map(runs, pids)))


def test_500_calls_leave_nothing() -> None:
    before, fds = children(), descriptors()
    with NamespaceExecutor(2, timeout=60, max_tasks_per_child=50) as executor:
        for number in range(500):
            future = executor.submit(call_targets.add, number)
            if number % 50 == 7:
                assert isinstance(
                    executor.submit(call_targets.leave, 1).exception(), BrokenExecutor
                )
            assert future.result() == number
            assert len(children() - before) <= 2
    for number in range(30):
        assert nsenter.call(call_targets.add, number) == number
    assert children() == before
    assert descriptors() == fds
