# SPDX-License-Identifier: Apache-2.0
"""Builds the project in roots of Debian's suites, and runs its tests there on each Python.

A run has its own mount, PID and IPC namespaces, and a view of the root that is dropped at the end.
What is tested by default is the core: starting processes, calls, containers.

Usage, as root: run.py [SUITE…] [-- PYTEST-ARGUMENT…]

Environment: DEBIAN_PYTHON is the one Python to test with, such as 3.15.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from debian_root import PYTHONS, NoRoot, debian_root, overlaid, pythons  # noqa: E402

CORE = (
    *(
        f"tests/test_nsenter/test_{name}.py"
        for name in """
            asyncio bootstrap call call_ends call_errors call_values callers direct doctor executor
            image join landlock launch leaks module_archive options options_init options_root
            os_errors package popen popen_errors prebooted presets run safe_data sandbox takeover
            threads
        """.split()
    ),
    *(
        f"tests/test_libcontainer/test_{name}.py"
        for name in """
            container pyrunc_confinement pyrunc_errors pyrunc_imports pyrunc_lifecycle
            pyrunc_mounts pyrunc_options pyrunc_program pyrunc_streams pyrunc_terminal rootfs
            seccomp state sync
        """.split()
    ),
)
# What fails for a reason that is known, by suite or Python, "" for all: the test, and the reason.
KNOWN = {
    "": {
        "test_nsenter/test_package.py::test_the_sdist_has_all_that_the_checkout_has": (
            "the copy of the checkout has no history, and the root no git"
        ),
        "test_nsenter/test_run.py::test_it_is_imported_by_who_uses_it": (
            "without site (-S), a virtual environment does not see Debian's cffi"
        ),
        "test_libcontainer/test_seccomp.py::test_podmans_profile_allows_and_refuses": (
            "the root has no podman"
        ),
        "test_libcontainer/test_rootfs.py::test_mounts_are_those_that_runc_makes": (
            "from 1.2 on, runc mounts a tmpfs on a directory with its mode as an option"
        ),
    },
    "sid": {
        "test_libcontainer/test_pyrunc_errors.py::test_exit_statuses_are_runcs[words18]": (
            "runc 1.3 refuses to list a state directory that is not there"
        ),
        **dict.fromkeys(
            (
                *(
                    f"test_nsenter/test_sandbox.py::test_it_gets_nowhere_in_a_sandbox_of_{who}"
                    "[its-init-with-all-capabilities]"
                    for who in ("root", "a_user")
                ),
                "test_nsenter/test_threads.py::test_it_starts_processes[numpy]",
                "test_nsenter/test_threads.py::test_a_user_starts_processes",
            ),
            "libffi 3.5 keeps its own file open in a process that imports ctypes",
        ),
    },
    "trixie": {
        "test_nsenter/test_takeover.py::test_the_poison_works": (
            "the lures do not fit to where this Python looks"
        ),
        "test_nsenter/test_takeover.py::test_no_path_of_the_new_root_is_opened": (
            "malloc of glibc 2.41 asks /proc/sys/vm/overcommit_memory how to shrink a heap"
        ),
    },
    "python3.15": {
        "test_libcontainer/test_pyrunc_terminal.py": (
            "the tests fork by pty.fork(), which warns in a process with threads"
        ),
    },
}
_INSIDE = "DEBIAN_INSIDE"
_CHECKOUT = "/root/checkout"
# With a root of its own, not with a chroot: in a chroot the kernel lets nobody create a user
# namespace.
_ENTER = """
for folder in sys dev; do mount --rbind /$folder "$1/$folder"; done
mount -t proc none "$1/proc"
for folder in run tmp var/tmp; do mount -t tmpfs -o mode=1777 none "$1/$folder"; done
cd "$1" && mkdir .old && pivot_root . .old && cd / && umount -l /.old && rmdir /.old
ip link set lo up
exec sh -ec "$2"
"""
_ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "LANG": "C.UTF-8",
    "NSENTER_TEST_IMAGES": os.environ.get("NSENTER_TEST_IMAGES", "off"),
    "COLUMNS": "100",
    "TERM": os.environ.get("TERM", "dumb"),
}


def main() -> int:
    words = sys.argv[1:]
    chosen = os.environ.get("DEBIAN_PYTHON", "")
    cut = words.index("--") if "--" in words else len(words)
    suites, arguments = words[:cut] or list(PYTHONS), words[cut + 1 :]
    if _INSIDE not in os.environ:
        return _in_namespaces()
    try:
        failed = [
            f"{suite}: {python}"
            for suite in suites
            for python in pythons(suite)
            if chosen in python
            if _test(suite, python, arguments or (*CORE, *_without_known(suite, python)))
        ]
    except NoRoot as problem:
        print(f"{Path(__file__).name}: {problem}", file=sys.stderr)
        return 125
    if failed:
        print(f"Tests failed in Debian's {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def _without_known(suite: str, python: str) -> list[str]:
    known = (test for place in ("", suite, python) for test in KNOWN.get(place, ()))
    return [word for test in known for word in ("--deselect", f"tests/{test}")]


def _in_namespaces() -> int:
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--ipc", "--fork"]
    command += ["--kill-child", "--mount-proc", sys.executable, *sys.argv]
    return subprocess.run(command, env={**os.environ, _INSIDE: "1"}, check=False).returncode


def _test(suite: str, python: str, arguments: Sequence[str]) -> int:
    """Build and test with one Python; the exit status."""
    root = debian_root(suite)
    print(f"\n== Debian's {suite}, {python}", flush=True)
    with tempfile.TemporaryDirectory() as scratch, overlaid(root, Path(scratch)) as view:
        _copy_checkout(view / _CHECKOUT[1:])
        return subprocess.run(
            ["unshare", "--mount", "sh", "-ec", _ENTER, "sh", view, _commands(python, arguments)],
            env=_ENVIRONMENT,
            check=False,
        ).returncode


def _copy_checkout(folder: Path) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, names.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():  # git lists what is removed but not committed
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod((ROOT / name).stat().st_mode & 0o777)


def _commands(python: str, arguments: Sequence[str]) -> str:
    """Everything that the build and the tests need is of Debian's packages: no network is used."""
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", "--numprocesses", "auto", "-q"]
    pytest += ["--dist", "worksteal", "-m", "not sweep", *arguments]
    pip = ["-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    venv = f"{_CHECKOUT}/.venv"
    return "\n".join(
        (
            f"cd {_CHECKOUT}",
            f"{python} -m venv --system-site-packages --without-pip {venv}",
            f"{venv}/bin/python {shlex.join(pip)} --editable .",
            f"{venv}/bin/python {shlex.join(pytest)}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
