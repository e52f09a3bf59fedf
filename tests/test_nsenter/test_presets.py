"""Each preset does what its name says, for root and for a user, and attacks in a sandbox fail.

The program in the sandbox makes the system calls that the filter denies by their number, with
arguments that are harmless if nothing denies them.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import faults
import launching
import nsenter
import rootless
import system_root
from launching import PYTHONPATH, SECONDS
from nsenter import Options, Program, Tmpfs, presets, seccomp
from processes import children_of, wait_until_executed
from system_root import output

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")
NUMBERS = seccomp._numbers(seccomp._ARCHITECTURES[os.uname().machine][1])

TRY = """
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(number, *words):
    ctypes.set_errno(0)
    result = libc.syscall(number, *(ctypes.c_long(word) for word in words))
    return errno.errorcode.get(ctypes.get_errno(), "") if result == -1 else "done"
print(json.dumps({name: attempt(*call) for name, call in json.loads(sys.argv[1]).items()}))
"""


def run_python(options: Options, code: str, *words: str) -> str:
    """What `python3 -c` with this interpreter says; it ends well."""
    return system_root.said(options, [sys.executable, "-c", code, *words])


def attempts(options: Options, calls: dict[str, tuple[int, ...]]) -> dict[str, str]:
    found: dict[str, str] = json.loads(run_python(options, TRY, json.dumps(calls)))
    return found


# --- the sandbox ----------------------------------------------------------------------------------

INSIDE = """
import json, os, socket, subprocess, threading, tempfile
thread = threading.Thread(target=list); thread.start(); thread.join()
with tempfile.NamedTemporaryFile() as file: file.write(b"x")
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "interfaces": [name for _, name in socket.if_nameindex()],
    "pids": sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit()),
    "uid": os.getuid(), "host": os.uname().nodename, "cwd": os.getcwd(),
    "child": subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout,
    "writable": [p for p in ("/", "/usr", "/dev", "/tmp", "/etc") if os.access(p, os.W_OK)],
    "etc": sorted(os.listdir("/etc")),
    **{name: status[name] for name in ("CapPrm", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")},
}))
"""


def check_inside(found: dict[str, object], uid: int) -> None:
    assert found["interfaces"] == ["lo"]
    assert found["pids"] == [1, 2]
    assert (found["host"], found["cwd"], found["child"]) == ("sandbox", "/", "hi\n")
    assert found["uid"] == uid
    assert set(found["writable"]) <= {"/tmp", "/dev"}  # type: ignore[call-overload]
    assert set(found["etc"]) <= {"ld.so.cache", "alternatives", "passwd", "group"}  # type: ignore[call-overload]
    none = dict.fromkeys(("CapPrm", "CapBnd", "CapAmb"), f"{0:016x}")
    assert {name: found[name] for name in none} == none
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


@as_root
def test_a_sandbox_of_root_runs_python_as_nobody() -> None:
    check_inside(json.loads(run_python(presets.sandbox(), INSIDE)), uid=65534)


@as_root
def test_who_is_nobody_inside_is_nobody_outside() -> None:
    with presets.sandbox().launch(Program(["sleep", "1000"])) as child:
        (program,) = children_of(child.pid)
        wait_until_executed(program)
        assert Path(f"/proc/{program}").stat().st_uid == 65534


def as_user(code: str) -> str:
    words = ["env", f"PYTHONPATH={PYTHONPATH}:{Path(__file__).parent}", sys.executable, "-c", code]
    done = rootless.as_user(words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sandbox_of_a_user_runs_python_as_that_user() -> None:
    found = as_user("from test_presets import *; print(run_python(presets.sandbox(), INSIDE))")
    uid = rootless.UID if os.geteuid() == 0 else os.geteuid()
    check_inside(json.loads(found), uid)


def test_a_sandbox_runs_a_python_init_as_well() -> None:
    found = system_root.told(presets.sandbox(cwd="/tmp"), "report_status:tell")
    assert (found["pid"], found["Seccomp"], found["CapEff"]) == (2, "2", "0" * 16)
    assert found["cwd"] == "/tmp"


def test_a_sandbox_reads_and_writes_what_it_is_given(tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    (tmp_path / "in" / "file").write_text("read\n")
    tmp_path.chmod(0o755)
    options = presets.sandbox(read=[tmp_path / "in"], write=[tmp_path / "out"])
    script = 'cat "$1/in/file"; no touch "$1/in/x"; echo written > "$1/out/file"'
    assert output(options, script, str(tmp_path)) == ["read"]
    assert (tmp_path / "out" / "file").read_text() == "written\n"


def test_the_tmp_of_a_sandbox_holds_what_it_may() -> None:
    code = "import os; found = os.statvfs('/tmp'); print(found.f_blocks * found.f_frsize)"
    assert run_python(presets.sandbox(tmp_size=1 << 20), code) == f"{1 << 20}\n"


@pytest.mark.parametrize("name", ["read", "write"])
def test_a_single_path_is_not_taken_for_many(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a sequence of paths, not '/opt'"):
        presets.sandbox(**{name: "/opt"})
    with pytest.raises(TypeError, match=f"{name} must be a sequence of paths, not 7"):
        presets.sandbox(**{name: 7})


def test_a_field_of_a_preset_can_be_another() -> None:
    options = presets.sandbox(hostname="mine", rlimits={"nofile": 20})
    assert output(options, "hostname; ulimit -n") == ["mine", "20"]


def test_32_threads_start_sandboxes_at_once() -> None:
    statuses: list[int] = []

    def start(number: int) -> None:
        with presets.sandbox().launch(Program(["sh", "-c", f"exit {number}"])) as child:
            statuses.append(child.wait(SECONDS))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == list(range(32))


NESTED = """
import sys
from nsenter import Program, presets
with presets.sandbox().launch(Program(["sh", "-c", "echo $$; exit 7"])) as child:
    print(child.wait(20))
"""


def test_a_sandbox_is_started_in_a_container_of_ours() -> None:
    """Where root is a user outside, and PID 1 is the one who starts it."""
    outer = presets.rootless_root(init=True)
    script = 'PYTHONPATH=$3 "$1" -c "$2"'
    said = output(outer, script, sys.executable, NESTED, PYTHONPATH)
    assert said == ["2", "7"]


@pytest.mark.sweep
def test_300_sandboxes_leave_nothing() -> None:
    options, failing = presets.sandbox(), presets.sandbox(terminal=True)
    for number in range(300):
        if number == 100:
            before, resident = _descriptors(), faults.resident_kib()
        if number % 3:
            with options.launch(Program(["true"])) as child:
                assert child.wait(SECONDS) == 0
            continue
        with pytest.raises(OSError, match="no-such"):
            failing.launch(Program(["no-such-program"]))
    assert _descriptors() == before
    assert faults.resident_kib() - resident < 512


def _descriptors() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir()}


# --- what is tried in it --------------------------------------------------------------------------


def test_what_the_filter_denies_fails_at_once() -> None:
    plain = {name: (number, -1, -1, -1, -1, -1) for name, number in NUMBERS.items()}
    for name in seccomp._BY_ARGUMENT:
        del plain[name]
    missing = {"clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"}
    assert attempts(presets.sandbox(), plain) == {
        name: "ENOSYS" if name in missing else "EPERM" for name in plain
    }


def test_without_the_filter_not_all_of_it_fails_so() -> None:
    names = ("keyctl", "unshare", "clone3", "perf_event_open", "ptrace")
    calls = {name: (NUMBERS[name], -1, -1, -1, -1, -1) for name in names}
    found = attempts(presets.sandbox(seccomp=None), calls)
    assert all(found[name] not in ("EPERM", "ENOSYS") for name in ("keyctl", "unshare", "clone3"))


@pytest.mark.parametrize("flag", [0x20000, *(1 << n for n in range(25, 31))], ids=hex)
def test_no_namespace_is_made_by_clone(flag: int) -> None:
    number = NUMBERS["clone"]
    high = 1 << 40  # what the kernel does not look at
    calls = {
        "plain": (number, flag | 17, 0, 0, 0, 0),
        "high": (number, flag | high | 17, 0, 0, 0, 0),
    }
    assert attempts(presets.sandbox(), calls) == {"plain": "EPERM", "high": "EPERM"}


def test_no_words_are_put_into_a_terminal() -> None:
    number = NUMBERS["ioctl"]
    calls = {
        "sti": (number, 0, 0x5412, 0),
        "sti-high": (number, 0, 0x5412 | 1 << 32, 0),
        "linux": (number, 0, 0x541C, 0),
        "other": (number, -1, 0x5401, 0),
    }
    assert attempts(presets.sandbox(), calls) == {
        "sti": "EPERM", "sti-high": "EPERM", "linux": "EPERM", "other": "EBADF",
    }  # fmt: skip


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 is x86_64's")
def test_the_numbers_of_x32_are_not_there() -> None:
    assert attempts(presets.sandbox(), {"getpid": (0x40000000 | 39,)}) == {"getpid": "ENOSYS"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="i386 is x86_64's")
def test_the_system_calls_of_32_bits_are_not_there(tmp_path: Path) -> None:
    """getpid by int $0x80, which any 64-bit program may use."""
    source = tmp_path / "old.c"
    source.write_text("""
#include <stdio.h>
int main(void) {
    long ret = 20;
    __asm__ volatile("int $0x80" : "+a"(ret) : : "memory");
    printf("%d\\n", (int)ret);
}
""")
    subprocess.run(["gcc", "-static", "-o", tmp_path / "old", source], check=True)
    tmp_path.chmod(0o755)
    assert output(presets.sandbox(read=[tmp_path]), '"$1/old"', str(tmp_path)) == ["-38"]


YOUNG = {
    "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460,
    "lsm_list_modules": 461, "mseal": 462, "setxattrat": 463, "file_getattr": 468,
    "file_setattr": 469, "one that nobody knows yet": 999, "the last": 0x3FFFFFFF,
}  # fmt: skip


def test_system_calls_that_are_younger_than_the_list_are_not_there() -> None:
    found = attempts(presets.sandbox(), {name: (n, 0, 0, 0) for name, n in YOUNG.items()})
    assert found == dict.fromkeys(YOUNG, "ENOSYS")


def test_the_youngest_of_the_list_are_there() -> None:
    calls = {"cachestat": (451, -1, 0, 0, 0), "futex_wake": (454, 0, 0, 0, 0)}
    found = attempts(Options(seccomp=seccomp.strict()), calls)
    assert found == attempts(Options(), calls)


@pytest.mark.parametrize(
    "name",
    ["move_pages", "migrate_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node",
     "vmsplice", "process_madvise", "sethostname"],
)  # fmt: skip
def test_what_podmans_default_denies_is_denied(name: str) -> None:
    assert attempts(presets.sandbox(), {name: (NUMBERS[name], 0, 0, 0)}) == {name: "EPERM"}


@pytest.mark.parametrize("name", ["chmod", "fchmod", "fchmodat", "fchmodat2"])
def test_no_file_is_made_setuid_or_setgid(name: str) -> None:
    if name not in NUMBERS:
        pytest.skip(f"this architecture has no {name}(2)")
    before = (-1, 0) if "at" in name else (-1,)
    modes = (0o4755, 0o2755, 0o6000, 0o1777, 0o755)
    calls = {oct(mode): (NUMBERS[name], *before, mode, 0) for mode in modes}
    found = attempts(presets.sandbox(), calls)
    assert [found.pop(oct(mode)) for mode in (0o4755, 0o2755, 0o6000)] == ["EPERM"] * 3
    # They fail as their path or descriptor is none: the kernel has looked at it.
    assert not {"EPERM", "ENOSYS"} & set(found.values())


def test_personalities() -> None:
    number = NUMBERS["personality"]
    calls = {
        "ask": (number, 0xFFFFFFFF), "linux": (number, 0), "no random layout": (number, 0x40000),
        "legacy layout": (number, 0x200000), "null page": (number, 0x100000), "bsd": (number, 6),
    }  # fmt: skip
    assert attempts(Options(seccomp=seccomp.strict()), calls) == {
        "ask": "done", "linux": "done", "no random layout": "EPERM", "legacy layout": "EPERM",
        "null page": "EPERM", "bsd": "EPERM",
    }  # fmt: skip


def test_the_list_denies_all_that_podmans_default_denies() -> None:
    """Those that are not denied are listed with a reason."""
    harmless = {
        "io_pgetevents",  # as io_getevents, which podman allows
        "futex_waitv",  # as futex, for several at once
        *("getpmsg", "putpmsg", "afs_syscall", "tuxcall", "security", "vserver"),  # never made
    }
    podman = _podmans_default()
    if podman is None:
        pytest.skip("no /usr/share/containers/seccomp.json: apt-get install containers-common")
    known = _numbers_of_the_machine()
    assert {name for name in known if name not in podman | NUMBERS.keys()} <= harmless


def _podmans_default() -> set[str] | None:
    path = Path("/usr/share/containers/seccomp.json")
    if not path.exists():
        return None
    rules = json.loads(path.read_text())["syscalls"]
    here = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    allowed: set[str] = set()
    for rule in rules:
        needed, spared = rule.get("includes") or {}, rule.get("excludes") or {}
        for_us = here in needed.get("arches", [here]) and here not in spared.get("arches", [])
        if rule["action"] == "SCMP_ACT_ALLOW" and for_us and not needed.get("caps"):
            allowed.update(rule["names"])
    return allowed


def _numbers_of_the_machine() -> dict[str, int]:
    from nsenter._host.libseccomp import is_known

    done = subprocess.run(
        ["gcc", "-E", "-dM", "-include", "asm/unistd.h", "-"], input="", capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    words = (line.split() for line in done.stdout.splitlines() if "define __NR_" in line)
    found = {name.removeprefix("__NR_"): number for _, name, number in words}
    return {n: int(v) for n, v in found.items() if v.isdecimal() and is_known(n)}


# --- policies -------------------------------------------------------------------------------------


def test_a_policy_denies_what_it_names_and_no_more() -> None:
    program = seccomp.policy("allow", {"eperm": "getppid", "enosys": ["getpgid", "clone3"]})
    numbers = {"x86_64": (110, 121, 39), "aarch64": (173, 155, 172)}[os.uname().machine]
    calls = {name: (n, 0) for name, n in zip("abc", numbers, strict=True)}
    found = attempts(Options(seccomp=program), calls)
    assert found == {"a": "EPERM", "b": "ENOSYS", "c": "done"}


def test_a_policy_allows_what_it_names_and_no_more() -> None:
    names = "execve exit_group brk mmap munmap mprotect arch_prctl access openat read pread64 close"
    names += (
        " newfstatat fstat write set_tid_address set_robust_list rseq prlimit64 getrandom futex"
    )
    script = ["/bin/sh", "-c", "echo ran; kill -TERM $$; exit 3"]
    allowed = f"{names} rt_sigaction rt_sigprocmask getpid getppid getuid geteuid getgid getegid"
    more = "fcntl dup2 ioctl stat uname getcwd"
    with contextlib.ExitStack() as stack:
        said, stdout = launching.pipe(stack)
        program = seccomp.policy("eperm", {"allow": f"{allowed} {more}"})
        child = stack.enter_context(
            Options(seccomp=program).launch(Program(script), stdout=stdout, stderr=stdout)
        )
        assert child.wait(SECONDS) == 3  # the signal was not sent
        assert os.read(said, 100).startswith(b"ran\n")


def test_a_policy_that_kills_kills() -> None:
    options = Options(
        seccomp=seccomp.policy("allow", {"kill": "getppid"}), new="user,pid", init=True
    )
    with options.launch(Program([sys.executable, "-c", "import os; os.getppid()"])) as child:
        assert child.wait(SECONDS) == -signal.SIGSYS


@pytest.mark.parametrize(
    "default, rules, said",
    [
        ("maybe", {}, "maybe"),
        ("allow", {"forbid": "mount"}, "forbid"),
        ("allow", {"kill": "mount fly"}, "fly"),
        ("allow", {"kill": "mount", "eperm": ["mount"]}, "twice"),
    ],
)
def test_a_bad_policy_is_refused(default: str, rules: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        seccomp.policy(default, rules)


# --- the others -----------------------------------------------------------------------------------


def test_offline_there_is_a_loopback_and_nothing_else_is_different(tmp_path: Path) -> None:
    script = 'id -u; ls /sys/class/net >/dev/null; grep -c : /proc/net/dev; touch "$1/x"; pwd'
    uid, devices, cwd = output(presets.offline(cwd=str(tmp_path)), script, str(tmp_path))
    assert (uid, cwd) == (str(os.geteuid()), str(tmp_path))
    assert int(devices) >= 1
    assert (tmp_path / "x").exists()


OTHERS = """
from test_presets import *
print(output(presets.offline(), "id -u; grep -c 127.0.0.1 /proc/net/fib_trie"))
print(output(presets.rootless_root(), "id -u; cat /proc/sys/kernel/hostname; mount -t tmpfs none "
             "/mnt; touch /mnt/x; chown 5:6 /mnt/x; stat -c %u:%g /mnt/x"))
"""


def test_a_user_is_offline_as_itself_and_root_with_other_users() -> None:
    offline, root = map(ast.literal_eval, as_user(OTHERS).splitlines())
    uid = rootless.UID if os.geteuid() == 0 else os.geteuid()
    assert offline[0] == str(uid)
    assert int(offline[1]) > 0
    assert (root[0], root[-1]) == ("0", "5:6")


# --- in a container of root, as podman and Docker make them by default ---

CONTAINER_CAPABILITIES = (
    "chown dac_override fowner fsetid kill net_bind_service setfcap setgid setpcap setuid"
)
IN_A_CONTAINER = Options(
    new="mnt",
    mounts=[Tmpfs("/proc/bus")],
    capabilities=CONTAINER_CAPABILITIES.split(),
    seccomp=seccomp.policy("allow", {"eperm": ["sethostname"]}),
)
SAY = """
import sys, nsenter
options = eval(sys.argv[1], {"nsenter": nsenter, **vars(nsenter.presets)})
try:
    print(nsenter.check_output(sys.argv[2], options, shell=True, text=True).strip())
except OSError as error:
    print(error)
"""


def in_a_container(options: str, script: str = "echo fine") -> str:
    """What the script says with these options, or why it does not run."""
    argv = [sys.executable, "-c", SAY, options, script]
    return nsenter.check_output(
        argv, IN_A_CONTAINER, text=True, cwd=PYTHONPATH.partition(":")[0], timeout=60
    ).strip()


@as_root
@pytest.mark.parametrize(
    ("options", "script", "said"),
    [
        ("offline()", "ip -brief link | wc -l", "1"),
        ("offline(hostname=None)", "id -u", "0"),
        ("sandbox(proc=False)", "ls -d /proc || echo none", "none"),
        ("sandbox(proc=False, mounts=[nsenter.Bind('/proc')])", "test -d /proc/1 && echo it", "it"),
        ("rootless_root(proc=False)", "id -u", "0"),
    ],
)
def test_the_presets_work_for_a_root_without_cap_sys_admin(
    options: str, script: str, said: str
) -> None:
    assert in_a_container(options, script) == said


@as_root
def test_what_a_container_refuses_is_told_with_what_helps() -> None:
    told = in_a_container("sandbox()")
    assert "/proc/bus is mounted over" in told
    assert "Options(proc=False)" in told  # which the test above does
    told = in_a_container("nsenter.Options(new='user,uts', hostname='x')")
    assert "a seccomp filter is on this process: leave out the hostname" in told


def test_the_sandbox_has_its_hostname_where_nothing_refuses_it() -> None:
    assert output(presets.sandbox(), "hostname") == ["sandbox"]
    assert output(presets.sandbox(hostname="mine"), "hostname") == ["mine"]


# --- users ---------------------------------------------------------------------------------------


WHO = """
import getpass, grp, os, pwd
group, first, nobody = grp.getgrgid(os.getgid()), pwd.getpwuid(0), pwd.getpwnam("nobody")
print(getpass.getuser(), os.path.expanduser("~"), group.gr_name, first.pw_name, nobody.pw_uid)
"""


def who(options: Options) -> str:
    return nsenter.check_output(
        [sys.executable, "-I", "-c", WHO], options, env={"PATH": "/usr/bin:/bin"}, text=True
    ).strip()


@as_root
def test_the_sandbox_knows_its_users() -> None:
    assert who(presets.sandbox()) == "nobody /tmp nogroup root 65534"
    mine = presets.sandbox(
        uid=7,
        gid=8,
        maps=nsenter.idmap.IDMappings((nsenter.IDMap(0, 0, 65536),), (nsenter.IDMap(0, 0, 65536),)),
    )
    assert who(mine) == "user /tmp user root 65534"


def test_the_sandbox_of_a_user_knows_that_one() -> None:
    script = f"""
import nsenter, sys
print(nsenter.check_output([sys.executable, "-I", "-c", {WHO!r}], nsenter.presets.sandbox(),
                           env={{"PATH": "/usr/bin:/bin"}}, text=True))
"""
    done = rootless.as_user([sys.executable, "-c", script])
    assert done.stdout.strip() == "user /tmp user root 65534", done.stderr


def test_a_passwd_that_is_given_stays(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("")
    given = nsenter.Bind(str(tmp_path / "passwd"), "/etc/passwd")
    assert output(presets.sandbox(mounts=[given]), "cat /etc/passwd") == []
    assert "root:" in output(presets.sandbox(read=["/etc/passwd"]), "cat /etc/passwd")[0]


def test_a_file_is_made_in_memory_alone(tmp_path: Path) -> None:
    file = nsenter.File("/a/b/c", "words\n")
    options = Options(
        new="user,mnt", root="tmpfs", mounts=[*map(nsenter.Bind, presets._system()), file]
    )
    assert output(options, "cat /a/b/c; stat -c %a /a/b/c") == ["words", "644"]
    below = nsenter.Tmpfs("/x"), nsenter.File("/x/f", b"more")
    assert output(options.replace(mounts=[*options.mounts, *below]), "cat /x/f") == ["more"]
    folder = str(tmp_path)
    for bad in (
        {"mounts": [file]},
        {"root": folder, "mounts": [file]},
        {"root": "tmpfs", "mounts": [nsenter.Bind(folder, "/a", writable=True), file]},
    ):
        with pytest.raises(ValueError, match=r"File requires root=.tmpfs., or a Tmpfs above it"):
            Options(new="user,mnt", **bad)
    for text in ("x" * 4097, "\0", 7):
        with pytest.raises((ValueError, TypeError), match="text"):
            Options(new="user,mnt", root="tmpfs", mounts=[nsenter.File("/f", text)])
    assert list(tmp_path.iterdir()) == []
