# SPDX-License-Identifier: Apache-2.0
"""Runs tests on Debian's kernel in a virtual machine: all controllers, all capabilities.

The machine is qemu's, emulated, so that it needs no KVM. It reads this machine's files from two
disks (see image.py) and writes to none of them. On its serial lines are the kernel's messages,
the tests' output, and the tests' exit status; this one is then the exit status here.

Usage: run.py [PYTEST-ARGUMENT…]

Environment: VM_KERNEL is a suite of Debian (bookworm, trixie, sid) whose kernel is booted, or the
beginning of a kernel's version that one of them has. VM_SCRIPT is a file of the checkout that
Python runs in place of the tests. VM_TIMEOUT is how many seconds the machine may take in all; with
VM_SYSTEMD=1 the machine's PID 1 is systemd, and its own tests are the default; with VM_SHELL=1 it
gives a shell on this terminal in place of the tests, for as long as it takes.
"""

from __future__ import annotations

import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import contents
import image
import kernel
from contents import ROOT, Missing

CACHE = ROOT / "build" / "vm"
SYSTEMD, SHELL = (bool(os.environ.get(name)) for name in ("VM_SYSTEMD", "VM_SHELL"))
SCRIPT = os.environ.get("VM_SCRIPT", "")
# Of what is tested everywhere, what another kernel and its cgroups may do otherwise. The machine is
# younger than the clocks of "clocks-behind" would be.
ELSEWHERE = (
    *(
        f"tests/test_libcontainer/test_{name}.py"
        for name in "cgroups_v2_real cgroups_devices container hostile".split()
    ),
    *(
        f"tests/test_nsenter/test_launch.py::test_{name}"
        for name in ("root_gets_what_it_asks_for", "it_starts_in_the_cgroup_given")
    ),
    *("-k", "not clocks-behind"),
)
DEFAULT_TESTS = ("tests/vm",) if SYSTEMD else ("tests/vm", *ELSEWHERE)
MEMORY = "1536M"
CANNOT_RUN = 125
TIMEOUT = float(os.environ.get("VM_TIMEOUT", "900"))
KERNEL_OPTIONS = (
    *(
        "console=ttyS0",
        "quiet",
        f"root=PARTUUID={image.ROOT_ID}",
        "rw",
        "rootfstype=ext4",
        "init=/init",
    ),
    "panic=-1",  # ends the machine
    "mitigations=off",
    "hugepages=16",
)


class Broken(Exception):
    """The machine told no exit status; says why."""


def main() -> int:
    # As an exception, which takes the machine along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            return _run(Path(scratch), sys.argv[1:] or DEFAULT_TESTS)
    except (Broken, Missing, kernel.NoKernel) as problem:
        print(f"{Path(__file__).name}: {problem}", file=sys.stderr)
        return CANNOT_RUN


def _run(scratch: Path, tests: Sequence[str]) -> int:
    if platform.machine() != "x86_64":
        raise Missing(
            f"the guest runs the programs of this machine, of x86_64, not {platform.machine()}"
        )
    qemu = contents.program("qemu-system-x86_64", "qemu-system-x86")
    booted = kernel.find(CACHE / "kernel", os.environ.get("VM_KERNEL", ""))
    disks = image.root(CACHE, booted.modules), image.checkout(scratch, _command(tests))
    console, status = scratch / "console", scratch / "status"
    machine = [
        *(qemu, *_hardware(), *_disks(*disks)),
        *("-kernel", booted.image),
        *("-append", " ".join((*KERNEL_OPTIONS, *_for_init()))),
        *("-serial", f"file:{console}", "-serial", "stdio", "-serial", f"file:{status}"),
    ]
    ended = _watch(machine, None if SHELL else TIMEOUT)
    told = status.read_text().strip() if status.exists() else ""
    if told.isdigit():
        return int(told)
    raise Broken(f"{ended}; the last that its kernel said:\n{_tail(console)}")


def _command(tests: Sequence[str]) -> str:
    if SCRIPT:
        script = [f"{sys.prefix}/bin/python", SCRIPT, *sys.argv[1:]]
        return f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(script)}"
    colour = "yes" if sys.stdout.isatty() else "no"
    pytest = [f"{sys.prefix}/bin/python", "-m", "pytest", "-p", "no:cacheprovider"]
    pytest += [f"--color={colour}", *tests]
    settings = "COLUMNS=100 NSENTER_TEST_IMAGES=off"  # to make images takes long here
    return f"cd {shlex.quote(str(ROOT))} && {settings} exec {shlex.join(pytest)}"


def _for_init() -> list[str]:
    """Of the kernel's command line, what guest/init is told."""
    return [*(["vm_systemd=1"] if SYSTEMD else []), *(["vm_shell=1"] if SHELL else [])]


def _hardware() -> list[str]:
    return [
        *("-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", str(_cpus())),
        *("-m", MEMORY),
    ]


def _cpus() -> int:
    return min(4, max(2, len(os.sched_getaffinity(0))))


def _disks(*files: Path) -> list[str]:
    """Namespaces of one NVMe controller, in no order. The files are never written."""
    words = ["-device", "nvme,id=disks,serial=disks"]
    for number, path in enumerate(files, 1):
        words += ["-drive", f"if=none,id=disk{number},file={path},format=raw,snapshot=on"]
        words += ["-device", f"nvme-ns,bus=disks,drive=disk{number},nsid={number}"]
    return words


def _watch(machine: Sequence[str | Path], timeout: float | None) -> str:
    """Run the machine to its end, or for `timeout` seconds; how it ended."""
    stdin = subprocess.DEVNULL if timeout else None
    try:
        ended = subprocess.run(machine, stdin=stdin, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"the machine was stopped after {timeout:g} seconds"
    return f"the machine ended early, qemu's exit status is {ended.returncode}"


def _tail(console: Path) -> str:
    """What the kernel said last, but not where in its code it was then."""
    text = console.read_text(errors="replace").partition("Call Trace:")[0]
    return "\n".join(text.splitlines()[-15:])


if __name__ == "__main__":
    sys.exit(main())
