"""Text from a container cannot send commands to a terminal or forge lines of a log."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import pyrunc
from nsenter._host.printable import printable
from processes import name_of, wait_until
from pyrunc import Runtime

runtime = pytest.fixture(pyrunc.runtimes)
# Clear the screen; a line of its own; a control of the second set, as a character and as a byte;
# text from right to left; a bell, a backspace, and delete.
ORDERS = "a\x1b[2J\n\r\nlevel=info msg=forged\x9b31m\udc9b\u202e\u2028\a\b\x7fz"
SHOWN = r"a\x1b[2J\n\r\nlevel=info msg=forged\x9b31m\x9b\u202e\u2028\x07\x08\x7fz"  # as it is shown


def seen(data: bytes) -> set[str]:
    """What of it is an order."""
    text = data.decode("utf-8", "surrogateescape")
    return {c for c in text if not c.isprintable()} - {"\n"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ORDERS, SHOWN),
        ("plain, and ünïcode", "plain, and ünïcode"),
        ("\U000e0001", r"\U000e0001"),
        ("", ""),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_what_is_kept() -> None:
    assert printable("a\tb\n\x1b", keep="\t\n") == "a\tb\n\\x1b"


def bundle_with(tmp_path: Path, word: str) -> Path:
    return pyrunc.make_bundle(tmp_path / "bundle", [word])


def on_a_terminal(words: list[str]) -> bytes:
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    said = b""
    while True:
        try:
            piece = os.read(fd, 1 << 16)
        except OSError:  # the other end is closed
            break
        said += piece
    os.waitpid(pid, 0)
    os.close(fd)
    return said.replace(b"\r\n", b"\n")


def test_an_error_on_a_terminal(runtime: Runtime, tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path, ORDERS)
    said = on_a_terminal([*runtime.argv, "run", "-b", str(bundle), "box"])
    colors = said.replace(b"\x1b[31m", b"").replace(b"\x1b[0m", b"")
    assert seen(colors) == set()
    assert SHOWN.encode() in said
    assert said.count(b"\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("to_file", [False, True])
def test_an_error_in_a_log(runtime: Runtime, tmp_path: Path, form: str, to_file: bool) -> None:
    log = ["--log", str(tmp_path / "log")] if to_file else []
    words = [*runtime.argv, "--log-format", form, *log]
    bundle = bundle_with(tmp_path, ORDERS)
    done = subprocess.run([*words, "run", "-b", str(bundle), "box"], capture_output=True)
    logged = (tmp_path / "log").read_bytes() if to_file else done.stderr
    for said in (done.stderr, logged):
        assert seen(said) == set()
        assert said.count(b"\n") == 1
    assert b"forged" in done.stderr
    if form == "json":
        assert ORDERS in json.loads(logged)["msg"].replace('\\"', '"')


def test_a_state_that_was_tampered_with(runtime: Runtime, tmp_path: Path) -> None:
    bundle = pyrunc.make_bundle(tmp_path / "bundle", ["sleep", "1000"])
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    file = runtime.root / "box/state.json"
    state = json.loads(file.read_text())
    # Which no path could be, and no runtime would write.
    text = json.dumps(state).replace(json.dumps(str(bundle))[1:-1], json.dumps(ORDERS)[1:-1])
    file.write_text(text)
    for words in (["list"], ["list", "-f", "json"], ["state", "box"], ["ps", "box"]):
        done = subprocess.run([*runtime.argv, *words], capture_output=True)
        assert seen(done.stdout + done.stderr) == set(), words
    file.write_text(json.dumps(state))


def test_processes_that_name_themselves(runtime: Runtime, tmp_path: Path) -> None:
    script = 'printf "\\033[2J\\233" >/proc/self/comm; while :; do sleep 1; done'
    bundle = pyrunc.make_bundle(tmp_path / "bundle", ["sh", "-c", script, "\x1b[2Jname"])
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    pid = str(runtime.state("box")["pid"])
    wait_until(lambda: "[2J" in name_of(pid))
    for words in (["ps", "box"], ["ps", "box", "-eo", "pid,comm,args"]):
        done = subprocess.run([*runtime.argv, *words], capture_output=True)
        assert b"[2J" in done.stdout
        assert seen(done.stdout) == set()
    words = [sys.executable, "-m", "nsenter", "ls", "--task", pid]
    done = subprocess.run(words, capture_output=True)
    assert b"[2J" in done.stdout
    assert seen(done.stdout) == set()
