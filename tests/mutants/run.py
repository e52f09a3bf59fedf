# SPDX-License-Identifier: Apache-2.0
"""Break the product on purpose, one line at a time, and see that a test notices.

The checkout is copied and built once; then each row of table.py is applied to the copy, its tests
run, and the file is put back. For a row of the C code the copy is built again. The checkout itself
is only read. A row whose tests still pass is a promise that no test keeps.

The exit status is 0 if a test noticed each break, 1 if not, and 2 if the run could not begin: a row
is stale, or a test fails without any break.

Usage: run.py [--sample N] [--seed N] [WORD ...]
"""

from __future__ import annotations

import argparse
import os
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
# An endless loop is noticed as well. All tests together, without a break, may take longer.
_SECONDS, _SECONDS_OF_ALL = 300, 3600
# Exit statuses of pytest; with the last two a test that is named is not there. And our own.
_PASSED, _NO_TESTS, _HANGS = 0, (4, 5), -1


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


def run_tests(
    folder: Path, tests: Iterable[str], workers: str = "1", seconds: int = _SECONDS
) -> tuple[int, str]:
    """pytest's exit status, and what it printed; `_HANGS` for a run that does not end.

    A worker has namespaces and cgroups of its own (tests/places/worker.py): the processes and
    mounts that a broken product leaves behind end with it.
    """
    words = [".venv/bin/python", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", ""]
    try:
        done = subprocess.run(
            [*words, "--numprocesses", workers, *tests], cwd=folder, capture_output=True, text=True,
            check=False, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _HANGS, ""
    return done.returncode, done.stdout + done.stderr


def stale(rows: Iterable[Mutant]) -> list[str]:
    """What is wrong with rows whose text does not stand in its file exactly once."""
    counts = ((row, (TOP / row.file).read_text().count(row.old)) for row in rows)
    return [
        f"{row.file}: {row.promise}: the text stands there {count} times: {row.old}"
        for row, count in counts
        if count != 1
    ]


def write_newer(path: Path, text: str) -> None:
    """Write a file that is newer by whole seconds than what was made of it before.

    Python takes a source of the same size and the same second for the one that it has compiled.
    """
    before = path.stat().st_mtime
    path.write_text(text)
    newer = max(time.time(), before + 1)
    os.utime(path, (newer, newer))


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
        began = time.monotonic()
        write_newer(path, before.replace(mutant.old, mutant.new))
        try:
            words = self._outcome(mutant)
        finally:
            write_newer(path, before)
        if words.startswith("noticed"):
            self.noticed += 1
        else:
            self.unnoticed.append(mutant.promise)
        self._tell(mutant, words, time.monotonic() - began)

    def _outcome(self, mutant: Mutant) -> str:
        if mutant.file.startswith("csrc/") and not build(self._folder):
            return "DOES NOT COMPILE"
        status, output = run_tests(self._folder, mutant.tests)
        last = output.strip().splitlines()[-1] if output.strip() else "nothing was printed"
        if status == _HANGS:
            return f"noticed: its tests do not end in {_SECONDS} s"
        if status != _PASSED and (failed := _first_failure(output)):
            return f"noticed by {failed}"
        if status in _NO_TESTS:
            return f"NO SUCH TEST: {last}"
        if status != _PASSED:
            return f"THE TESTS DID NOT RUN, status {status}: {last}"
        return "NOT NOTICED" if " passed" in last else f"NOT TRIED, its tests need root: {last}"

    def _tell(self, mutant: Mutant, words: str, seconds: float) -> None:
        print(f"{seconds:6.1f} s  {mutant.file}: {mutant.promise}: {words}", flush=True)


def _first_failure(output: str) -> str:
    """The test that failed; "" if none did. A file that cannot be imported has tested nothing."""
    for line in output.splitlines():
        if line.startswith(("FAILED ", "ERROR ")) and "::" in line:
            return line.split(" - ")[0].partition(" ")[2]
    return ""


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
    if problems := stale(MUTANTS):
        print(
            "stale rows: look at what the lines do now, and correct the rows", *problems, sep="\n"
        )
        return 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nsenter-mutants-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # tests run programs as another user as well
        copy_of_the_checkout(folder)
        subprocess.run(["make", ".venv/.built", ".venv/.test-tools"], cwd=folder, check=True)
        tests = sorted({test for mutant in rows for test in mutant.tests})
        status, output = run_tests(folder, tests, "auto", _SECONDS_OF_ALL)
        if status:
            print(output or f"the tests do not end in {_SECONDS_OF_ALL} s")
            print("the tests fail without any break: mend them first")
            return 2
        run = Run(folder)
        for mutant in rows:
            run.try_one(mutant)
    for promise in run.unnoticed:
        print(f"no test keeps this promise: {promise}")
    minutes = (time.monotonic() - began) / 60
    print(f"{run.noticed} passed, {len(run.unnoticed)} failed in {minutes:.1f} minutes")
    return 1 if run.unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
