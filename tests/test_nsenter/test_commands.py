"""`python -m nsenter`: what a person types, reads and gets back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from needs import needs
from nsenter.commands import run
from nsenter.commands.run_options import OPTIONS
from nsenter.launch import Program
from nsenter.options import Options
from rootless import as_user

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
        (["--hostname", "box", "--", "true"], "takes a new or joined uts namespace"),
    ],
)
def test_what_cannot_be_done_is_said_and_is_125(words: Sequence[str], said: str) -> None:
    result = nsenter("run", *words)
    assert result.returncode == 125
    assert said in result.stderr and "Traceback" not in result.stderr


def test_an_unknown_type_is_a_mistake_in_usage() -> None:
    result = nsenter("run", "--new", "bogus", "--", "true")
    assert result.returncode == 125
    assert "nsenter: --new bogus: unknown namespace type 'bogus'" in result.stderr


def test_all_namespaces_of_a_process_are_joined() -> None:
    holder = subprocess.Popen(
        [needs("unshare", package="util-linux"), "--uts", "--net", "--ipc", "sleep", "60"]
    )
    try:
        time.sleep(0.2)  # until unshare has done its work
        script = "readlink /proc/self/ns/uts /proc/self/ns/net /proc/self/ns/ipc"
        result = nsenter("run", "--join", f"pid={holder.pid}", "--", "sh", "-c", script)
        theirs = [os.readlink(f"/proc/{holder.pid}/ns/{n}") for n in ("uts", "net", "ipc")]  # noqa: PTH115
        assert result.stdout.split() == theirs, result.stderr
    finally:
        holder.kill()
        holder.wait()


def test_a_signal_is_passed_on_and_a_second_request_kills() -> None:
    # PID 1 of a pid namespace ignores a SIGTERM that it has no handler for.
    process = subprocess.Popen(
        [*COMMAND, "run", "--new", "pid", "--", "sh", "-c", "trap 'echo got' USR1; echo up; "
         "while :; do sleep 0.05; done"], stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == "got\n"
        process.terminate()
        time.sleep(0.2)
        assert process.poll() is None
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGKILL


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
    script = "(sleep 0.1 & exec true); sleep 0.4; cat /proc/[0-9]*/stat | grep -c ' Z '"
    result = nsenter("run", "--new", "user,pid,mnt", "--python", "--", "sh", "-c", script)
    assert result.stdout.strip() == "0", result.stderr


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


@pytest.mark.parametrize("kind", nsenter_types())
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
        [needs("unshare", package="util-linux"), "--mount", "sh", "-e", "-c", script],
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
        (["--map-users=0:0:1000", "--map-groups=0:0:500"],
         "cat /proc/self/uid_map /proc/self/gid_map", "0 0 1000 0 0 500"),
        (["--map-users", "0:0:10", "--map-users", "10:5000:10", "--map-groups", "0:0:1"],
         "cat /proc/self/uid_map", "0 0 10 10 5000 10"),
        (["--uts", "--hostname", "box"], "hostname", "box"),
        (["--wd", "/usr"], "pwd", "/usr"),
        (["--chdir=/usr"], "pwd", "/usr"),
        (["-w/usr"], "pwd", "/usr"),
        (["-pm"], "ls -d /proc/[0-9]* | wc -l", "3"),
        (["-m", "--pid", "--mount-proc"], "echo $$; readlink /proc/self >/dev/null && echo own",
         "1 own"),
        (["-pm", "--no-proc"], "test $(ls -d /proc/[0-9]* | wc -l) -gt 5 && echo hosts", "hosts"),
        (["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
        (["--time", "--monotonic", "86400", "--boottime=-10"],
         "cat /proc/self/timens_offsets", "monotonic 86400 0 boottime -10 0"),
    ],
)  # fmt: skip
def test_an_option_is_read_back_from_inside(words: list[str], script: str, said: str) -> None:
    assert run_sh(*words, script=script).split() == said.split()


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
        (["--map-users", "0:0:1"], "--map-users and --map-groups: one takes the other"),
        (["--map-users", "0:0:1", "--map-auto"], "--map-auto says already which ids there are"),
        (["--map-root", "--user=/proc/self/ns/user"], "maps 'root': this takes a new user"),
        (["--into-cgroup", "/no/such"], "/no/such: No such file or directory"),
        (["--wd", "/no/such"], "init: chdir /no/such: No such file or directory"),
        (["--trace=/no/such/file"], "/no/such/file: No such file or directory"),
        (["--uts", "--hostname", "x" * 65], "sethostname"),
        (["--user=/proc/self/ns/user"], "setns user:/proc/self/ns/user: Invalid argument (it is a"),
        (["--net", "--mount-proc"], "mount_proc: this takes a new or joined mnt namespace"),
    ],
)
def test_what_is_wrong_with_the_words_is_said_before_anything_runs(
    words: list[str], said: str
) -> None:
    result = nsenter("run", *words, "--", "echo", "it ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr.startswith("nsenter: ") and said in result.stderr
    assert "Traceback" not in result.stderr and "[Errno" not in result.stderr


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

COMMANDS = ("run", "ls", "doctor", "types", "encode", "decode", "stub")


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
def test_decode_says_what_is_wrong_with_a_bad_message(vector: dict[str, str]) -> None:
    result = nsenter("decode", stdin=vector["hex"].encode())
    assert result.returncode == 1
    assert result.stderr.startswith("refused: ") and "at offset" in result.stderr


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[", "<stdin>: not JSON"),
        ("[]", "expected an object"),
        ('{"oops": 1}', "oops: unknown key"),
        ('{"namespaces": [{"type": "bogus"}]}', "namespaces[0].type"),
        ('{"oomScoreAdj": "5"}', "oomScoreAdj: expected int"),
        ('{"setgroup": 1}', "setgroup: expected bool"),
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
