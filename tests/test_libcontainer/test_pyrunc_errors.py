"""Errors have runc's form: on standard error, and in the log as text and as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from launching import read_line
from libcontainer.pyrunc import main
from libcontainer.runc_messages import hint_for_config
from nsenter._host.hints import FACTS
from pyrunc import Runtime

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def ours(tmp_path: Path) -> Runtime:
    return Runtime(pyrunc.PYRUNC, tmp_path / "state")


@pytest.fixture
def theirs(tmp_path: Path) -> Runtime:
    return pyrunc.runc(tmp_path)


def _shape(text: str, message: str) -> str:
    """A line without what differs: when it was, and what it says."""
    return TIME.sub("TIME", text).replace(message, "MESSAGE")


def _message(line: str) -> str:
    """Of a line of the log in either form."""
    if line.startswith("{"):
        return str(json.loads(line)["msg"])
    return re.search(r'msg="((?:[^"\\]|\\.)*)"', line)[1]  # type: ignore[index]


@pytest.mark.parametrize("form", [[], ["--log-format", "json"], ["--log-format=text"]])
@pytest.mark.parametrize("to_a_file", [False, True])
def test_a_container_that_is_not_there(
    ours: Runtime, theirs: Runtime, tmp_path: Path, form: Any, to_a_file: Any
) -> None:
    shapes: list[Any] = []
    for runtime in (ours, theirs):
        log = tmp_path / f"log{len(shapes)}"
        done = runtime(*form, *(["--log", log] if to_a_file else []), "state", "nope")
        line = log.read_text() if to_a_file else done.stderr
        message = _message(line)
        said = json.loads(f'"{message}"') if not line.startswith("{") else message
        assert "does not exist" in said
        if to_a_file:
            assert done.stderr == f"{said}\n"
        shapes.append((done.returncode, done.stdout, _shape(line, json.dumps(said)[1:-1])))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "words",
    [
        ["state", "nope"],
        ["start", "nope"],
        ["kill", "nope"],
        ["kill", "nope", "BOGUS"],
        ["delete", "nope"],
        ["delete", "--force", "nope"],
        ["delete", "nope", "--force"],
        ["exec", "nope", "ls"],
        ["exec", "nope"],
        ["ps", "nope"],
        ["pause", "nope"],
        ["resume", "nope"],
        ["update", "nope"],
        ["events", "nope"],
        ["events", "--interval", "0s", "nope"],
        ["run", "-b", "/nonexistent", "x"],
        ["create", "-b", "/nonexistent", "x"],
        ["list", "-f", "xml"],
        ["list", "-q"],
        ["state", ""],
        ["bogus"],
        ["help", "bogus"],
        ["--log-format", "xml", "list"],
        ["--log", "/nonexistent/log", "list"],
        ["--bogus"],
        ["help"],
        ["state", "-h"],
        ["--version"],
        [],
    ],
)
def test_exit_statuses_are_runcs(ours: Runtime, theirs: Runtime, words: list[str]) -> None:
    mine, its = ours(*words), theirs(*words)
    assert mine.returncode == its.returncode
    assert bool(mine.stderr) == bool(its.stderr)
    assert bool(mine.stdout) == bool(its.stdout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["state", ""], "container id cannot be empty"),
        (["--log-format", "xml", "list"], "invalid log-format: xml"),
        (["events", "--interval", "0s", "nope"], "duration interval must be greater than 0"),
        (["exec", "nope", "ls"], "exec failed: container"),
        (["bogus"], "No help topic for 'bogus'"),
    ],
)
def test_messages_that_are_runcs(ours: Runtime, words: list[str], message: str) -> None:
    assert message in ours(*words).stderr


def test_a_command_that_fails_says_which_one(ours: Runtime, tmp_path: Path) -> None:
    assert "pyrunc run failed: JSON specification file" in ours("run", "x", cwd=tmp_path).stderr
    assert "pyrunc create failed: " in ours("create", "x", cwd=tmp_path).stderr


@pytest.mark.parametrize("command", ["checkpoint", "restore"])
def test_what_is_not_supported_says_so(ours: Runtime, command: str) -> None:
    done = ours(command, "--image-path", "/tmp", "x")
    assert done.returncode == 1
    assert f"{command} is not supported" in done.stderr


def test_on_a_terminal_it_is_for_people(ours: Runtime) -> None:
    master, slave = os.openpty()
    try:
        ours("state", "nope", stderr=slave, stdout=subprocess.DEVNULL, capture_output=False)
        said = read_line(master)
    finally:
        os.close(master)
        os.close(slave)
    assert re.match(r"\x1b\[31mERRO\x1b\[0m\[000\d\] container ", said)


def test_debug_tells_what_is_done(ours: Runtime) -> None:
    assert "level=debug" in ours("--debug", "list").stderr
    assert ours("list").stderr == ""


def test_advice_is_for_who_writes_a_config_json() -> None:
    for name, fact in FACTS.items():
        advice = hint_for_config(f"something was found: {fact.do}")
        assert advice.startswith("something was found: ")
        for other in ("Options(", "`--user", "--root ", "--map-", "--no-proc", "nsenter types"):
            assert other not in advice, name


def test_without_privileges_a_config_json_must_name_a_user_namespace(
    ours: Runtime, tmp_path: Path
) -> None:
    pyrunc.make_bundle(tmp_path / "bundle")
    without = Runtime(["setpriv", "--bounding-set=-sys_admin", *pyrunc.PYRUNC], tmp_path / "state")
    said = without("run", "--bundle", tmp_path / "bundle", "c").stderr
    assert "uid 0 has no CAP_SYS_ADMIN: config.json must name a user namespace" in said


def test_a_config_json_that_is_none_is_named(ours: Runtime, tmp_path: Path) -> None:
    for text in ("", "{", "{]", "[1, 2, 3x]", '{"a": 1x}', '"words"'):
        (tmp_path / "config.json").write_text(text)
        done = ours("run", "-b", tmp_path, "x")
        assert done.returncode == 1
        assert f"{tmp_path}/config.json" in done.stderr, text
        assert "internal error" not in done.stderr


def test_a_number_with_too_many_digits_is_told_in_words_of_json(
    ours: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(f'{{"ociVersion": {"9" * 5000}}}')
    done = ours("run", "-b", tmp_path, "x")
    assert f"{tmp_path}/config.json" in done.stderr
    assert "a number has too many digits" in done.stderr
    assert "set_int_max_str_digits" not in done.stderr


def test_memory_that_runs_out_is_no_fault_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def without_memory(command: str, context: object) -> int:
        raise MemoryError

    monkeypatch.setattr(main, "_execute", without_memory)
    assert main.run(["list"]) == 1
    said = capfd.readouterr().err
    assert "cannot allocate memory (ulimit -v" in said
    assert "internal error" not in said and "Traceback" not in said


def test_nobody_reads_what_it_says(ours: Runtime) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = ours("help", stdout=writer, stderr=subprocess.PIPE, capture_output=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
