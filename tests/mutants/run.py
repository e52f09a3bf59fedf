# SPDX-License-Identifier: Apache-2.0
"""Break the product on purpose, one line at a time, and see that a test notices.

The checkout is copied and built once; then each row of table.py is applied to the copy, its tests
run, and the file is put back. A row whose tests still pass is a promise that no test keeps.

Usage: run.py [--sample N] [--seed N] [WORD ...]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from table import MUTANTS, Mutant

TOP = Path(__file__).resolve().parents[2]
# An endless loop is noticed as well.
_SECONDS = 300
_FAILED_TESTS = 1  # pytest's exit status
_NO_TESTS = (4, 5)  # a test that is named is not there


def copy_of_the_checkout(folder: Path) -> None:
    """Copy what git tracks or could track, as it stands in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, target = TOP / name, folder / name
        if source.is_file():  # one that is deleted in the working tree is still listed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def build(folder: Path) -> bool:
    """Build and install what the copy holds. False if it does not compile."""
    done = subprocess.run(
        [".venv/bin/pip", "--disable-pip-version-check", "-q", "install", "--no-deps",
         "--no-build-isolation", "--editable", "."],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode == 0


def run_tests(folder: Path, tests: Iterable[str], *more: str) -> tuple[int, str]:
    """pytest's exit status, and what it printed. A run that takes too long has failed."""
    words = [".venv/bin/python", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", ""]
    try:
        done = subprocess.run(
            [*words, *more, *tests], cwd=folder, capture_output=True, text=True, check=False,
            timeout=_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _FAILED_TESTS, "it took too long"
    return done.returncode, done.stdout + done.stderr


class Run:
    """The copy, and what came of each row.

    Args:
        folder: the top of the copy.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.noticed = 0
        self.unnoticed: list[str] = []

    def try_one(self, mutant: Mutant) -> None:
        """Apply a row, run its tests, put the file back."""
        path = self._folder / mutant.file
        before = path.read_text()
        if before.count(mutant.old) != 1:
            self._tell(mutant, "STALE: the text does not stand there exactly once", 0)
            self.unnoticed.append(mutant.promise)
            return
        began = time.monotonic()
        path.write_text(before.replace(mutant.old, mutant.new))
        try:
            compiles = not mutant.file.startswith("csrc/") or build(self._folder)
            status, output = run_tests(self._folder, mutant.tests) if compiles else (-1, "")
        finally:
            path.write_text(before)
        if status == _FAILED_TESTS:
            self.noticed += 1
            self._tell(mutant, f"noticed by {_first_failure(output)}", time.monotonic() - began)
            return
        words = "DOES NOT COMPILE" if not compiles else "NOT NOTICED"
        if status in _NO_TESTS:
            words = f"NO SUCH TEST: {output.strip().splitlines()[-1]}"
        self.unnoticed.append(mutant.promise)
        self._tell(mutant, words, time.monotonic() - began)

    def _tell(self, mutant: Mutant, words: str, seconds: float) -> None:
        print(f"{seconds:6.1f} s  {mutant.file}: {mutant.promise}: {words}", flush=True)


def _first_failure(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            return line.split(" - ")[0].partition(" ")[2]
    return output.strip().splitlines()[-1] if output.strip() else "its end"


def chosen(options: argparse.Namespace) -> list[Mutant]:
    """The rows that are asked for: Python's first, as the C has to be built again for each."""
    rows = [m for m in MUTANTS if all(word in f"{m.file} {m.promise}" for word in options.words)]
    if options.sample and options.sample < len(rows):
        rows = random.Random(options.seed).sample(rows, options.sample)
    return sorted(rows, key=lambda m: m.file.startswith("csrc/"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, help="try so many rows, chosen by --seed")
    parser.add_argument("--seed", type=int, default=int(time.time() // 86400))
    parser.add_argument("words", nargs="*", help="try the rows whose file and promise have these")
    options = parser.parse_args()
    rows = chosen(options)
    print(f"{len(rows)} of {len(MUTANTS)} breaks, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="nsenter-mutants-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # tests run programs as another user as well
        copy_of_the_checkout(folder)
        subprocess.run(["make", ".venv/.built", ".venv/.test-tools"], cwd=folder, check=True)
        tests = sorted({test for mutant in rows for test in mutant.tests})
        status, output = run_tests(folder, tests, "--numprocesses", "auto", "--dist", "worksteal")
        if status:
            print(output)
            print("the tests fail without any break: mend them first")
            return 2
        run = Run(folder)
        for mutant in rows:
            run.try_one(mutant)
        if any(mutant.file.startswith("csrc/") for mutant in rows):
            build(folder)
    for promise in run.unnoticed:
        print(f"no test keeps this promise: {promise}")
    print(f"{run.noticed} passed, {len(run.unnoticed)} failed")
    return 1 if run.unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
