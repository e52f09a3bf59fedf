# SPDX-License-Identifier: Apache-2.0
"""Runs one module of CPython's own tests on our classes, and tells the results as TAP.

    cpython.py test.test_subprocess
    cpython.py test.test_asyncio.test_subprocess

Where the tests say subprocess.Popen, run, check_call, check_output or asyncio.create_subprocess_*,
they get nsenter's, without options. `call` is the one of subprocess, on our Popen.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import importlib
import subprocess
import sys
import unittest
import warnings

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


def main(name: str) -> None:
    """Run it."""
    _put_ours_in_place()
    warnings.simplefilter("ignore")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        sys.exit(MISSING.format(name=name))
    unittest.defaultTestLoader.loadTestsFromModule(module).run(_Tap())


if __name__ == "__main__":
    main(sys.argv[1])
