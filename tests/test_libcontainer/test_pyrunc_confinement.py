# SPDX-License-Identifier: Apache-2.0
"""Limits and a filter apply to the program only, not to what the init does before."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from agents import Agent
from nsenter._host import syscalls
from processes import THIS_RUN, wait_until
from pyrunc import NO_STREAMS, Runtime, make_bundle, open_the_way
from sweeps import every

runtime = pytest.fixture(pyrunc.runtimes)

Spec = dict[str, Any]
Change = Callable[[Spec], None]
# Among the ids that a worker of an ordinary user has, too.
MAPS = [{"containerID": 0, "hostID": 10_000, "size": 1000}]
# What Debian's static busybox calls for `echo`, and what it takes to execute it.
OF_THE_PROGRAM = (
    "execve arch_prctl brk set_tid_address set_robust_list rseq prlimit64 readlink readlinkat "
    "getrandom mprotect getuid write exit_group"
).split()


def limits(*rows: tuple[str, int, int]) -> Change:
    def change(spec: Spec) -> None:
        spec["process"]["rlimits"] = [
            {"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, soft, hard in rows
        ]

    return change


def allowing(*names: str, **more: Any) -> Spec:
    """A policy that denies all other system calls."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": list(names), "action": "SCMP_ACT_ALLOW"}],
        **more,
    }


def filtered(policy: Spec, *, no_new_privileges: bool = True, uid: int = 0) -> Change:
    def change(spec: Spec) -> None:
        spec["linux"]["seccomp"] = policy
        spec["process"]["noNewPrivileges"] = no_new_privileges
        spec["process"]["user"] = {"uid": uid, "gid": uid}

    return change


def run(runtime: Runtime, folder: Path, *words: str, change: Change) -> pyrunc.Done:
    bundle = make_bundle(folder / "bundle", words, change=change)
    return runtime("run", "-b", bundle, "box")


_SMALL_LIMITS = [
    *(("DATA", 1_000_000), ("DATA", 4_000_000), ("AS", 8_000_000), ("FSIZE", 0)),
    *(("NOFILE", 4), ("NPROC", 1), ("STACK", 131_072), ("MEMLOCK", 0), ("CPU", 1)),
    *(("SIGPENDING", 0), ("MSGQUEUE", 0), ("RSS", 0), ("NICE", 0), ("CORE", 0)),
]
# What the init runs into in a user namespace too; the quick run has these alone there.
_FELT = ("DATA", "AS", "NOFILE", "NPROC")


@pytest.mark.parametrize(
    ("name", "value", "userns"),
    [
        pytest.param(
            *limit, userns, marks=[pytest.mark.sweep] if userns and limit[0] not in _FELT else []
        )
        for limit in _SMALL_LIMITS
        for userns in (False, True)
    ],
)
def test_a_small_limit_is_the_programs_alone(
    runtime: Runtime, tmp_path: Path, name: str, value: int, userns: bool
) -> None:
    def change(spec: Spec) -> None:
        limits((name, value, value))(spec)
        if userns:
            spec["linux"]["namespaces"].append({"type": "user"})
            spec["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS}

    open_the_way(tmp_path)
    bundle = make_bundle(tmp_path / "bundle", ["cat", "/proc/self/limits"], change=change)
    os.chown(bundle / "rootfs", *(2 * [10_000 * userns]))
    done = runtime("run", "-b", bundle, "box")
    number = getattr(resource, f"RLIMIT_{name}", None)
    assert done.returncode == 0, done.stderr
    assert number is None or f" {value} " in done.stdout, done.stdout


def test_a_small_limit_of_a_further_process(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", change=limits(("DATA", 4_000_000, 4_000_000)))
    runtime.good("run", "-d", "-b", bundle, "box", **NO_STREAMS)
    assert " 4000000 " in runtime.good("exec", "box", "cat", "/proc/self/limits")
    done = runtime("exec", "box", "missing")
    assert done.returncode == 255
    assert "executable file not found in $PATH" in done.stderr


def test_all_limits_at_once_and_a_program_that_is_none(runtime: Runtime, tmp_path: Path) -> None:
    rows = [("DATA", 0, 0), ("AS", 0, 0), ("STACK", 0, 0), ("NOFILE", 0, 0), ("NPROC", 0, 0)]

    def change(spec: Spec) -> None:
        limits(*rows)(spec)
        spec["process"]["args"] = ["/none"]

    bundle = make_bundle(tmp_path / "bundle", change=change)
    (bundle / "rootfs" / "none").write_bytes(b"\0not a program\n")
    (bundle / "rootfs" / "none").chmod(0o755)
    done = runtime("run", "-b", bundle, "box")
    assert done.returncode == 1
    assert "/none" in done.stderr
    assert "exec format error" in done.stderr


def test_as_few_descriptors_as_a_limit_leaves_are_no_limit_for_mounts(
    runtime: Runtime, tmp_path: Path
) -> None:
    sources = [tmp_path / "sources" / str(i) for i in range(40)]

    def change(spec: Spec) -> None:
        limits(("NOFILE", 32, 32))(spec)
        spec["mounts"] += [
            {
                "destination": f"/mnt/{source.name}",
                "source": str(source),
                "options": ["bind"],
                "uidMappings": MAPS,
                "gidMappings": MAPS,
            }
            for source in sources
        ]

    script = f"for i in {' '.join(source.name for source in sources)}; do echo /mnt/$i/*; done"
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", f"ulimit -n; {script}"], change=change)
    # Not every file system can be mapped, as an overlay in a container.
    host = f"""set -e; mkdir {tmp_path}/sources; mount -t tmpfs none {tmp_path}/sources
        cd {tmp_path}/sources; for i in $(seq 0 39); do mkdir $i; touch $i/file; done; exec "$@" """
    words = [*runtime.argv, "run", "-b", str(bundle), "box"]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", host, "-", *words],
        capture_output=True, text=True, timeout=pyrunc.TIMEOUT, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["32", *(f"/mnt/{i}/file" for i in range(40))], done.stderr


def test_a_limit_that_the_caller_may_not_raise_is_named(runtime: Runtime, tmp_path: Path) -> None:
    above = int(Path("/proc/sys/fs/nr_open").read_text()) + 1
    done = run(runtime, tmp_path, "true", change=limits(("NOFILE", 10, above)))
    assert done.returncode == 1
    assert "prlimit RLIMIT_NOFILE" in done.stderr
    assert str(above) in done.stderr


def test_no_memory_for_the_init_is_told_as_such(runtime: Runtime, tmp_path: Path) -> None:
    """Under a limit of the caller's own, which no order of steps gets around."""
    bundle = make_bundle(tmp_path / "bundle", ["true"])
    said = set()
    for megabytes in range(8, 40, 4):
        words = ["prlimit", f"--data={megabytes << 20}", *runtime.argv, "run", "-b", bundle, "box"]
        done = subprocess.run(
            list(map(str, words)), capture_output=True, text=True, timeout=30, check=False
        )
        said.add(done.returncode)
        assert "MemoryError lines" not in done.stderr
        assert "Invalid argument" not in done.stderr
    assert 0 in said


@pytest.mark.parametrize(
    ("how", "uid", "no_new_privileges"),
    every(3, itertools.product(["run", "create", "exec"], [0, 1000], [False, True])),
)
def test_a_filter_that_allows_the_programs_own_calls_alone(
    runtime: Runtime, tmp_path: Path, how: str, no_new_privileges: bool, uid: int
) -> None:
    policy = allowing(*OF_THE_PROGRAM)
    change = filtered(policy, no_new_privileges=no_new_privileges, uid=uid)
    out = tmp_path / "out"
    if how == "run":
        done = run(runtime, tmp_path, "echo", "ok", change=change)
        assert done.stdout == "ok\n", done.stderr
        return
    if how == "exec":
        # The container's own process sleeps, for which its filter has to allow more.
        policy["syscalls"][0]["names"] += ["clock_nanosleep", "nanosleep"]
        bundle = make_bundle(tmp_path / "bundle", change=change)
        runtime.good("run", "-d", "-b", bundle, "box", **NO_STREAMS)
        assert runtime.good("exec", "box", "echo", "ok") == "ok\n"
        return
    bundle = make_bundle(tmp_path / "bundle", ["echo", "ok"], change=change)
    with out.open("w") as file:
        more = {"stdout": file, "stderr": file, "capture_output": False}
        runtime.good("create", "-b", bundle, "box", **more)
        runtime.good("start", "box")
    wait_until(lambda: out.read_text() == "ok\n")


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_what_the_filter_needs_the_program_does_not_get(
    runtime: Runtime, tmp_path: Path, no_new_privileges: bool
) -> None:
    def change(spec: Spec) -> None:
        policy = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
        policy["syscalls"] = [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]
        filtered(policy, no_new_privileges=no_new_privileges, uid=uid)(spec)
        names = ["CAP_KILL"]
        spec["process"]["capabilities"] = {
            "bounding": names, "permitted": names, "effective": names
        }  # fmt: skip

    script = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Threads)' /proc/self/status | tr -d '\\t'"
    for uid, sets in ((0, "20"), (1000, "0")):
        found = run(runtime, tmp_path / str(uid), "sh", "-c", script, change=change).stdout
        rows = dict(line.split(":") for line in found.splitlines())
        assert {int(rows[name], 16) for name in ("CapPrm", "CapEff")} == {int(sets, 16)}
        assert int(rows["CapBnd"], 16) == 0x20
        assert (rows["CapInh"].strip("0"), rows["CapAmb"].strip("0")) == ("", "")
        assert rows["NoNewPrivs"] == str(int(no_new_privileges))
        assert (rows["Seccomp"], rows["Threads"]) == ("2", "1")


def test_why_a_program_was_not_executed_is_told_behind_any_filter(
    runtime: Runtime, tmp_path: Path
) -> None:
    """By a thread that the filter does not bind: not even exit_group(2) is allowed."""
    bundle = make_bundle(tmp_path / "bundle", ["/none"], change=filtered(allowing("execve")))
    (bundle / "rootfs" / "none").write_bytes(b"\0not a program\n")
    (bundle / "rootfs" / "none").chmod(0o755)
    done = runtime("run", "-b", bundle, "box")
    assert done.returncode == 1
    assert "/none" in done.stderr
    assert "exec format error" in done.stderr


def test_where_no_thread_can_be_made_the_filter_is_installed_all_the_same(
    runtime: Runtime, tmp_path: Path
) -> None:
    def change(spec: Spec) -> None:
        filtered(allowing(*OF_THE_PROGRAM))(spec)
        spec["linux"]["resources"] = {"pids": {"limit": 1}}

    done = run(runtime, tmp_path, "echo", "ok", change=change)
    assert done.stdout == "ok\n", done.stderr


# ---- the filter's listener


@pytest.fixture
def agent_path() -> Iterator[Path]:
    path = Path(f"/tmp/agent-{THIS_RUN}")
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("how", ["run", "exec"])
def test_a_listener_of_a_filter_that_allows_little(
    runtime: Runtime, tmp_path: Path, agent_path: Path, how: str, no_new_privileges: bool
) -> None:
    """The agent decides over execve(2) itself, and sending it the listener is denied."""
    names = {*OF_THE_PROGRAM, "nanosleep", "clock_nanosleep"} - {"execve"}
    policy = allowing(*sorted(names), listenerPath=str(agent_path))
    policy["syscalls"].append({"names": ["execve"], "action": "SCMP_ACT_NOTIFY"})
    change = filtered(policy, no_new_privileges=no_new_privileges)
    agent = Agent(agent_path, connections=2 if how == "exec" else 1)
    agent.start()
    if how == "run":
        done = run(runtime, tmp_path, "echo", "ok", change=change)
    else:
        runtime.good(
            "run", "-d", "-b", make_bundle(tmp_path / "b", change=change), "box", **NO_STREAMS
        )
        done = runtime("exec", "box", "echo", "ok")
        runtime.good("delete", "--force", "box")
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
    agent.join(60)
    assert [told["fds"] for told in agent.told] == [["seccompFd"]] * len(agent.told)


def test_an_agent_that_closes_after_reading_is_no_fault(
    runtime: Runtime, tmp_path: Path, agent_path: Path
) -> None:
    policy = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(agent_path),
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_NOTIFY"}],
    }
    bundle = make_bundle(tmp_path / "bundle", ["true"], change=filtered(policy))
    for _ in range(20):
        agent_path.unlink(missing_ok=True)
        agent = Agent(agent_path)
        agent.start()
        runtime.good("run", "-b", bundle, "box")
        agent.join(60)


def test_start_container_hooks_have_the_filter_and_the_agent_too(
    runtime: Runtime, tmp_path: Path, agent_path: Path
) -> None:
    policy = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(agent_path),
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["swapon"], "action": "SCMP_ACT_NOTIFY"},
        ],
    }

    def change(spec: Spec) -> None:
        filtered(policy)(spec)
        script = "busybox mkdir /tmp/x; grep Seccomp: /proc/self/status; exit 3"
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
        spec["hooks"] = {"startContainer": [hook]}

    agent = Agent(agent_path, connections=1)
    agent.start()
    done = run(runtime, tmp_path, "true", change=change)
    agent.join(60)
    assert done.returncode == 1
    assert "mkdir: can't create directory '/tmp/x': Operation not permitted" in done.stderr
    assert "Seccomp:\\t2" in done.stderr


def test_an_agent_that_is_not_there_stops_the_start(runtime: Runtime, tmp_path: Path) -> None:
    policy = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/nowhere/agent",
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_NOTIFY"}],
    }
    bundle = make_bundle(tmp_path / "bundle", ["true"], change=filtered(policy))
    done = runtime("create", "-b", bundle, "box")
    assert done.returncode == 1
    assert "failed to connect with seccomp agent /nowhere/agent: " in done.stderr


def test_flags_that_the_kernel_does_not_have_are_told_before_a_filter_is_installed() -> None:
    with pytest.raises(syscalls.Failure, match="flags 0x80000000") as caught:
        syscalls.check_seccomp_flags(1 << 31)
    assert caught.value.errno == errno.EINVAL
    syscalls.check_seccomp_flags(0)
