"""Each way to start a process copes with system calls that an outer container's filter refuses.

Either an older call does the same, or the error names the call and says what to do. Nothing is
left.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import denying
import nsenter
import pyrunc
from cgrouping import remove, v2_root
from processes import THIS_RUN
from pyrunc import Runtime
from rootless import as_user

ERRNOS = (errno.ENOSYS, errno.EPERM)
MOUNT_API = {"open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "mount_setattr", "openat2"}

# Of each way, the calls that nothing older does for it.
NEEDED: dict[str, set[str]] = {
    "run": {"memfd_create"},
    "run in a cgroup": {"memfd_create"},
    "run offline": set(),
    "run in a sandbox": MOUNT_API | {"memfd_create"},
    "run with rules": {"landlock_create_ruleset", "memfd_create"},
    "call": {"memfd_create"},
    "call in a sandbox": MOUNT_API | {"memfd_create"},
    "call in a fork": {"pidfd_open", "memfd_create"},
    "join": {"pidfd_open", "memfd_create"},
    "call into": {"pidfd_open", "memfd_create", "open_tree"},
    "pyrunc run": MOUNT_API | {"pidfd_open"},
    "pyrunc create": MOUNT_API | {"pidfd_open"},
    "pyrunc exec": {"pidfd_open"},
    "pyrunc kill": {"pidfd_send_signal"},
    "pyrunc delete": set(),
}
# What an ordinary test run keeps: the commonest filters, and each way and call once.
KEPT = {
    *((way, "clone3", number) for way, number in zip(NEEDED, itertools.cycle(ERRNOS))),
    ("call into", "fsopen", errno.EPERM), ("pyrunc exec", "close_range", errno.ENOSYS),
    *(("run in a sandbox", call, errno.EPERM) for call in denying.CALLS),
    *(("pyrunc run", call, errno.ENOSYS) for call in ("close_range", "seccomp", "faccessat2")),
    ("pyrunc delete", "pidfd_open", errno.EPERM), ("join", "pidfd_open", errno.ENOSYS),
    ("pyrunc kill", "pidfd_send_signal", errno.EPERM),
    ("run with rules", "landlock_create_ruleset", errno.ENOSYS),
    ("run with rules", "landlock_create_ruleset", errno.EPERM),
    ("call", "pidfd_send_signal", errno.ENOSYS), ("call", "execveat", errno.ENOSYS),
    ("call in a fork", "execveat", errno.EPERM),
}  # fmt: skip
CASES = [
    pytest.param(
        way, call, number,
        marks=() if (way, call, number) in KEPT else pytest.mark.sweep,
        id=f"{way}-{call}-{errno.errorcode[number]}",
    )
    for way in NEEDED for call in denying.CALLS for number in ERRNOS
]  # fmt: skip

RUN = "assert nsenter.run(['cat', '/proc/self/cgroup'], {}).returncode == 0"
CALL = "assert nsenter.call(divmod, 7, 2{}) == (3, 1)"
PYTHON = {
    "run": RUN.format("nsenter.Options(new=['pid', 'mnt', 'time'])"),
    "run in a cgroup": RUN.format("nsenter.Options(new=['pid'], cgroup={cgroup!r})"),
    "run offline": RUN.format("nsenter.presets.offline()"),
    "run in a sandbox": RUN.format("nsenter.presets.sandbox()"),
    "run with rules": RUN.format("nsenter.Options(landlock={{'/': 'rwx'}})"),
    "call": CALL.format(""),
    "call in a sandbox": CALL.format(", options=nsenter.presets.sandbox()"),
    "call in a fork": (
        # Without the threads of an executor, which libc makes by clone3.
        "from nsenter.calling import Caller, Worker, pack\n"
        "from nsenter._remote.preload import Preloaded\n"
        "forks = Preloaded(['colorsys'])\n"
        "for _ in range(2):\n"
        "    with Worker(Caller(), (), forks) as worker:\n"
        "        forks.fork_ahead()\n"
        "        assert worker.run(pack(divmod, (7, 2), {{}}, as_data=True)) == (3, 1)\n"
        "forks.close()"
    ),
    "join": RUN.format("nsenter.Options(join={pid})"),
    "call into": CALL.format(", options=nsenter.Options(join={pid})"),
}

runtime = pytest.fixture(pyrunc.runtimes)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    path = Path(v2_root(), f"nsx-filter-{THIS_RUN}")
    path.mkdir()
    try:
        yield path
    finally:
        remove(path)  # fails if a process is left


@contextlib.contextmanager
def container(runtime: Runtime, tmp_path: Path) -> Iterator[int]:
    """One that runs, as "box"; its init's pid."""
    bundle = pyrunc.make_bundle(tmp_path / "running", ["sleep", "1000"])
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    yield json.loads(runtime.good("state", "box"))["pid"]
    runtime("delete", "--force", "box")


def words_of(way: str, runtime: Runtime, tmp_path: Path, **places: Any) -> list[str]:
    if way in PYTHON:
        code = PYTHON[way].format(**places)
        return [sys.executable, "-c", f"import nsenter\n{code}"]
    command = way.split()[1]
    if command in ("run", "create"):
        args = ["true"] if command == "run" else ["sleep", "1000"]
        bundle = pyrunc.make_bundle(tmp_path / "bundle", args)
        return [*runtime.argv, command, "-b", str(bundle), "new"]
    more = {"exec": ["box", "true"], "kill": ["box", "KILL"], "delete": ["--force", "box"]}
    return [*runtime.argv, command, *more[command]]


def behind(filter: list[str], words: list[str], out: Path) -> tuple[int, str]:
    with out.open("w") as file:  # a pipe would be kept by a container that is created
        done = subprocess.run(
            [*filter, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=300
        )
    return done.returncode, out.read_text()


@pytest.mark.parametrize(("way", "call", "number"), CASES)
def test_a_refused_call_is_done_without_or_named(
    way: str, call: str, number: int, runtime: Runtime, tmp_path: Path, cgroup: Path
) -> None:
    refusing = denying.prefix((call, number))
    with contextlib.ExitStack() as stack:
        box = way in ("join", "call into") or way.split()[-1] in ("exec", "kill", "delete")
        pid = stack.enter_context(container(runtime, tmp_path)) if box else 0
        words = words_of(way, runtime, tmp_path, pid=pid, cgroup=str(cgroup))
        status, said = behind(refusing, words, tmp_path / "out")
        if call not in NEEDED[way]:
            assert status == 0, said
            if way == "run in a cgroup":
                assert f"/{cgroup.name}\n" in said
            if way == "pyrunc create":
                runtime.good("start", "new", **pyrunc.NO_STREAMS)
                runtime.good("delete", "--force", "new")
        else:
            assert status != 0
            assert f"a seccomp filter refuses {call}(2): " in said
            assert f"a profile that allows {call}" in said
        left = [] if not box or way == "pyrunc delete" else ["box"]
        assert sorted(path.name for path in runtime.root.glob("[!.]*")) == left


# Docker's profile before 20.10.10, with an old libseccomp, had none of these.
OLD = ("clone3", "close_range", "faccessat2", "pidfd_send_signal", "execveat", "seccomp")


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize(
    "way", ["run", "run in a cgroup", "call", "call in a fork", "run in a sandbox", "pyrunc run"]
)
def test_an_old_profile_refuses_many_calls_at_once(
    way: str, number: int, runtime: Runtime, tmp_path: Path, cgroup: Path
) -> None:
    refusing = denying.prefix(*((call, number) for call in OLD))
    words = words_of(way, runtime, tmp_path, pid=0, cgroup=str(cgroup))
    status, said = behind(refusing, words, tmp_path / "out")
    assert status == 0, said


@pytest.mark.parametrize("call", ["pivot_root", "umount2", "fchdir"])
def test_each_step_to_the_new_root_is_named(call: str, tmp_path: Path) -> None:
    numbers = (155, 166, 81) if os.uname().machine == "x86_64" else (41, 39, 50)
    number = dict(zip(("pivot_root", "umount2", "fchdir"), numbers, strict=True))[call]
    refusing = [sys.executable, "-I", denying.__file__, f"{number}:{errno.EPERM}"]
    words = [sys.executable, "-c", f"import nsenter\n{PYTHON['run in a sandbox']}"]
    status, said = behind(refusing, words, tmp_path / "out")
    assert status == 1
    assert f"init: {call} tmpfs: Operation not permitted" in said


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.__getitem__)
def test_an_ordinary_user_under_an_old_profile(number: int) -> None:
    refusing = denying.prefix(*((call, number) for call in OLD))
    code = "import nsenter\n" + "\n".join(PYTHON[way] for way in ("run in a sandbox", "call"))
    done = as_user([*refusing, sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.__getitem__)
def test_no_container_is_started_that_could_change_the_interpreter(
    number: int, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2019-5736."""
    refusing = denying.prefix(("open_tree", number), ("memfd_create", number))
    words = words_of("pyrunc run", runtime, tmp_path)
    assert behind(refusing, words, tmp_path / "out")[0] == 1
    # From a memory image only nsinit requires the copy, and the error names the call alone.
    monkeypatch.setenv("NSENTER_IMAGE", "off")
    status, said = behind(refusing, words, tmp_path / "out")
    assert status == 1
    assert "nor a sealed copy (memfd_create) can be made of" in said
    assert behind(refusing, [*runtime.argv, "list"], tmp_path / "out")[0] == 0


def test_no_descriptor_of_the_caller_is_inherited_without_close_range(tmp_path: Path) -> None:
    refusing = denying.prefix(("close_range", errno.ENOSYS))
    script = (
        "import os, nsenter\nfor number in (50, 300): os.dup2(os.open('/', 0), number)\n"
        "for options in (nsenter.presets.offline(), nsenter.presets.sandbox()):\n"
        "    print(nsenter.check_output(['ls', '/proc/self/fd'], options).split())"
    )
    status, said = behind(refusing, [sys.executable, "-c", script], tmp_path / "out")
    assert (status, set(said.splitlines())) == (0, {"[b'0', b'1', b'2', b'3']"}), said


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.__getitem__)
def test_the_filter_is_in_force_without_seccomp(number: int, tmp_path: Path) -> None:
    refusing = denying.prefix(("seccomp", number))
    look = (
        "import nsenter\n"
        "for options in (nsenter.Options(), nsenter.Options(seccomp=nsenter.seccomp.strict())):\n"
        "    nsenter.run(['grep', 'Seccomp_filters', '/proc/self/status'], options)"
    )
    status, said = behind(refusing, [sys.executable, "-c", look], tmp_path / "out")
    outer, ours = (int(line.split()[1]) for line in said.splitlines())
    assert (status, ours) == (0, outer + 1)


def test_a_call_that_times_out_is_killed_without_pidfd_send_signal(tmp_path: Path) -> None:
    refusing = denying.prefix(("pidfd_send_signal", errno.EPERM))
    script = (
        "import subprocess, nsenter\n"
        "try: nsenter.run(['sleep', '100'], nsenter.Options(new='pid'), timeout=0.5)\n"
        "except subprocess.TimeoutExpired: print('killed')"
    )
    status, said = behind(refusing, [sys.executable, "-c", script], tmp_path / "out")
    assert (status, said) == (0, "killed\n"), said


@pytest.fixture
def false_listing(tmp_path: Path) -> Iterator[int]:
    """A process in a mount namespace whose /proc/self/fd lists the descriptors of that process."""
    with nsenter.Popen(["sleep", "1000"], nsenter.Options(new="mnt")) as process:
        steps = (
            f"mount -t tmpfs false {tmp_path}",
            f"mkdir -p {tmp_path}/self/fd",
            f"mount --bind /proc/{process.pid}/fd {tmp_path}/self/fd",
            f"mount --rbind {tmp_path} /proc",
        )
        inside = nsenter.Options(join={"mnt": f"/proc/{process.pid}/ns/mnt"})
        nsenter.run(["sh", "-ec", "\n".join(steps)], inside, check=True)
        yield process.pid
        process.kill()


CLOSE_BY_A_FALSE_LISTING = {
    "a program": "nsenter.run(['true'], nsenter.Options(join={{'mnt': '/proc/{pid}/ns/mnt'}}))",
    "Python": (
        "import ctypes, os; from nsenter._host import syscalls;"
        "fd = os.open('/proc/{pid}/ns/mnt', 0);"
        "assert ctypes.CDLL(None).setns(fd, 0) == 0; syscalls.close_range(3, 4000)"
    ),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make these mounts")
@pytest.mark.parametrize("who", CLOSE_BY_A_FALSE_LISTING)
def test_the_listing_of_another_process_is_not_believed(
    who: str, false_listing: int, tmp_path: Path
) -> None:
    refusing = denying.prefix(("close_range", errno.ENOSYS))
    code = CLOSE_BY_A_FALSE_LISTING[who].format(pid=false_listing)
    words = [*refusing, sys.executable, "-c", f"import nsenter\n{code}"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Function not implemented" in done.stderr.splitlines()[-1], done.stderr
