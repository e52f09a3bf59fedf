"""Calls can run in forks of a template that has imported modules, each in its own namespaces."""

from __future__ import annotations

import collections
import importlib.util
import os
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest

import call_targets
import nsenter
import preloaded
from links import children, descriptors
from nsenter._remote.call_bytes import SerializationError
from nsenter.executor import BrokenPreload, BrokenWorker, NamespaceExecutor
from nsenter.options import Options
from processes import runs, wait_until
from rootless import as_user

PAYLOADS = Path(__file__).parents[1] / "payloads"
ALL = Options(new="all")
SHARED = Options(new="user")  # pids are as the caller sees them


def fresh(*preload: str, options: Options | None = None, **settings: Any) -> NamespaceExecutor:
    return NamespaceExecutor(1, options, preload=preload, fresh=True, **settings)


# ---- what a call has


def test_each_call_has_new_namespaces_and_what_was_imported(tmp_path: Path) -> None:
    # Numbers of namespaces that have ended are used again: so all calls are there at once.
    names = ["a", "b", "c"]
    with NamespaceExecutor(3, ALL, preload=["preloaded", "colorsys"], fresh=True) as executor:
        calls = [
            executor.submit(preloaded.namespaces_while_all_are_there, str(tmp_path), name, 3)
            for name in names
        ]
        found = [preloaded.namespaces(), *(call.result() for call in calls)]
        for kind in preloaded.KINDS:
            assert len({each[kind] for each in found}) == 4, kind
        assert executor.submit(preloaded.imported, "colorsys").result() == ["colorsys"]


def test_nothing_of_a_call_is_seen_by_the_next() -> None:
    options = nsenter.presets.sandbox()
    with fresh("preloaded", "preloaded_state", options=options) as executor:
        for _ in range(3):
            assert executor.submit(preloaded.leave_traces).result() == (1, False)
            assert executor.submit(call_targets.processes).result() == 2, "PID 1, and the call"


def test_all_calls_are_forks_of_one_template() -> None:
    with fresh("preloaded", options=SHARED) as executor:
        found = {executor.submit(preloaded.template).result() for _ in range(3)}
        assert len(found) == 1
        imported_in, parent = found.pop()
        assert imported_in == parent != os.getpid()


def test_a_template_holds_nothing_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the caller")
    secret = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        with fresh("preloaded", env={"OF": "the call"}) as executor:
            seen = executor.submit(preloaded.seen).result()
            links = executor.submit(preloaded.links).result()
            environment = executor.submit(preloaded.environment).result()
    finally:
        os.close(secret)
    assert "SECRET" not in seen["environment"]
    assert seen["caller"] == []
    assert "/etc/passwd" not in links
    assert environment == {"OF": "the call"}
    # Its streams, the request channel, and that by which the list is read.
    assert len(seen["descriptors"]) <= 5, seen["descriptors"]


def test_a_worker_that_is_a_fork_takes_several_calls() -> None:
    with NamespaceExecutor(1, preload=["preloaded"], options=SHARED) as executor:
        pids = {executor.submit(os.getpid).result() for _ in range(3)}
        assert len(pids) == 1
        assert [executor.submit(call_targets.keep).result() for _ in range(3)] == [1, 2, 3]


def test_the_initializer_is_called_in_each_fork() -> None:
    with fresh("preloaded", initializer=call_targets.keep) as executor:
        assert [executor.submit(call_targets.keep).result() for _ in range(3)] == [2, 2, 2]


def test_functions_by_value_and_modules_that_were_not_preloaded() -> None:
    with fresh("preloaded") as executor:
        assert executor.submit(lambda: 5).result() == 5
        assert executor.submit(call_targets.late_module).result() == "colorsys"


def test_a_trusted_call_returns_objects() -> None:
    with fresh("preloaded", options=nsenter.presets.sandbox(), trusted=True) as executor:
        assert executor.submit(collections.deque, [1, 2]).result() == collections.deque([1, 2])


def test_several_at_once() -> None:
    with NamespaceExecutor(4, ALL, preload=["preloaded"], fresh=True) as executor:
        found = [executor.submit(call_targets.add, n, right=1) for n in range(12)]
        assert [future.result() for future in found] == list(range(1, 13))


def test_its_output_is_that_of_the_call(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as out:
        with fresh("preloaded", stdout=out) as executor:
            executor.submit(print, "said").result()
        out.seek(0)
        assert out.read() == b"said\n"


WAYS = {
    "taken over": Options(new="user,pid,mnt", init=False),
    "with a PID 1": Options(new="user,pid,mnt"),
    "a time namespace": Options(new="user,time", init=False),
    "without namespaces": Options(),
    "by stages": Options(new="user,time", time_offsets=[nsenter.TimeOffset("boottime", 1)]),
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())
def test_the_thread_of_a_call_is_its_process_alone(options: Options) -> None:
    with fresh("preloaded", options=options) as executor:
        for _ in range(3):
            state = executor.submit(preloaded.thread_state).result()
            assert [name for name, right in state.items() if not right] == []


SCRIPT = f"""
import sys
sys.path.insert(0, {str(PAYLOADS)!r})
import nsenter
def add(left, right):
    import preloaded
    return left + right, preloaded.imported("numpy")
if __name__ == "__main__":
    for new in ("all", "user,pid,mnt"):
        options = nsenter.Options(new=new)
        with nsenter.NamespaceExecutor(2, options, preload=["numpy"], fresh=True) as executor:
            print(*executor.map(add, range(3), range(3)))
"""


@pytest.mark.parametrize("subids", [True, False])
def test_an_ordinary_user_has_it_too(subids: bool) -> None:
    done = as_user([sys.executable, "-c", SCRIPT], subids=subids)
    line = "(0, ['numpy']) (2, ['numpy']) (4, ['numpy'])\n"
    assert (done.stdout, done.stderr) == (line * 2, "")


def test_its_init_has_nothing_of_its_memory() -> None:
    options = Options(new="user,pid,mnt", mounts=[nsenter.Proc()])
    with fresh("preloaded", options=options) as executor:
        name, pages = executor.submit(preloaded.first_process).result()
        assert name == "nsinit"
        assert int(pages) < 1000, "a program without libc, and no interpreter"


def test_a_call_cannot_look_into_its_init() -> None:
    # With all of PID 1's capabilities, it may look into it unless that cannot be dumped.
    options = Options(new="user,pid,mnt", mounts=[nsenter.Proc()], capabilities=["CAP_KILL"])
    with fresh("preloaded", options=options) as executor:
        assert executor.submit(preloaded.first_process).result()[0] == "nsinit"
        assert executor.submit(preloaded.seen_of_init).result() == []


# ---- roots


def test_what_was_imported_is_there_in_a_root_without_files() -> None:
    options = Options(new="all", root="tmpfs")
    with fresh("preloaded", "decimal", "json.tool", options=options) as executor:
        assert executor.submit(preloaded.imported, "decimal").result() == ["decimal"]
        assert executor.submit(lambda: sys.path).result() == []
        # Not preloaded, it comes from the caller.
        assert executor.submit(call_targets.late_module).result() == "colorsys"


def test_without_imports_there_is_what_was_imported_and_no_more() -> None:
    settings: dict[str, Any] = {"imports": False, "modules": ["colorsys"]}
    with fresh("preloaded", options=nsenter.presets.sandbox(), **settings) as executor:
        assert executor.submit(preloaded.imported, "colorsys").result() == ["colorsys"]
        assert executor.submit(eval, "__import__('colorsys').__name__").result() == "colorsys"
        with pytest.raises(ModuleNotFoundError, match="call_targets' is not along"):
            executor.submit(call_targets.add, 1).result()


# ---- threads of libraries


@pytest.mark.parametrize("options", [ALL, nsenter.presets.sandbox()], ids=["own root", "sandbox"])
def test_blas_with_threads_before_the_fork_and_after(options: Options) -> None:
    import preloaded_blas

    wanted = float(preloaded.SIZE**3)
    with fresh("preloaded_blas", options=options) as executor:
        for _ in range(3):
            (before, threads), (after, more) = executor.submit(preloaded_blas.both).result()
            assert before == after == wanted
            assert threads == more == preloaded_blas.THREADS


@pytest.mark.sweep
def test_arrow_with_threads_before_the_fork_and_after() -> None:
    assert importlib.util.find_spec("pyarrow"), "pyarrow is missing: pip install '.[imports]'"
    import preloaded_arrow

    with fresh("preloaded_arrow", options=ALL) as executor:
        for _ in range(3):
            (before, threads), (after, more) = executor.submit(preloaded_arrow.both).result()
            assert before == after == [1 << 14] * 4
            assert threads > 1
            assert more > 1


# ---- faults


@pytest.mark.parametrize(
    ("preload", "error"),
    [("numpy", TypeError), ([7], TypeError), ([""], ValueError), (["a..b"], ValueError)],
)
def test_what_is_no_list_of_modules_is_refused(preload: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="preload"):
        NamespaceExecutor(1, preload=preload)


def test_a_module_that_cannot_be_imported_is_named() -> None:
    before = children()
    with fresh("json", "no_such_module") as executor:
        error = executor.submit(call_targets.add, 1).exception()
        assert isinstance(error, BrokenPreload)
        assert "no_such_module" in str(error)
        assert isinstance(error.__cause__, ModuleNotFoundError)
        with pytest.raises(BrokenExecutor, match="no_such_module"):
            executor.submit(call_targets.add, 1)
    assert children() == before


def test_a_module_that_ends_the_template_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "preloaded_end.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with fresh("preloaded_end") as executor:
        error = executor.submit(call_targets.add, 1).exception()
    assert isinstance(error, BrokenPreload)
    assert "'preloaded_end' ended with exit status 7" in str(error)


def test_a_call_that_dies_is_told_and_the_next_has_another() -> None:
    for options in (SHARED, ALL):
        with fresh("preloaded", options=options) as executor:
            with pytest.raises(BrokenWorker, match="exit status 3"):
                executor.submit(call_targets.leave, 3).result()
            with pytest.raises(BrokenWorker, match=r"signal 9 \(SIGKILL\)"):
                executor.submit(call_targets.signal_self, 9).result()
            assert executor.submit(call_targets.add, 1, right=1).result() == 2


def test_what_cannot_be_started_is_told() -> None:
    with fresh("preloaded", options=Options(new="user,mnt", cwd="/no/such/place")) as executor:
        for _ in range(2):
            error = executor.submit(call_targets.add, 1).exception()
            assert isinstance(error, nsenter.BootstrapError)
            assert "/no/such/place" in str(error)


def test_what_cannot_travel_is_told() -> None:
    with fresh("preloaded") as executor, pytest.raises(SerializationError):
        executor.submit(call_targets.echo, threading.Lock())


def test_a_call_that_takes_too_long_is_ended() -> None:
    with fresh("preloaded", timeout=0.3) as executor, pytest.raises(TimeoutError):
        executor.submit(time.sleep, 300).result()
    with fresh("preloaded") as executor:
        assert executor.submit(call_targets.add, 1, right=1).result() == 2


def test_a_template_that_dies_is_replaced() -> None:
    with fresh("preloaded", options=SHARED) as executor:
        first, _ = executor.submit(preloaded.template).result()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not runs(first))
        second, parent = executor.submit(preloaded.template).result()
        assert first != second == parent


def test_nothing_is_left() -> None:
    with fresh("preloaded", options=ALL) as executor:  # what is made once in a process
        executor.submit(call_targets.add, 1, right=1).result()
    before = children(), descriptors()
    for _ in range(3):
        with fresh("preloaded", options=SHARED) as executor:
            assert executor.submit(call_targets.add, 1, right=1).result() == 2
            template, _ = executor.submit(preloaded.template).result()
            with pytest.raises(BrokenWorker):
                executor.submit(call_targets.leave, 3).result()
        assert (children(), descriptors()) == before
        assert not Path(f"/proc/{template}").exists()
