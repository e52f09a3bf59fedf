# SPDX-License-Identifier: Apache-2.0
"""Runs one module of CPython's own tests on our classes, and tells the results as TAP.

    cpython.py test.test_subprocess
    cpython.py test.test_asyncio.test_subprocess
    cpython.py test.test_concurrent_futures

Where the tests say subprocess.Popen, run, check_call, check_output or asyncio.create_subprocess_*,
they get nsenter's, without options. `call` is the one of subprocess, on our Popen. The tests that
every executor of concurrent.futures passes get a NamespaceExecutor that trusts its functions.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import functools
import importlib
import os
import re
import subprocess
import sys
import types
import unittest
import warnings
from concurrent.futures import BrokenExecutor
from typing import Any

import nsenter

MISSING = "this Python has no {name}: install its tests, as Debian's libpython3-testsuite"


class _Tap(unittest.TestResult):
    """Each test once, whatever its subtests do."""

    def __init__(self) -> None:
        super().__init__()
        self._bad = ""

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._bad = self._skipped = ""

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._skipped = " # skip"
        if not hasattr(test, "_testMethodName"):  # of a class
            print(f"ok {self.testsRun} {test.id()} # skip {reason}", flush=True)

    def _note(self, err: object, test: object) -> None:
        self._bad += self._exc_info_to_string(err, test)  # type: ignore[attr-defined]

    def addError(self, test: unittest.TestCase, err: object) -> None:  # type: ignore[override]
        self._note(err, test)

    addFailure = addError  # type: ignore[assignment]

    def addSubTest(self, test: object, subtest: object, err: object) -> None:  # type: ignore[override]
        if err is not None:
            self._note(err, subtest)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        name = ".".join(test.id().split(".")[-2:])
        print(f"{'not ' if self._bad else ''}ok {self.testsRun} {name}{self._skipped}")
        print("".join(f"# {line}\n" for line in self._bad.splitlines()), end="", flush=True)


def _put_ours_in_place() -> None:
    for name in ("Popen", "run", "check_call", "check_output"):
        setattr(subprocess, name, getattr(nsenter, name))
    for name in ("create_subprocess_exec", "create_subprocess_shell"):
        for module in (asyncio, asyncio.subprocess):
            setattr(module, name, getattr(nsenter, name))


class _Executor(nsenter.NamespaceExecutor):
    """With the arguments of a ProcessPoolExecutor."""

    def __init__(
        self, max_workers: int | None = None, mp_context: object = None, **settings: Any
    ) -> None:
        super().__init__(max_workers, trusted=True, **settings)


EXECUTORS = "test.test_concurrent_futures"
# The cases, and since Python 3.12 the modules in which they are. Those of ProcessPoolExecutor alone
# look at its processes; of them the ones that do not are taken.
_EXECUTOR_CASES = {
    "WaitTests": "test_wait",
    "AsCompletedTests": "test_as_completed",
    "ExecutorTest": "executor",
    "InitializerMixin": "test_init",
    "ExecutorShutdownTest": "test_shutdown",
    "ExecutorDeadlockTest": "test_deadlock",
    "ProcessPoolExecutorTest": "test_process_pool",
}
_OF_ANY_POOL = ("test_map_chunksize", "test_max_tasks_early_shutdown")
_SCRIPTS_IMPORT = re.compile(r"from concurrent\.futures import (\w+)")


def _tests_of_executors(module: types.ModuleType) -> types.ModuleType:
    """A module with the cases for our executor alone."""

    def found(name: str, home: str) -> Any:
        if hasattr(module, name):
            return getattr(module, name)
        return getattr(importlib.import_module(f"{EXECUTORS}.{home}"), name)

    importlib.import_module("test.support").verbose = False  # they print, amid our lines
    made = types.ModuleType("executors")
    own = {"executor_type": _Executor, "get_context": lambda self: _Context}
    mixin = type("Mixin", (found("ExecutorMixin", "util"),), own)
    for name, home in _EXECUTOR_CASES.items():
        cases = found(name, home)
        _use_our_names(sys.modules[cases.__module__])
        bases = (mixin, cases, found("BaseTestCase", "util"))
        left_out: dict[str, Any] = {}
        if name == "ProcessPoolExecutorTest":
            left_out = dict.fromkeys({n for n in dir(cases) if n[:5] == "test_"} - {*_OF_ANY_POOL})
        setattr(made, name, type(f"Namespace{name}", bases, left_out))
    return made


class _Context:
    """In place of one of multiprocessing."""

    get_start_method = staticmethod(lambda **_: "spawn")


def _use_our_names(module: Any) -> None:
    """What is broken is a BrokenExecutor, and scripts start ours."""
    module.BrokenProcessPool = BrokenExecutor
    run = getattr(module, "assert_python_ok", None)
    if run is None or hasattr(run, "__wrapped__"):
        return

    @functools.wraps(run)
    def run_with_ours(option: str, script: str) -> Any:
        ours = r"from nsenter import NamespaceExecutor as \1"
        return run(option, _SCRIPTS_IMPORT.sub(ours, script), PYTHONPATH=os.pathsep.join(sys.path))

    module.assert_python_ok = run_with_ours


def main(name: str) -> None:
    """Run it."""
    _put_ours_in_place()
    warnings.simplefilter("ignore")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        sys.exit(MISSING.format(name=name))
    if name == EXECUTORS:
        module = _tests_of_executors(module)
    unittest.defaultTestLoader.loadTestsFromModule(module).run(_Tap())


if __name__ == "__main__":
    main(sys.argv[1])
