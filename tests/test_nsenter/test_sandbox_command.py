"""`python -m nsenter sandbox` does what Sandbox does, and its exit status says how it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launching import SECONDS


def sandbox(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "nsenter", "sandbox", *words]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=SECONDS, check=False)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["true"], 0, b""),
        (["--", "sh", "-c", "exit 7"], 7, b""),
        (["sh", "-c", "kill -9 $$"], 137, b"nsenter: signalled\n"),
        (["--timeout", "0.2", "sleep", "1000"], 124, b"nsenter: timeout\n"),
        (["--output-limit", "1K", "sh", "-c", "while :; do echo x; done"], 137, b"output limit"),
        (["/no/such"], 127, b"execve /no/such: No such file"),
        (["/etc"], 126, b"execve /etc"),
        ([], 125, b"the command to run is missing"),
        (["--pids", "many", "true"], 125, b"--pids many: expected a whole number"),
        (["--pids", "0", "true"], 125, b"pids must be 1 "),
        (["--commit", "x", "true"], 125, b"--commit requires --overlay and --workspace"),
        (["--egress", "a:1", "--share-net", "true"], 125, b"--egress and --share-net"),
        (["--setenv", "A", "true"], 125, b"--setenv A: expected NAME=VALUE"),
    ],
    ids=str,
)
def test_the_exit_status_and_what_is_said(words: list[str], status: int, said: bytes) -> None:
    done = sandbox(*words)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    if not said:
        assert done.stderr == b""


def test_streams_are_passed_on() -> None:
    done = sandbox("--stdin", "sh", "-c", "cat; echo err >&2", stdin=b"in")
    assert (done.stdout, done.stderr) == (b"in", b"err\n")
    assert sandbox("cat", stdin=b"not passed on").stdout == b""


def test_variables_are_the_sandboxs_and_those_that_are_set() -> None:
    done = sandbox("--setenv", "A=b=c", "env")
    lines = done.stdout.decode().splitlines()
    assert "A=b=c" in lines and any(line.startswith("PATH=") for line in lines)
    assert not any(line.startswith("PYTHONPATH") for line in lines)


def test_the_result_is_json() -> None:
    done = sandbox("--json", "sh", "-c", "echo out; echo err >&2; kill -9 $$")
    told = json.loads(done.stdout)
    assert (told["verdict"], told["stdout"], told["stderr"]) == ("signalled", "out\n", "err\n")
    assert told["usage"]["cpu_time"] > 0 and told["error"] is None
    told = json.loads(sandbox("--json", "/no/such").stdout)
    assert told["verdict"] == "not_started" and "/no/such" in told["error"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_changes_of_an_overlay_are_kept_if_asked_for(tmp_path: Path, is_kept: bool) -> None:
    (tmp_path / "in.txt").write_text("given")
    commit = ["--commit", "out.txt"] if is_kept else []
    words = ["--workspace", str(tmp_path), "--overlay", *commit]
    done = sandbox(*words, "sh", "-c", "cp in.txt out.txt; echo > other")
    assert (done.returncode, done.stderr) == (0, b"")
    assert {path.name for path in tmp_path.iterdir()} == {"in.txt", *(["out.txt"] * is_kept)}


def test_sigterm_ends_it_and_leaves_nothing() -> None:
    argv = [sys.executable, "-m", "nsenter", "sandbox", "sh", "-c", "echo up; sleep 1000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
        assert process.stdout.read() == b""  # nobody holds the other end any more
