# SPDX-License-Identifier: Apache-2.0
"""Our filter and the one that a real runc installs for the same policy decide the same."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bpf
from libcontainer.seccomp import compile, library
from libcontainer.specconv.reader import Reader
from libcontainer.specconv.seccomp import seccomp_from_spec
from needs import needs
from nsenter._host import syscalls
from processes import THIS_RUN
from sweeps import every

X86_64, X86, X32_BIT = 0xC000003E, 0x40000003, 0x40000000
ALL_X86 = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
PROFILE = Path("/usr/share/containers/seccomp.json")
KEYS = ("names", "action", "args", "errnoRet")

# linux/ptrace.h
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
PTRACE_SECCOMP_GET_FILTER = 0x420C
WALL = 0x40000000


def podmans_rules() -> list[dict[str, Any]]:
    """Those for a container without capabilities, on x86-64."""
    if not PROFILE.exists():
        pytest.fail(f"{PROFILE} is not there; on Debian: apt-get install podman", pytrace=False)
    return [
        {key: rule[key] for key in KEYS if rule.get(key) is not None}
        for rule in json.loads(PROFILE.read_text())["syscalls"]
        if not rule["includes"] or "amd64" in rule["includes"].get("arches", ())
    ]


def refused(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", **more}


def condition(index: int, op: str, value: int, second: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}


POLICIES = {
    "podman's": {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": ALL_X86,
        "syscalls": podmans_rules(),
    },
    "docker's way: EPERM, and a stub for newer ones": {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ALL_X86,
        "syscalls": podmans_rules(),
    },
    "kill, for one architecture": {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": podmans_rules(),
    },
    "two architectures, x32 without x86": {
        "defaultAction": "SCMP_ACT_TRAP",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        "syscalls": podmans_rules(),
    },
    "conditions": {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ALL_X86,
        "syscalls": [
            refused("personality", errnoRet=5, args=[condition(0, "NE", 0xFFFFFFFF)]),
            refused("mkdir", args=[condition(1, "MASKED_EQ", 0o7000, 0o4000)]),
            refused("kill", args=[condition(0, "GT", 2), condition(1, "LE", 9)]),
            refused("fchmod", args=[condition(1, "EQ", 1), condition(1, "EQ", 2)]),
            {"names": ["umask", "of_2093"], "action": "SCMP_ACT_LOG"},
        ],
    },
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(subprocess.check_output(["mktemp", "-d", "--suffix=-seccomp"], text=True).strip())
    (path / "rootfs").mkdir()
    shutil.copy2(needs("busybox", package="busybox-static"), path / "rootfs" / "busybox")
    subprocess.run([needs("runc", package="runc"), "spec"], cwd=path, check=True)
    yield path
    shutil.rmtree(path)


def ptrace(request: int, pid: int, where: int = 0, data: int = 0) -> int:
    nr = library._open().seccomp_syscall_resolve_name(b"ptrace")
    return syscalls.call("ptrace", pid, nr, request, pid, where, data)


def filter_of(pid: int) -> bytes:
    """The program that is on a process."""
    ptrace(PTRACE_SEIZE, pid)
    try:
        ptrace(PTRACE_INTERRUPT, pid)
        os.waitpid(pid, WALL)
        code = bytearray(8 * ptrace(PTRACE_SECCOMP_GET_FILTER, pid))
        ptrace(PTRACE_SECCOMP_GET_FILTER, pid, data=syscalls.address(code))
    finally:
        ptrace(PTRACE_DETACH, pid)
    return bytes(code)


def runcs_filter(folder: Path, policy: dict[str, Any]) -> bytes:
    spec = json.loads((folder / "config.json").read_text())
    spec["process"].update(args=["/busybox", "sleep", "60"], terminal=False)
    spec["linux"].update(seccomp=policy, resources={})
    (folder / "config.json").write_text(json.dumps(spec))
    runc = [needs("runc", package="runc"), "--root", folder / "state"]
    name = f"seccomp-{THIS_RUN}"
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    subprocess.run([*runc, "run", "--detach", "--bundle", folder, name], check=True, **quiet)
    try:
        state = json.loads(subprocess.check_output([*runc, "state", name]))
        return filter_of(state["pid"])
    finally:
        subprocess.run([*runc, "delete", "--force", name], check=True)


def calls() -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Every system call there is, and some that there are not, each with a few arguments."""
    random.seed(2093)
    values = (0, 1, 2, 8, 9, 16, 0o4000, 0x20000, 0x20008, 2**32 - 1, 2**32, 2**64 - 1)
    for nr in (*range(560), 999, 2**30 - 1):
        for kernel_token, bit in ((X86_64, 0), (X86_64, X32_BIT), (X86, 0)):
            for _ in range(3):
                yield kernel_token, nr | bit, tuple(random.choices(values, k=6))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize("name", every(2, POLICIES))
def test_the_same_policy_has_the_same_answers(folder: Path, name: str) -> None:
    theirs = runcs_filter(folder, POLICIES[name])
    policy = seccomp_from_spec(Reader(POLICIES[name], "linux.seccomp"))
    assert policy is not None
    ours = compile(policy).code
    for call in calls():
        assert bpf.run(ours, *call) == bpf.run(theirs, *call), call
