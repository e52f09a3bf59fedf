"""What multiprocessing creates in a call is removed when the process of the call ends.

A worker of a ProcessPoolExecutor does the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nsenter import Caller, NamespaceExecutor, Options
from processes import runs

SHARED = Path("/dev/shm")


def folder() -> str:
    from multiprocessing import util

    return str(util.get_temp_dir())


def listener() -> str:
    from multiprocessing.connection import Listener

    globals()["kept"] = Listener(family="AF_UNIX")
    return str(kept.address)  # type: ignore[name-defined]  # noqa: F821


def manager() -> str:
    import multiprocessing

    globals()["kept"] = made = multiprocessing.Manager()
    made.dict()["a"] = 1
    return str(made.address)


def pool() -> str:
    import multiprocessing

    globals()["kept"] = made = multiprocessing.Pool(1)
    made.apply(abs, (-1,))
    return folder()


def executor() -> str:
    """Its processes are no daemons: who waits for them must end them first."""
    from concurrent.futures import ProcessPoolExecutor

    globals()["kept"] = made = ProcessPoolExecutor(1)
    made.submit(abs, -1).result()
    return folder()


def memory() -> str:
    from multiprocessing.shared_memory import SharedMemory

    globals()["kept"] = made = SharedMemory(create=True, size=16)
    return str(SHARED / made.name)


KINDS = (folder, listener, manager, pool, executor, memory)


def called(function: Callable[[], str], **settings: Any) -> str:
    return Caller(**settings).call(function)  # type: ignore[arg-type]


def submitted(function: Callable[[], str], **settings: Any) -> str:
    with NamespaceExecutor(1, **settings) as executor:  # type: ignore[arg-type]
        return executor.submit(function).result()


def in_a_fork(function: Callable[[], str], **settings: Any) -> str:
    return submitted(function, fresh=True, **settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [called, submitted, in_a_fork])
def test_nothing_is_left(way: Callable[..., str], kind: Callable[[], str], tmp_path: Path) -> None:
    made = way(kind, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert made.startswith((str(tmp_path), str(SHARED)))
    assert not Path(made).exists()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "options",
    [
        Options(new="user,mnt", maps="root"),
        Options(new="user,pid", maps="root", init=False),
        Options(new="user,pid", maps="root"),
    ],
    ids=["no pid namespace", "as PID 1", "below a PID 1"],
)
@pytest.mark.parametrize("kind", [manager, memory])
def test_nothing_is_left_in_any_namespaces(
    options: Options, kind: Callable[[], str], tmp_path: Path
) -> None:
    made = called(kind, options=options, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert not Path(made).exists()
    assert [*tmp_path.iterdir()] == []


def manager_that_fails() -> None:
    manager()
    raise ValueError("told")


def test_nothing_is_left_if_the_function_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="told"):
        Caller(env={**os.environ, "TMPDIR": str(tmp_path)}).call(manager_that_fails)
    assert [*tmp_path.iterdir()] == []


def never_ends() -> int:
    from multiprocessing import util

    util.Finalize(None, time.sleep, (1000,), exitpriority=1)
    return os.getpid()


@pytest.mark.parametrize("way", [called, in_a_fork])
def test_what_takes_too_long_is_not_waited_for(way: Callable[..., object]) -> None:
    assert way(never_ends)


def start_a_manager() -> None:
    import multiprocessing

    globals()["kept"] = multiprocessing.Manager()


def pid_of_the_manager() -> int:
    pid: int = kept._process.pid  # type: ignore[name-defined]  # noqa: F821
    return pid


def test_a_fork_leaves_what_is_its_workers(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with NamespaceExecutor(
        1, Options(new="user,mnt", maps="root"), fresh=True, initializer=start_a_manager, env=env
    ) as executor:
        pid = executor.submit(pid_of_the_manager).result()
        assert executor.submit(pid_of_the_manager).result() == pid
        assert runs(pid)
        assert [*tmp_path.iterdir()] != []
    assert not runs(pid)
    assert [*tmp_path.iterdir()] == []
