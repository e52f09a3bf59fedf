"""`python -m nsenter`: what a person types, reads and gets back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from needs import needs
from rootless import as_user

VECTORS = Path(__file__).parent.parent / "vectors"
COMMAND = [sys.executable, "-m", "nsenter"]
ROOT = Path(__file__).parent.parent.parent

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


def test_a_python_init_reaps_what_is_left_to_it() -> None:
    script = "(sleep 0.1 & exec true); sleep 0.4; cat /proc/[0-9]*/stat | grep -c ' Z '"
    result = nsenter("run", "--new", "user,pid,mnt", "--python", "--", "sh", "-c", script)
    assert result.stdout.strip() == "0", result.stderr


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
