# SPDX-License-Identifier: Apache-2.0
"""Builds the project in roots of Debian's suites, and runs its tests there on each Python.

A run has its own mount, PID and IPC namespaces, and a view of the root that is dropped at the end.
What is tested by default is the core: starting processes, calls, containers.

Usage, as root: run.py [SUITE…] [-- PYTEST-ARGUMENT…]
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
sys.path.insert(0, str(ROOT / "tests"))

from debian_root import PYTHONS, NoRoot, debian_root, overlaid, pythons  # noqa: E402

CORE = (
    *(
        f"tests/test_nsenter/test_{name}.py"
        for name in """
            asyncio bootstrap bundle call call_ends call_errors call_values callers direct doctor
            executor failed join landlock launch leaks options options_init options_root package
            plain popen popen_errors presets run sandbox takeover threads waiting
        """.split()
    ),
    *(
        f"tests/test_libcontainer/test_{name}.py"
        for name in """
            container pyrunc_confinement pyrunc_errors pyrunc_image pyrunc_imports pyrunc_lifecycle
            pyrunc_mounts pyrunc_options pyrunc_program pyrunc_streams pyrunc_terminal rootfs
            seccomp state sync
        """.split()
    ),
)
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
    "COLUMNS": "100",
    "TERM": os.environ.get("TERM", "dumb"),
}


def main() -> int:
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    suites, arguments = words[:cut] or list(PYTHONS), words[cut + 1 :]
    if _INSIDE not in os.environ:
        return _in_namespaces()
    try:
        failed = [
            f"{suite}: {python}"
            for suite in suites
            for python in pythons(suite)
            if _test(suite, python, arguments or CORE)
        ]
    except NoRoot as problem:
        print(f"{Path(__file__).name}: {problem}", file=sys.stderr)
        return 125
    if failed:
        print(f"Tests failed in Debian's {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


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
