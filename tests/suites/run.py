# SPDX-License-Identifier: Apache-2.0
"""Runs the test suites of runc (bats) and crun, as Debian has their sources, on pyrunc; and the
tests that CPython has of subprocess, asyncio's subprocesses and concurrent.futures, on ours.

    run.py [runc|crun|cpython] [FILE…]   # FILE: as exec.bats, test_exec.py, test.test_subprocess

As root; its exit status is 1 where something fails that known.py does not know of, or does not fail
any more that it knows of. What each file said is in build/suites/out.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import sources
from known import KNOWN, LEFT_OUT

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "suites"
PYRUNC = Path(sys.prefix, "bin", "pyrunc")
SECONDS = 300  # that a file of tests may take
CPYTHON = (
    "test.test_subprocess", "test.test_asyncio.test_subprocess", "test.test_concurrent_futures",
)  # fmt: skip
_CGROUPS, _PARENT = Path("/sys/fs/cgroup"), "runc-cgroups-integration-test"
# Some tests of crun join a namespace of process 1, and one looks for a pid of five digits.
_WITH_OWN_PIDS = (
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"),
    'echo 20000 > /proc/sys/kernel/ns_last_pid; python3 "$0"; exit $?',
)
_ON_A_TERMINAL = ("test_tty.py",)
_RESULT = re.compile(r"^(not )?ok \d+ -? ?(.*?)( # ?skip.*| #SKIP)?$", re.MULTILINE)


def main() -> int:
    suites = {"runc": _runc, "crun": _crun, "cpython": _cpython}
    asked = [word for word in sys.argv[1:] if word in suites]
    files = [word for word in sys.argv[1:] if word not in suites]
    (BUILD / "out").mkdir(parents=True, exist_ok=True)
    wrong = []
    for suite in asked or suites:
        for name, said in suites[suite](files):
            (BUILD / "out" / f"{name}.txt").write_text(said)
            wrong += _judged(suite, name, said)
    print("\n".join(["", *wrong]) if wrong else "\nas known")
    return bool(wrong)


def _judged(suite: str, file: str, said: str) -> Iterator[str]:
    found = _RESULT.findall(said)
    failed = {test for bad, test, _ in found if bad}
    passed = {test for bad, test, skipped in found if not bad and not skipped}
    skipped = len(found) - len(failed) - len(passed)
    print(f"{suite} {file}: {len(passed)} passed, {len(failed)} failed, {skipped} skipped")
    if not found:
        yield f"{file}: nothing was run: see {BUILD}/out/{file}.txt"
    known = {test for of, test in KNOWN if of == file}
    yield from (f"{file}: fails: {test}" for test in sorted(failed - known))
    yield from (f"{file}: passes, and known.py says why not: {t}" for t in sorted(passed & known))


def _runc(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    tests = sources.runc(BUILD)
    for path in sorted(tests.glob("*.bats")):
        if (path.name in files or not files) and path.name not in LEFT_OUT:
            said = BUILD / "out" / "tap"
            # On a terminal of its own: what `runc spec` writes asks for one.
            inner = f"bats --tap {path.name} > {shlex.quote(str(said))} 2>&1 < /dev/tty"
            _run(["script", "-qec", inner, "/dev/null"], tests, RUNC=str(PYRUNC))
            _tidy()
            yield path.name, said.read_text(errors="replace")


def _tidy() -> None:
    """Its helpers leave the cgroups that theirs were in, and with v1 make folders beside those of
    the hierarchies for what is not mounted."""
    for left in (*_CGROUPS.glob(_PARENT), *_CGROUPS.glob(f"*/{_PARENT}")):
        for path, _, _ in os.walk(left, topdown=False):
            Path(path).rmdir()
    if not (_CGROUPS / "cgroup.procs").exists():
        for folder in _CGROUPS.iterdir():
            if folder.is_dir() and not folder.is_symlink() and not folder.is_mount():
                folder.rmdir()


def _crun(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    tests = sources.crun(BUILD)
    more = {
        "INIT": str(tests / "init"),
        "OCI_RUNTIME": str(HERE / "crun-words"),
        "PYTHONPATH": str(HERE),  # for libmount
    }
    for path in sorted(tests.glob("test_*.py")):
        if (path.name in files or not files) and path.name not in LEFT_OUT:
            words = [*_WITH_OWN_PIDS, path.name]
            if path.name in _ON_A_TERMINAL:
                words = ["script", "-qec", shlex.join(words), "/dev/null"]
            done = _run(words, tests, PYRUNC=str(PYRUNC), **more)
            yield path.name, done.stdout


def _cpython(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    """By the running Python. If it came without some of its tests, they are Debian's."""
    for module in CPYTHON:
        if module in files or not files:
            words = [sys.executable, "-W", "ignore", str(HERE / "cpython.py"), module]
            path = {} if _has(module) else {"PYTHONPATH": str(sources.cpython(BUILD))}
            with tempfile.TemporaryDirectory() as folder:
                yield module, _run(words, Path(folder), **path).stdout


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor the package that it is in
        return False


def _run(
    words: Sequence[str], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["timeout", str(SECONDS), *words],
        cwd=folder, env={**os.environ, **environment}, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
