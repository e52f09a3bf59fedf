# SPDX-License-Identifier: Apache-2.0
"""`python -m nsenter doctor` finds each obstacle that these tests create."""

from __future__ import annotations

import json
import os
import platform
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import rootless
from needs import needs
from nsenter._host import apparmor
from nsenter._nsexec import lib
from nsenter.doctor import BROKEN, LIMITED, OK, diagnose
from nsenter.namespaces import is_namespace_supported, namespace_types
from rootless import as_user

ROOT = Path(__file__).parent.parent.parent
NSENTER = [sys.executable, "-m", "nsenter"]
DOCTOR = [*NSENTER, "doctor", "--json"]

Findings = dict[str, dict[str, str]]


def found(result: subprocess.CompletedProcess[str]) -> Findings:
    assert "Traceback" not in result.stderr, result.stderr
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    is_broken = any(finding["state"] == BROKEN for finding in findings.values())
    assert result.returncode == (1 if is_broken else 0)
    for finding in findings.values():
        assert finding["seen"], finding
        if finding["state"] != OK:
            assert finding["means"], f"it does not say what it means: {finding}"
    return findings


def sick(findings: Findings, state: str = BROKEN) -> set[str]:
    return {name for name, finding in findings.items() if finding["state"] == state}


def under(
    *options: str, script: str = "", words: list[str] = DOCTOR
) -> subprocess.CompletedProcess[str]:
    """What comes of a command in namespaces of unshare(1), after a script has run there."""
    command = f"{script}\ncd {ROOT} && exec {shlex.join(words)}"
    return subprocess.run(
        [needs("unshare", package="util-linux"), *options, "sh", "-e", "-c", command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


PRIVATE = ("--mount", "--propagation", "private")


PYRUNC = Path(sys.executable).with_name("pyrunc")


def test_pyrunc_says_why_it_has_no_image() -> None:
    finding = found(under(script="export NSENTER_IMAGE=off"))["memory image of pyrunc"]
    assert (finding["state"], finding["seen"]) == (LIMITED, "NSENTER_IMAGE is off")
    assert finding["do"] == f"{PYRUNC} image"


def test_pyrunc_is_started_from_an_image_if_it_has_one() -> None:
    script = f"mount -t tmpfs -o mode=755 none /run; unset NSENTER_IMAGE; {PYRUNC} image >&2"
    finding = found(under(*PRIVATE, script=script))["memory image of pyrunc"]
    assert (finding["state"], finding["seen"]) == (OK, f"{PYRUNC} is started from one")


@pytest.mark.sweep
def test_asking_pyrunc_makes_no_image() -> None:
    script = "mount -t tmpfs -o mode=755 none /run; unset NSENTER_IMAGE"
    words = ["sh", "-c", f"{shlex.join(DOCTOR)} >/dev/null; sleep 2; ls /run"]
    assert under(*PRIVATE, script=script, words=words).stdout == ""


# --- a machine that is well -----------------------------------------------------------------------


def test_root_is_well_and_each_kind_was_tried() -> None:
    findings = {finding.name: finding for finding in diagnose()}
    assert [f for f in findings.values() if f.state == BROKEN] == []
    kinds = [kind.ns_name() for kind in filter(is_namespace_supported, namespace_types())]
    tries = [*(f"new {kind}" for kind in kinds), "all together", "a new /proc", "Python as init"]
    for name in tries:
        assert findings[f"try: {name}"].state == OK, findings[f"try: {name}"]
    assert findings["system calls"].state == findings["nesting"].state == OK
    assert findings["chroot"].state == OK


def test_an_ordinary_user_is_well_and_what_it_lacks_is_a_command() -> None:
    findings = found(as_user(DOCTOR, subids=False))
    assert sick(findings) == set()
    lacking = findings["subordinate ids"]
    assert lacking["state"] == LIMITED and "user nsuser (uid 4242)" in lacking["seen"]
    assert lacking["do"].startswith("usermod --add-subuids ")
    assert lacking["do"].endswith(" nsuser")
    assert findings["user"]["seen"] == "uid 4242, without CAP_SYS_ADMIN"
    assert "not writable" in findings["cgroup"]["seen"]


def test_subordinate_ids_are_tried_as_well() -> None:
    findings = found(as_user(DOCTOR))
    assert findings["subordinate ids"] == {
        "name": "subordinate ids", "state": OK, "seen": "65536 uids, 65536 gids",
        "means": "", "do": "",
    }  # fmt: skip
    assert findings["try: subordinate ids"]["state"] == OK


def test_nothing_is_left_of_what_was_tried() -> None:
    diagnose()  # what a process keeps for all of its starts is there from now on
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    diagnose()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# --- what can be in the way -----------------------------------------------------------------------


def test_a_limit_of_zero_is_found_and_so_are_the_starts_that_it_breaks() -> None:
    script = "echo 0 > /proc/sys/user/max_net_namespaces"
    findings = found(under("--user", "--map-root-user", script=script))
    limit = findings["limit of net"]
    assert (limit["state"], limit["seen"]) == (BROKEN, "sysctl user.max_net_namespaces is 0")
    assert limit["do"] == "sysctl -w user.max_net_namespaces=10000"
    assert sick(findings) == {
        "limit of net", "try: new net", "try: all together", "try: Python as init",
    }  # fmt: skip
    assert limit["do"] in findings["try: new net"]["do"]


def test_a_chroot_is_found_also_where_its_root_is_a_mount_of_the_same_folder() -> None:
    inner = f"cd {ROOT} && exec {shlex.join(DOCTOR)}"
    script = f"mount --rbind / /mnt; exec chroot /mnt sh -c {shlex.quote(inner)}"
    findings = found(under(*PRIVATE, script=script))
    assert findings["chroot"]["state"] == BROKEN and "pivot_root" in findings["chroot"]["do"]
    assert {"try: new user", "try: all together", "try: Python as init"} <= sick(findings)
    assert findings["try: new net"]["state"] == OK, "root needs no user namespace for it"


def test_a_chroot_to_a_folder_is_named_by_the_error_of_a_start() -> None:
    mounts = (
        "for d in /*/; do [ $d = /mnt/ ] || { mkdir -p /mnt/r$d; mount --rbind $d /mnt/r$d; }; done"
    )
    words = shlex.join([*NSENTER, "run", "--user", "true"])
    inner = f"cd {ROOT} && exec {words}"
    script = f"mount -t tmpfs none /mnt; {mounts}; exec chroot /mnt/r sh -c {shlex.quote(inner)}"
    result = under(*PRIVATE, script=script)
    assert result.returncode == 125
    assert "Operation not permitted" in result.stderr
    assert "a chroot: enter the root with pivot_root(2) instead" in result.stderr


def test_a_proc_that_is_partly_covered_is_found_and_named_by_an_error() -> None:
    script = "mount -t tmpfs none /proc/tty"
    finding = found(under(*PRIVATE, script=script))["try: a new /proc"]
    assert finding["state"] == LIMITED
    assert "/proc/tty is mounted over" in finding["do"] and "--no-proc" in finding["do"]
    result = under(*PRIVATE, script=script, words=[*NSENTER, "run", "-Upm", "--", "true"])
    assert result.returncode == 125
    assert (
        "mount proc on /proc: Operation not permitted (/proc/tty is mounted over" in result.stderr
    )
    without = [*NSENTER, "run", "-Upm", "--no-proc", "--", "true"]
    assert under(*PRIVATE, script=script, words=without).returncode == 0, "the advice works"


def test_the_end_of_nesting_is_found() -> None:
    # Each level is a shell that waits: 31 of the 33 that fit.
    nest = shlex.join([str(needs("unshare", package="util-linux")), "-Ur"])
    words = f"{f'{nest} ' * 31}{shlex.join(DOCTOR)}"
    result = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    finding = found(result)["nesting"]
    assert finding["state"] == OK and finding["seen"].startswith("2 more ")
    result = subprocess.run(
        ["sh", "-c", f"{nest} {nest} {words}"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    findings = found(result)
    assert findings["nesting"]["state"] == LIMITED
    assert findings["nesting"]["seen"] == "0 more user namespaces fit into each other"
    assert findings["try: new user"]["state"] == BROKEN
    assert "nested more than 32 levels deep" in findings["try: new user"]["do"]


def test_no_new_privs_is_found_for_who_needs_a_mapping_tool() -> None:
    words = [needs("setpriv", package="util-linux"), "--no-new-privs", *DOCTOR]
    findings = found(as_user(words))
    assert findings["no_new_privs"]["state"] == LIMITED
    trial = findings["try: subordinate ids"]
    assert trial["state"] == LIMITED and "no_new_privs is set" in trial["do"]
    assert sick(findings) == set()


def test_a_mapping_tool_that_has_lost_its_bit_is_found(tmp_path: Path) -> None:
    tool, copy = needs("newuidmap", package="uidmap").resolve(), tmp_path / "copy"
    copy.write_bytes(tool.read_bytes())
    copy.chmod(0o755)
    words = [sys.executable, rootless.__file__, rootless.SUBIDS, "--", *DOCTOR]
    findings = found(under(*PRIVATE, script=f"mount --bind {copy} {tool}", words=words))
    finding = findings["mapping tools"]
    assert finding["state"] == LIMITED and "chmod u+s" in finding["do"]
    assert finding["seen"].endswith("newuidmap is neither setuid root nor has it file capabilities")
    trial = findings["try: subordinate ids"]
    assert trial["state"] == LIMITED and "newuidmap" in trial["seen"], trial


_WITHOUT_TOOLS = f"""
import os
os.environ["PATH"] = "/nowhere"
os.execv({sys.executable!r}, {DOCTOR!r})
"""


def test_tools_that_are_not_on_path_are_found() -> None:
    finding = found(as_user([sys.executable, "-c", _WITHOUT_TOOLS]))["mapping tools"]
    assert finding["state"] == LIMITED
    assert finding["seen"] == "newuidmap is not on PATH; newgidmap is not on PATH"


def test_few_processes_left_are_found() -> None:
    result = as_user([needs("prlimit", package="util-linux"), "--nproc=20", *DOCTOR])
    finding = found(result)["processes"]
    assert finding["state"] == LIMITED and "RLIMIT_NPROC: 20" in finding["seen"]
    assert "ulimit -u" in finding["do"]


def test_inside_bubblewrap_an_ordinary_user_is_well_but_for_what_it_takes_away() -> None:
    bwrap = needs("bwrap", package="bubblewrap")
    box = [bwrap, "--dev-bind", "/", "/", "--unshare-all", "--proc", "/proc", "--"]
    findings = found(as_user([*box, *DOCTOR]))
    assert sick(findings) == set()
    assert findings["no_new_privs"]["state"] == LIMITED
    assert "mounted nosuid" in findings["mapping tools"]["seen"]
    assert findings["user"]["seen"].endswith("in a user namespace of 1 uids")


# --- the seccomp filter of a container around us --------------------------------------------------

_CLONE = {"x86_64": 56, "aarch64": 220}
_NEW_FLAGS = 0x7E02_0080
_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_EPERM, _ENOSYS = 1, 38


def _instruction(code: int, yes: int, no: int, k: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, k)


def _when(number: int, answer: int) -> bytes:
    return _instruction(0x15, 0, 1, number) + _instruction(0x06, 0, 0, answer)


def as_dockers() -> bytes:
    """No new namespaces, and no clone3, whose flags a filter cannot see."""
    return b"".join(
        [
            _instruction(0x20, 0, 0, 0),  # the number
            _when(435, _ERRNO | _ENOSYS),
            _when(lib.SYS_unshare, _ERRNO | _EPERM),
            _when(lib.SYS_setns, _ERRNO | _EPERM),
            _instruction(0x15, 0, 3, _CLONE[platform.machine()]),
            _instruction(0x20, 0, 0, 16),  # its flags
            _instruction(0x45, 0, 1, _NEW_FLAGS),
            _instruction(0x06, 0, 0, _ERRNO | _EPERM),
            _instruction(0x06, 0, 0, _ALLOW),
        ]
    )


def that_kills(number: int) -> bytes:
    load, allow = _instruction(0x20, 0, 0, 0), _instruction(0x06, 0, 0, _ALLOW)
    return load + _when(number, _KILL) + allow


def behind(code: bytes, words: list[str]) -> subprocess.CompletedProcess[str]:
    script = (
        "import os\nfrom nsenter._host import syscalls\n"
        f"syscalls.seccomp(bytes.fromhex({code.hex()!r}), 0)\nos.execv({words[0]!r}, {words!r})"
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_a_filter_that_refuses_is_found_by_the_calls_that_it_refuses() -> None:
    findings = found(behind(as_dockers(), DOCTOR))
    calls = findings["system calls"]
    assert calls["state"] == LIMITED and "seccomp=unconfined" in calls["do"]
    for said in ("clone3 is not there", "unshare is operation not permitted"):
        assert said in calls["seen"]
    assert {"try: new user", "try: new net", "try: all together"} <= sick(findings)
    assert "a seccomp filter is on this process" in findings["try: new user"]["do"]


def test_an_error_behind_a_filter_names_the_filter() -> None:
    result = behind(as_dockers(), [*NSENTER, "run", "--user", "--", "true"])
    assert result.returncode == 125
    assert "Operation not permitted (a seccomp filter is on this process: " in result.stderr


def test_a_filter_that_kills_does_not_kill_the_doctor() -> None:
    findings = found(behind(that_kills(lib.SYS_mount_setattr), DOCTOR))
    assert findings["system calls"]["state"] == LIMITED
    assert findings["system calls"]["seen"] == "mount_setattr is killed by signal 31"
    # Neither does a start, which makes the same call.
    assert findings["tries"]["state"] == BROKEN


def test_a_probe_that_cannot_run_at_all_is_no_end_of_the_doctor() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = (
        "import nsenter.doctor as doctor\n"
        "doctor._PROBE = ['/no/such/program']\n"
        "from nsenter.__main__ import main\n"
        "raise SystemExit(main(['doctor', '--json']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert found(result)["system calls"]["seen"] == "the probe was killed"


# --- settings of kernels that are not here: a folder in the place of the sysctls ------------------

SYSCTLS = "mkdir -p /mnt/k; mount -t tmpfs none /mnt/k; echo {value} > /mnt/k/{name}; "
SYSCTLS += "mount --bind /mnt/k /proc/sys/{folder}"


@pytest.mark.parametrize(
    ("folder", "name", "value", "finding", "state"),
    [
        ("kernel", "unprivileged_userns_clone", 0, "user namespaces", BROKEN),
        ("kernel", "apparmor_restrict_unprivileged_userns", 1, "AppArmor", LIMITED),
        ("vm", "memfd_noexec", 2, "executable memfd", BROKEN),
    ],
)
def test_a_sysctl_in_the_way_is_found_with_the_command_that_sets_it(
    folder: str, name: str, value: int, finding: str, state: str
) -> None:
    script = "mount -t tmpfs none /mnt; " + SYSCTLS.format(folder=folder, name=name, value=value)
    # No CAP_SYS_ADMIN, which most of them do not apply to.
    words = [needs("setpriv", package="util-linux"), "--bounding-set=-sys_admin", *DOCTOR]
    seen = found(under(*PRIVATE, script=script, words=[str(word) for word in words]))[finding]
    assert seen["state"] == state
    assert seen["seen"] == f"sysctl {folder}.{name} is {value}"
    profile = f'profile nsenter "{os.path.realpath(sys.executable)}" flags=(unconfined) {{'
    assert (profile in seen["do"]) == (finding == "AppArmor")
    assert seen["do"].startswith(f"sysctl -w {folder}.{name}=")


def test_an_executable_memfd_that_is_forbidden_is_found_for_real() -> None:
    """vm.memfd_noexec is of the pid namespace, and can only be raised."""
    script = "echo 2 > /proc/sys/vm/memfd_noexec"
    result = under("--pid", "--fork", "--mount-proc", script=script)
    finding = found(result)["executable memfd"]
    assert (finding["state"], finding["seen"]) == (BROKEN, "sysctl vm.memfd_noexec is 2")
    words = [*NSENTER, "run", "--net", "--wd", "/", "true"]
    refused = under("--pid", "--fork", "--mount-proc", script=script, words=words)
    assert refused.returncode == 125
    assert "sysctl vm.memfd_noexec is 2: sysctl -w vm.memfd_noexec=1" in refused.stderr


# --- for people -----------------------------------------------------------------------------------


def test_for_people_each_problem_has_what_it_means_and_what_to_do_below_it() -> None:
    script = "echo 0 > /proc/sys/user/max_net_namespaces"
    result = under(
        "--user", "--map-root-user", script=script, words=[*NSENTER, "doctor", "--problems"]
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 1
    assert lines[0].split() == "broken limit of net sysctl user.max_net_namespaces is 0".split()
    assert lines[1].strip().startswith("no net namespace can be created")
    assert lines[2].strip() == "try: sysctl -w user.max_net_namespaces=10000"
    assert not any(line.startswith("ok ") for line in lines)


def test_the_profile_of_apparmor_is_for_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    target = tmp_path / 'a "*" python'
    target.touch()
    (tmp_path / "link").symlink_to(target)
    text = apparmor.profile(str(tmp_path / "link"))
    assert f'profile nsenter "{tmp_path}/a \\"\\*\\" python" flags=(unconfined) {{' in text
