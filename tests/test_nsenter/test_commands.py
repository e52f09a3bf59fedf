"""The commands of `python -m nsenter`: what is typed, what is printed, and the exit status."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import pytest

from needs import needs
from nsenter import __main__
from nsenter.commands import run
from nsenter.commands.run_options import OPTIONS
from nsenter.launch import Program
from nsenter.options import Options
from processes import wait_until, wait_until_executed
from rootless import as_user
from sweeps import some

VECTORS = Path(__file__).parent.parent / "vectors"
COMMAND = [sys.executable, "-m", "nsenter"]
ROOT = Path(__file__).parent.parent.parent
SECONDS = 20.0

Result = subprocess.CompletedProcess[str]


def nsenter(*words: str, stdin: bytes = b"") -> Result:
    done = subprocess.run(
        [*COMMAND, *words], input=stdin, capture_output=True, timeout=60, cwd=ROOT, check=False
    )
    return Result(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


# --- run -----------------------------------------------------------------------------------------


def check_tour(result: Result) -> list[list[str]]:
    assert result.returncode == 0, result.stderr
    assert "Python is PID 1 on host 'nsenter', uid 0" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if line.endswith(" new")]
    assert len(rows) == len(nsenter_types())
    assert all(theirs != ours for _, theirs, ours, _ in rows)
    assert "uid_map" in result.stdout and "launcher  ready" in result.stdout
    assert "uid 0, processes:" in result.stdout
    return rows


def nsenter_types() -> list[str]:
    names = ("user", "ipc", "uts", "net", "pid", "mnt", "cgroup", "time")
    return [name for name in names if Path(f"/proc/self/ns/{name}").exists()]


def test_without_a_command_root_is_shown_around() -> None:
    for name, theirs, _, _ in check_tour(nsenter("run")):
        assert int(theirs) == Path(f"/proc/self/ns/{name}").stat().st_ino


def test_without_a_command_a_user_is_shown_around() -> None:
    check_tour(as_user([*COMMAND, "run"]))


def test_a_user_maps_itself_or_its_subordinate_ids() -> None:
    script = " && ".join(
        f"{sys.executable} -m nsenter run {option} -- cat /proc/self/uid_map"
        for option in ("--map-root", "--map-auto")
    )
    result = as_user(["sh", "-c", script])
    ranges = [line.split() for line in result.stdout.splitlines()]
    assert ranges == [
        ["0", "4242", "1"],
        ["0", "4242", "1"],
        ["1", "300000", "65536"],
    ], result.stderr


def test_map_auto_without_subordinate_ids_says_what_to_do() -> None:
    result = as_user([*COMMAND, "run", "--map-auto", "--", "true"], subids=False)
    assert result.returncode == 125
    assert "/etc/subuid" in result.stderr and "usermod --add-subuids" in result.stderr


@pytest.mark.parametrize("options", [["--new", "pid,mnt"], ["--new", "all", "--python"]])
def test_the_exit_status_is_the_commands(options: Sequence[str]) -> None:
    assert nsenter("run", *options, "--", "sh", "-c", "exit 7").returncode == 7
    killed = nsenter("run", *options, "--", "sh", "-c", "sh -c 'kill -9 $$'; exit $?")
    assert killed.returncode == 137


def test_a_killed_command_is_128_and_the_signal() -> None:
    assert nsenter("run", "--", "sh", "-c", "kill -9 $$").returncode == 137


@pytest.mark.parametrize("how", [[], ["--python"]])
def test_a_program_that_is_not_there_is_127(how: Sequence[str]) -> None:
    result = nsenter("run", *how, "--", "no-such-program")
    assert result.returncode == 127
    assert "no-such-program: No such file or directory" in result.stderr


@pytest.mark.parametrize("how", [[], ["--python"]])
def test_a_program_that_cannot_be_executed_is_126(how: Sequence[str]) -> None:
    result = nsenter("run", *how, "--", "/etc/passwd")
    assert result.returncode == 126
    assert "/etc/passwd: Permission denied" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--join", "pid=999999999", "--", "true"], "nsenter: join=999999999: No such process"),
        (["--join", "net", "--", "true"], "--join net: expected pid=PID or TYPE=PATH"),
        (["--join", "ipc=relative", "--", "true"], "must be absolute"),
        (["--join", "net=/proc/self/ns/pid", "--", "true"], "setns net:/proc/self/ns/pid"),
        (["--join", "net=/nowhere", "--", "true"], "open net:/nowhere: No such file"),
        (["--new", "net", "--join", "net=/x", "--", "true"], "new net: this one is joined"),
        (["--hostname", "box", "--", "true"], "requires a new or joined uts namespace"),
    ],
)
def test_what_cannot_be_done_is_said_and_is_125(words: Sequence[str], said: str) -> None:
    result = nsenter("run", *words)
    assert result.returncode == 125
    assert said in result.stderr and "Traceback" not in result.stderr


STREAMS = {
    "stdin closed": "<&-", "stdout closed": ">&-", "stderr closed": "2>&-",
    "outputs closed": ">&- 2>&-", "all closed": "<&- >&- 2>&-", "stderr full": "2>/dev/full",
}  # fmt: skip
WHATEVER_THE_STREAMS = {
    "run --new user,mnt -- sh -c 'exit 7'": 7,
    "run --new user,mnt --python -- sh -c 'exit 5'": 5,
    "run --trace --new user,mnt -- true": 0,
    "run --new user -- /no/such/program": 127,
    "run --new bad -- true": 125,
    "types": 0,
    "ls": 0,
    "doctor --json": 0,
    "--version": 0,
    "run --help": 0,
    "decode /dev/null": 1,
    "nonsense": 125,
}


def by_a_shell(words: str, redirections: str) -> Result:
    line = f"exec {sys.executable} -m nsenter {words} {redirections}"
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )


# An ordinary test run keeps each command and each stream once or twice.
KEPT_COMMANDS = ("run --new user -- /no/such/program", "types")
KEPT_STREAMS = ("stdout closed",)
ON_STREAMS = [
    pytest.param(
        words, redirections,
        marks=() if words in KEPT_COMMANDS or name in KEPT_STREAMS else pytest.mark.sweep,
        id=f"{words}-{name}",
    )
    for words in WHATEVER_THE_STREAMS for name, redirections in STREAMS.items()
]  # fmt: skip


@pytest.mark.parametrize(("words", "redirections"), ON_STREAMS)
def test_the_exit_status_does_not_depend_on_the_streams(words: str, redirections: str) -> None:
    done = by_a_shell(words, redirections)
    assert done.returncode == WHATEVER_THE_STREAMS[words], done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["types", "ls", "--version", "run --help", "run"])
def test_an_output_that_cannot_be_written_to_is_named(words: str) -> None:
    done = by_a_shell(words, ">/dev/full")
    assert done.returncode == 125
    assert done.stderr.splitlines()[-1] == "nsenter: standard output: No space left on device"
    assert by_a_shell(words, ">/dev/full 2>/dev/full").returncode == 125


def test_an_unknown_type_is_a_mistake_in_usage() -> None:
    result = nsenter("run", "--new", "bogus", "--", "true")
    assert result.returncode == 125
    assert "nsenter: --new bogus: unknown namespace type 'bogus'" in result.stderr


def test_all_namespaces_of_a_process_are_joined() -> None:
    holder = subprocess.Popen(
        [needs("unshare", package="util-linux"), "--uts", "--net", "--ipc", "sleep", "60"]
    )
    try:
        wait_until_executed(holder.pid, "sleep")  # so unshare has done its work
        script = "readlink /proc/self/ns/uts /proc/self/ns/net /proc/self/ns/ipc"
        result = nsenter("run", "--join", f"pid={holder.pid}", "--", "sh", "-c", script)
        theirs = [os.readlink(f"/proc/{holder.pid}/ns/{n}") for n in ("uts", "net", "ipc")]  # noqa: PTH115
        assert result.stdout.split() == theirs, result.stderr
    finally:
        holder.kill()
        holder.wait()


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[Any]) -> Iterator[IO[Any]]:
    """Its output, in a block at the end of which it runs no more, whatever has failed there."""
    assert process.stdout is not None
    with process:
        try:
            yield process.stdout
        finally:
            # The second request kills what it runs, too; two that are pending are one.
            wait_until(lambda: _ends(process))


def test_a_signal_is_passed_on_and_a_second_request_kills() -> None:
    # PID 1 of a pid namespace ignores a SIGTERM that it has no handler for.
    process = subprocess.Popen(
        [*COMMAND, "run", "--new", "pid", "--", "sh", "-c", "trap 'echo got' USR1; echo up; "
         "while :; do sleep 0.05; done"], stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with killed_at_the_end(process) as stdout:
        assert stdout.readline() == "up\n"
        process.send_signal(signal.SIGUSR1)
        assert stdout.readline() == "got\n"
        process.terminate()
        time.sleep(0.2)
        assert process.poll() is None
        wait_until(lambda: _ends(process))  # two that are pending are one
        assert process.returncode == 128 + signal.SIGKILL


def _ends(process: subprocess.Popen[Any]) -> bool:
    """Whether a further request ends it."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
    return process.returncode is not None


def test_a_signal_that_comes_before_the_start_reaches_the_child() -> None:
    with run._Forwarding() as signals:
        signal.raise_signal(signal.SIGUSR1)
        with Options().launch(Program(["sleep", "60"])) as child:
            signals.to(child)
            assert child.wait(SECONDS) == -signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_start_that_hangs_is_ended_by_the_second_request() -> None:
    script = (
        "import signal\nfrom nsenter.commands.run import _Forwarding\n"
        "with _Forwarding():\n for _ in range(2): signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGINT


def test_a_python_init_reaps_what_is_left_to_it() -> None:
    """One that nobody reaps stays in /proc."""
    orphan = "left=$(sleep 0.1 >/dev/null & echo $!)"
    script = f"{orphan}; while test -e /proc/$left; do sleep 0.01; done; echo reaped"
    result = nsenter("run", "--new", "user,pid,mnt", "--python", "--", "sh", "-c", script)
    assert result.stdout.strip() == "reaped", result.stderr


# --- run: the words ------------------------------------------------------------------------------


def run_sh(*words: str, script: str) -> str:
    result = nsenter("run", *words, "--", "sh", "-c", script)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def own(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115


SHORT = {"user": "-U", "ipc": "-i", "uts": "-u", "net": "-n", "pid": "-p", "mnt": "-m"} | {
    "cgroup": "-C", "time": "-T",
}  # fmt: skip


@pytest.mark.parametrize("kind", some(nsenter_types(), "user", "mnt", "time"))
def test_each_kind_is_new_in_each_spelling(kind: str) -> None:
    long = {"mnt": "--mount"}.get(kind, f"--{kind}")
    for word in (long, SHORT[kind], f"--unshare-{kind}", f"--new={kind}"):
        assert run_sh(word, script=f"readlink /proc/self/ns/{kind}") != own(kind), word


def test_letters_stand_together() -> None:
    script = "readlink /proc/self/ns/net /proc/self/ns/ipc; echo $$"
    net, ipc, pid = run_sh("-Urnpfm", script=script).split()
    assert net != own("net") and ipc == own("ipc") and pid == "1"


def test_all_is_every_kind() -> None:
    for word in ("--all", "-a", "--unshare-all", "--new=all"):
        links = run_sh(word, script="readlink /proc/self/ns/*[a-z]").split()
        assert not set(links) & {own(kind) for kind in nsenter_types()}, word


@contextlib.contextmanager
def held(*options: str) -> Iterator[int]:
    """The pid of a process in namespaces of unshare(1)."""
    process = subprocess.Popen(
        [needs("unshare", package="util-linux"), *options, "sh", "-c", "echo; exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_target_is_joined_whole_or_the_kinds_that_are_named() -> None:
    with held("--net", "--uts") as pid:
        theirs = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "uts")]  # noqa: PTH115
        script = "readlink /proc/self/ns/net /proc/self/ns/uts"
        for words in (["--target", str(pid)], ["-t", str(pid), "--all"], [f"-t{pid}"]):
            assert run_sh(*words, script=script).split() == theirs
        assert run_sh("-t", str(pid), "--net", script=script).split() == [theirs[0], own("uts")]


def test_a_file_is_joined_and_what_bwrap_spells_is_new_beside_a_target() -> None:
    with held("--net", "--uts") as pid:
        theirs = os.readlink(f"/proc/{pid}/ns/net")  # noqa: PTH115
        script = "readlink /proc/self/ns/net /proc/self/ns/uts"
        assert run_sh(f"--net=/proc/{pid}/ns/net", script=script).split() == [theirs, own("uts")]
        net, uts = run_sh(f"--target={pid}", "--net", "--unshare-uts", script=script).split()
        assert net == theirs and uts not in (own("uts"), os.readlink(f"/proc/{pid}/ns/uts"))  # noqa: PTH115


def test_a_network_is_joined_by_the_name_that_ip_netns_knows() -> None:
    script = (
        "mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip netns add blue; "
        f"cd {ROOT}; {sys.executable} -m nsenter run --net=blue -- ip netns identify; "
        f"{sys.executable} -m nsenter run --net=green -- true"
    )
    needs("ip", package="iproute2")
    result = subprocess.run(
        # ip(8) goes back to the network that it came from, which has to be one of our own.
        [needs("unshare", package="util-linux"), "--mount", "--net", "sh", "-e", "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (125, "blue\n"), result.stderr
    assert "open net:/run/netns/green: No such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("words", "script", "said"),
    [
        (["--map-root-user"], "id -u; cat /proc/self/uid_map", "0 0 0 1"),
        (["-r"], "id -u", "0"),
        (["--map-current-user"], "id -u", "0"),
        (["--map-users=0:1:1000", "--map-groups=0:1:500"],
         "cat /proc/self/uid_map /proc/self/gid_map", "0 1 1000 0 1 500"),
        (["--map-users", "0:1:10", "--map-users", "10:5000:10", "--map-groups", "0:1:1"],
         "cat /proc/self/uid_map", "0 1 10 10 5000 10"),
        (["--uts", "--hostname", "box"], "hostname", "box"),
        (["--wd", "/usr"], "pwd", "/usr"),
        (["--chdir=/usr"], "pwd", "/usr"),
        (["-w/usr"], "pwd", "/usr"),
        (["-pm"], "set -- /proc/[0-9]*; echo $#", "1"),
        (["-m", "--pid", "--mount-proc"], "echo $$; readlink /proc/self >/dev/null && echo own",
         "1 own"),
        (["-pm", "--no-proc"], "set -- /proc/[0-9]*; test $# -gt 1 && echo hosts", "hosts"),
        (["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
        (["--time", "--monotonic", "86400", "--boottime=-10"],
         "cat /proc/self/timens_offsets", "monotonic 86400 0 boottime -10 0"),
    ],
)  # fmt: skip
def test_an_option_is_read_back_from_inside(words: list[str], script: str, said: str) -> None:
    assert run_sh(*words, script=script).split() == said.split()


SYSTEM = [
    word
    for folder in ("/usr", "/bin", "/lib", "/lib64")
    if Path(folder).exists()
    for word in ("--ro-bind", folder, folder)
]
STATUS = "grep -E '^({})' /proc/self/status | cut -f2-"


@pytest.mark.parametrize(
    ("words", "script", "said"),
    [
        (["--setuid", "7", "--setgid=8"], "id -u; id -g; id -G", "7 8 8"),
        (["-S7", "-G8", "--groups", "8,9"], "id -u; id -G", "7 8 9"),
        (["--groups="], "id -G", "0"),
        (["-m", "--root", "tmpfs", *SYSTEM], "ls -d /etc /root 2>&1 | grep -c No", "2"),
        (["-pm", "--root", "/", "--read-only"], "touch /tmp/x 2>/dev/null || echo no", "no"),
        (["-pm", "--root=tmpfs", *SYSTEM, "--tmpfs", "/tmp", "--dev", "/dev", "--read-only"],
         "echo 1 > /tmp/x; cat /tmp/x; echo 2 > /dev/null; touch /x 2>/dev/null || echo no",
         "1 no"),
        (["-pm", "--root=tmpfs", *SYSTEM, "--no-proc", "--proc", "/p"], "ls -d /p/1", "/p/1"),
        (["-m", "--bind", "/usr/share", "/mnt"], "test -d /mnt/doc && echo there", "there"),
        (["-m", "--tmpfs=/mnt"], "ls -A /mnt; touch /mnt/x && ls /mnt", "x"),
        (["-m", "--tmpfs-of", "3M", "/mnt"], "echo $(($(stat -fc '%b * %S' /mnt)))", "3145728"),
        (["-m", "--root=tmpfs:100M", *SYSTEM, "--proc", "/proc"],
         "echo $(($(stat -fc '%b * %S' /)))", "104857600"),
        (["--umask", "027"], "umask", "0027"),
        (["--caps", "chown,CAP_KILL"], STATUS.format("CapEff|CapBnd"), "0000000000000021 " * 2),
        (["--caps="], STATUS.format("CapEff|CapBnd"), "0000000000000000 " * 2),
        (["-U", "--keep-caps"], STATUS.format("CapEff") + " | tr -d 0", "1ffffffffff"),
        (["-U", "--map-users=0:1:10", "--map-groups=0:1:10", "-S7", "--keep-caps"],
         STATUS.format("CapAmb") + " | tr -d 0", "1ffffffffff"),
        (["--no-new-privs"], STATUS.format("NoNewPrivs"), "1"),
        (["--seccomp", "strict"], STATUS.format("Seccomp:"), "2"),
        (["--landlock", "/:rx", "--landlock", "/tmp:rw"],
         "touch /root/x 2>/dev/null || echo no; rm -f /tmp/nsenter-x; touch /tmp/nsenter-x && "
         "rm /tmp/nsenter-x && echo yes", "no yes"),
        (["--rlimit", "nofile=100:200", "--rlimit", "core=0"],
         "ulimit -Sn; ulimit -Hn; ulimit -c", "100 200 0"),
        (["--rlimit", "RLIMIT_STACK=unlimited:unlimited"], "ulimit -s", "unlimited"),
        (["--cpus", "0-0"], STATUS.format("Cpus_allowed_list"), "0"),
        (["--net"], "ip -o link show lo | grep -c UP,", "1"),
        (["--net", "--no-loopback"], "ip -o link show lo | grep -c UP, || true", "0"),
        (["-pm", "--init"], "echo $PPID; cat /proc/1/comm", "1 nsinit"),
        (["--same-session"], "ps -o sid= -p $$ | tr -d ' '", "SESSION"),
        (["--preset", "sandbox"], "hostname; id -u; ip -o link | wc -l", "sandbox 65534 1"),
        (["--preset", "sandbox", "--hostname", "box", "--tmpfs", "/x"],
         "hostname; ls /x", "box"),
        (["--preset", "offline"], "ip -o link | wc -l; pwd -P", f"1 {ROOT}"),
        (["--preset=rootless-root"], "id -u; echo $$", "0 1"),
    ],
)  # fmt: skip
def test_what_is_given_and_denied_is_read_back_from_inside(
    words: list[str], script: str, said: str
) -> None:
    said = said.replace("SESSION", str(os.getsid(0)))
    assert run_sh(*words, script=script).split() == said.split()


def test_a_filter_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "filter"
    file.write_bytes(struct.pack("=HBBI", 6, 0, 0, 0x7FFF_0000))  # allow all
    assert run_sh(f"--seccomp={file}", script=STATUS.format("Seccomp:")) == "2"


def test_a_command_that_dies_with_its_parent_does() -> None:
    process = subprocess.Popen(
        [*COMMAND, "run", "--kill-child", "--", "sh", "-c", "echo $$; exec sleep 60"],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        pidfd = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
        try:
            assert select.select([pidfd], [], [], SECONDS)[0], "it lives on"
        finally:
            os.close(pidfd)


# --- run: a terminal ------------------------------------------------------------------------------


def test_a_command_has_a_terminal_of_its_own_and_what_is_typed_reaches_it() -> None:
    script = "tty; read line; echo got $line; read more || echo end"
    result = nsenter("run", "--terminal", "--", "sh", "-c", script, stdin=b"hello\n")
    lines = result.stdout.replace("\r", "").split("\n")
    assert result.returncode == 0, result.stderr
    assert any(line.startswith("/dev/pts/") for line in lines)
    assert "got hello" in lines and "end" in lines


def test_much_output_and_input_at_once_pass_a_terminal() -> None:
    """Who writes first and reads then is not waited for with what is typed."""
    typed = b"".join(b"%06d\n" % number for number in range(20_000))
    script = "stty -echo; echo ready; seq 50000; wc -l"
    result = nsenter("run", "--terminal", "--", "sh", "-c", script, stdin=typed)
    assert result.returncode == 0, result.stderr
    # What came before it was echoed.
    lines = result.stdout.replace("\r", "").partition("ready\n")[2].split("\n")
    assert lines[:50_000] == [str(number) for number in range(1, 50_001)]
    assert lines[50_000].strip() == "20000"


def test_the_terminal_has_the_size_of_ours_and_our_keys_are_its_signals() -> None:
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (33, 99))
    before = termios.tcgetattr(follower)
    script = "trap 'echo interrupted; exit 7' INT; while :; do stty size; sleep 0.05; done"
    process = subprocess.Popen(
        [*COMMAND, "run", "--terminal", "--", "sh", "-c", script],
        stdin=follower, stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        with killed_at_the_end(process) as stdout:
            # It may be there before it has the size.
            assert any(stdout.readline().strip() == b"33 99" for _ in range(100))
            os.write(leader, b"\3")  # Ctrl-C
            assert b"interrupted" in stdout.read()
            assert process.wait(SECONDS) == 7
        assert termios.tcgetattr(follower) == before, "our terminal is not as it was"
    finally:
        os.close(leader)
        os.close(follower)


def test_what_holds_a_terminal_open_does_not_hold_the_command() -> None:
    start = time.monotonic()
    script = "setsid sh -c 'trap \"\" HUP; sleep 30' & echo out"
    result = nsenter("run", "--terminal", "-p", "--", "sh", "-c", script)
    assert result.stdout.strip().endswith("out") and time.monotonic() - start < SECONDS


def test_the_commands_own_options_are_its_own() -> None:
    result = nsenter("run", "--uts", "printf", "%s ", "--net", "--help", "-x")
    assert result.stdout == "--net --help -x ", result.stderr
    assert nsenter("run", "--uts", "--", "printf", "--", "%s", "-a").stdout == "-a"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bogus"], "--bogus: there is no such option; --help lists those that are"),
        (["-mX"], "-X: there is no such option"),
        (["--fork=yes"], "--fork=yes: expected --fork"),
        (["--target", "x"], "--target x: expected a pid"),
        (["--target", "0"], "--target 0: expected a pid"),
        (["--join", "net"], "--join net: expected pid=PID or TYPE=PATH"),
        (["--join", "bogus=/x"], "--join bogus=/x: unknown namespace type 'bogus'"),
        (["--new", "net,bogus"], "--new net,bogus: unknown namespace type 'bogus'"),
        (["--oom-score-adj", "much"], "--oom-score-adj much: expected a whole number"),
        (["--oom-score-adj", "5000"], "OOM_SCORE_ADJ"),
        (["--monotonic", "1.5"], "--monotonic 1.5: expected a whole number"),
        (["--monotonic", "1"], "time"),
        (["--map-users", "0:0"], "--map-users 0:0: expected INNER:OUTER:COUNT, three numbers"),
        (["--map-users", "0:0:0"], "--map-users 0:0:0: id map"),
        (["--map-users", "0:0:1"], "--map-users and --map-groups must be given together"),
        (["--map-users", "0:0:1", "--map-auto"], "cannot be given together with --map-auto"),
        (["--map-root", "--user=/proc/self/ns/user"], "maps='root' requires a new user"),
        (["--into-cgroup", "/no/such"], "/no/such: No such file or directory"),
        (["--wd", "/no/such"], "init: chdir /no/such: No such file or directory"),
        (["--trace=/no/such/file"], "/no/such/file: No such file or directory"),
        (["--uts", "--hostname", "x" * 65], "sethostname"),
        (["--user=/proc/self/ns/user"], "setns user:/proc/self/ns/user: Invalid argument (it is a"),
        (["--setuid", "me"], "--setuid me: expected a whole number"),
        (["--groups", "1,x"], "--groups 1,x: expected a whole number"),
        (["-U", "--setuid", "7"], "uid 7: the new user namespace does not map it"),
        (["--root", "tmpfs"], "root='tmpfs' requires a new mnt namespace: add \"mnt\""),
        (["-m", "--root", "/no/such"], "mount the root /no/such: No such file"),
        (
            ["-m", "--bind", "/no/such", "/mnt"],
            "bind /no/such: No such file or directory (the path",
        ),
        (["-m", "--bind", "usr", "/mnt"], "source must be an absolute path"),
        (["-m", "--bind=/usr", "/mnt"], "--bind=/usr: expected --bind SOURCE TARGET"),
        (["--umask", "9"], "--umask 9: expected an octal number"),
        (["-m", "--tmpfs-of", "big", "/mnt"], "expected a number of bytes"),
        (["-m", "--tmpfs-of", "0", "/mnt"], "expected a number of bytes"),
        (["-m", "--root", "tmpfs:"], "expected a number of bytes"),
        (["--umask", "7777"], "umask"),
        (["--caps", "fly"], "capabilities: 'fly' is not a capability"),
        (["--landlock", "/usr"], "--landlock /usr: expected PATH:LETTERS, of r, w and x"),
        (["--landlock", "/no/such:r"], "/no/such: No such file or directory (the path of a rule"),
        (["--seccomp", "/no/such"], "/no/such: No such file or directory"),
        (["--seccomp", "/etc/hostname"], "no program of 1 … 4096 instructions"),
        (["--rlimit", "nofile"], "--rlimit nofile: expected NAME=SOFT or NAME=SOFT:HARD"),
        (["--rlimit", "nofile=1:"], "--rlimit nofile=1:: expected NAME=SOFT or NAME=SOFT:HARD"),
        (["--rlimit", "bogus=1"], "rlimits: 'bogus' is none of"),
        (["--rlimit", "nofile=2:1"], "the soft limit is above the hard one"),
        (["--rlimit", "nofile=many"], "rlimits: nofile: 'many' is neither a number nor"),
        (["--cpus", "1-x"], "--cpus 1-x: expected a whole number"),
        (["--cpus", "8000"], "sched_setaffinity"),
        (["--init"], "init=True requires a new pid namespace"),
        (["--terminal", "--same-session"], "terminal=True requires new_session=True"),
        (["--preset", "paranoid"], "--preset paranoid: expected one of sandbox, offline"),
        (["--net", "--mount-proc"], "mount_proc requires a new or joined mnt namespace"),
    ],
)
def test_what_is_wrong_with_the_words_is_said_before_anything_runs(
    words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status = __main__.main(["run", *words, "--", "echo", "it ran"])
    out, errors = capfd.readouterr()
    assert (status, out) == (125, "")
    assert errors.startswith("nsenter: ") and said in errors
    assert "[Errno" not in errors


def test_a_value_that_is_missing_is_said() -> None:
    result = nsenter("run", "--uts", "--wd")
    assert (result.returncode, result.stderr) == (125, "nsenter: --wd: expected --wd DIR\n")


def test_a_trace_is_told_on_stderr_and_the_output_is_the_commands() -> None:
    result = nsenter("run", "--all", "--trace", "--", "echo", "it ran")
    assert (result.returncode, result.stdout) == (0, "it ran\n")
    assert result.stderr.splitlines()[0].split() == ["at", "took", "stage", "came", "to"]
    assert "launcher  ready" in result.stderr and "━" in result.stderr


def test_a_trace_is_drawn_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "trace.svg"
    result = nsenter("run", "--all", "--python", f"--trace={file}", "--", "sh", "-c", "exit 3")
    assert (result.returncode, result.stderr) == (3, "")
    root = ElementTree.parse(file).getroot()
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0].startswith("nsenter run --all --python")
    assert {"launcher", "parent", "init"} <= set(texts)


# --- help ----------------------------------------------------------------------------------------

COMMANDS = ("run", "sandbox", "ls", "doctor", "types", "encode", "decode", "stub")


@pytest.mark.parametrize("words", [(), ("bogus",), ("--help",), ("-h",)])
def test_the_commands_are_listed(words: Sequence[str]) -> None:
    result = nsenter(*words)
    is_help = words and words[0].startswith("-")
    assert result.returncode == (0 if is_help else 125)
    assert set(COMMANDS) <= set((result.stdout + result.stderr).replace(",", " ").split())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_tells_of_itself_and_of_no_line_that_is_too_long(command: str) -> None:
    result = nsenter(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: python -m nsenter {command} ")
    assert "--help, -h" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_each_option_of_run_is_in_its_help_once() -> None:
    text = nsenter("run", "--help").stdout
    for option in OPTIONS:
        if option.help:
            assert text.count(f"  {option.spelled(', '.join(option.names))}") == 1, option.names
    names = [name for option in OPTIONS for name in option.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_imports_no_other_and_no_argparse(command: str) -> None:
    script = (
        f"import sys; from nsenter.__main__ import main; main([{command!r}, '--help']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = set(done.stderr.split())
    assert "argparse" not in loaded
    assert {f"nsenter.commands.{name}" for name in COMMANDS} & loaded == {
        f"nsenter.commands.{command}"
    }


# --- types, encode, decode, stub -----------------------------------------------------------------


def test_types_lists_all_eight() -> None:
    result = nsenter("types")
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["user", "ipc", "uts", "net", "pid", "mnt", "cgroup", "time"]
    assert all(row[3] == "yes" for row in rows)


DOCUMENT = {
    "namespaces": [
        {"type": "user"},
        {"type": "time"},
        {"type": "network", "path": "/run/netns/blue"},
    ],
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
    "uidmapPath": "/usr/bin/newuidmap",
    "setgroup": True,
    "oomScoreAdj": -5,
    "rootlessEUID": True,
    "timeOffsets": {"boottime": {"secs": 7, "nanosecs": 5}},
}


def test_json_goes_through_a_message_and_comes_back() -> None:
    encoded = nsenter("encode", "--hex", stdin=json.dumps(DOCUMENT).encode())
    decoded = nsenter("decode", "--json", stdin=encoded.stdout.encode())
    assert json.loads(decoded.stdout) == DOCUMENT, encoded.stderr + decoded.stderr


def test_decode_explains_each_attribute() -> None:
    encoded = nsenter("encode", "--hex", stdin=json.dumps(DOCUMENT).encode())
    lines = nsenter("decode", stdin=encoded.stdout.encode()).stdout.splitlines()
    assert lines[1].split()[:4] == ["16", "CLONE_FLAGS", "(27281)", "int32"]
    assert lines[1].endswith("new: user, time")
    assert any("'net:/run/netns/blue'" in line for line in lines)


@pytest.mark.parametrize(
    "vector",
    json.loads((VECTORS / "malformed.json").read_text())["messages"],
    ids=lambda vector: vector["name"],
)
def test_decode_says_what_is_wrong_with_a_bad_message(
    vector: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(vector["hex"].encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert __main__.main(["decode"]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("refused: ") and "at offset" in errors


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[", "<stdin>: not JSON"),
        ("[]", "must be an object"),
        ('{"oops": 1}', "oops: unknown key"),
        ('{"namespaces": [{"type": "bogus"}]}', "namespaces[0].type"),
        ('{"oomScoreAdj": "5"}', "oomScoreAdj must be a whole number"),
        ('{"setgroup": 1}', "setgroup must be true or false"),
        ('{"uidMappings": [{"containerID": 0}]}', "uidMappings[0].hostID"),
        ('{"timeOffsets": {"sidereal": {}}}', "'sidereal'"),
        ('{"oomScoreAdj": 5000}', "OOM_SCORE_ADJ"),
    ],
)
def test_encode_names_what_is_wrong_with_a_document(document: str, said: str) -> None:
    result = nsenter("encode", stdin=document.encode())
    assert result.returncode == 125 and not result.stdout
    assert said in result.stderr


def test_stub_becomes_nsinit() -> None:
    path = nsenter("stub", "--path").stdout.strip()
    assert Path(path).name == "nsinit" and os.access(path, os.X_OK)
    assert "name the program" in nsenter("stub").stderr
    # Without a parent that speaks the protocol it says what it is missing.
    assert "_LIBCONTAINER_INITPIPE" in nsenter("stub", "--", "true").stderr
