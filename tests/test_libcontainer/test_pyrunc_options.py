"""The table of options has every option of runc, and the parser reads lines as runc does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from libcontainer.pyrunc import help as pyrunc_help
from libcontainer.pyrunc.options import (
    COMMANDS,
    FLAG,
    GLOBAL,
    UsageError,
    parse_command,
    parse_globals,
)
from needs import needs

# runc 1.2's, of which an older one's help knows nothing.
NEWER = {
    "create": ["pidfd-socket"],
    "run": ["pidfd-socket"],
    "exec": ["pidfd-socket"],
    "update": ["cpu-burst", "cpu-idle"],
}


def _runc_options(*command: str) -> dict[str, tuple[str, bool]]:
    """Letter, and whether it takes a value, by name: what runc's help says."""
    runc = needs("runc", package="runc")
    text = subprocess.run([runc, *command, "--help"], capture_output=True, text=True).stdout
    line = re.compile(r"^   --([\w-]+)( value)?(?:, -(\w)(?: value)?)?  ", re.M)
    _, _, options = text.partition("OPTIONS:")
    return {name: (letter, bool(value)) for name, value, letter in line.findall(options)}


def _ours(options: tuple[Any, ...]) -> dict[str, tuple[str, bool]]:
    return {name: (letter, kind != FLAG) for name, letter, kind, _, _ in options}


def test_every_command_of_runc_is_there() -> None:
    runc = needs("runc", package="runc")
    text = subprocess.run([runc, "--help"], capture_output=True, text=True).stdout
    section = text.partition("COMMANDS:")[2].partition("GLOBAL OPTIONS:")[0]
    names = re.findall(r"^   ([\w]+)", section, re.M)
    assert set(names) - {"help"} == set(COMMANDS) - {"image"}  # ours alone


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("checkpoint", "restore")])
def test_every_option_of_runc_is_in_the_table(command: str) -> None:
    theirs, ours = _runc_options(command), _ours(COMMANDS[command][-1])
    assert {name: ours.get(name) for name in theirs} == theirs
    assert set(NEWER.get(command, ())) <= set(ours)


def test_every_global_option_of_runc_is_in_the_table() -> None:
    theirs, ours = _runc_options(), _ours(GLOBAL)
    assert theirs
    assert {name: ours.get(name) for name in theirs} == theirs


@pytest.mark.parametrize(
    "words",
    [
        ["--bundle", "/b", "x"],
        ["--bundle=/b", "x"],
        ["-bundle", "/b", "x"],
        ["-bundle=/b", "x"],
        ["-b", "/b", "x"],
        ["-b=/b", "x"],
        ["--b", "/b", "x"],
        ["x", "-b", "/b"],  # runc takes options behind the arguments, too
        ["-b", "/b", "--", "x"],
    ],
)
def test_a_value_is_taken_in_every_form_that_go_knows(words: list[str]) -> None:
    options, arguments = parse_command("create", words)
    assert (options["bundle"], arguments) == ("/b", ["x"])


@pytest.mark.parametrize(
    ("word", "value"),
    [("-d", True), ("--detach", True), ("--detach=false", False), ("-d=0", False), ("-d=T", True)],
)
def test_flags(word: str, value: bool) -> None:
    assert parse_command("run", [word, "x"])[0]["detach"] is value


def test_what_may_be_given_again_is_collected() -> None:
    line = ["-e", "A=1", "--env=B=2", "-g", "5", "--additional-gids=6", "x", "env"]
    options, arguments = parse_command("exec", line)
    assert options["env"] == ("A=1", "B=2")
    assert options["additional_gids"] == (5, 6)
    assert arguments == ["x", "env"]


def test_the_words_of_a_command_are_its_own() -> None:
    assert parse_command("exec", ["x", "ls", "-t", "--cwd", "/"])[1] == [
        "x", "ls", "-t", "--cwd", "/",
    ]  # fmt: skip
    assert parse_command("exec", ["x", "--", "ls"])[1] == ["x", "ls"]
    assert parse_command("ps", ["x", "-o", "pid"])[1] == ["x", "-o", "pid"]
    options, arguments = parse_command("run", ["--rootfs", "/", "x", "--", "ls", "-d"])
    assert (options["detach"], arguments) == (False, ["x", "ls", "-d"])


def test_behind_an_argument_an_unknown_option_is_an_argument() -> None:
    assert parse_command("kill", ["x", "-9"])[1] == ["x", "-9"]


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("state", [], 'pyrunc: "state" requires exactly 1 argument(s)'),
        ("state", ["a", "b"], 'pyrunc: "state" requires exactly 1 argument(s)'),
        ("exec", [], 'pyrunc: "exec" requires a minimum of 1 argument(s)'),
        ("kill", ["a", "b", "c"], 'pyrunc: "kill" requires a maximum of 2 argument(s)'),
        ("list", ["a"], 'pyrunc: "list" requires exactly 0 argument(s)'),
        ("state", ["--bogus", "x"], "flag provided but not defined: -bogus"),
        ("list", ["-qf", "json"], "flag provided but not defined: -qf"),
        ("list", ["---x"], "bad flag syntax: ---x"),
        ("list", ["--=x"], "bad flag syntax: --=x"),
        ("list", ["--format"], "flag needs an argument: -format"),
        ("run", ["--keep=maybe", "x"], 'invalid boolean value "maybe" for -keep: parse error'),
        ("run", ["--preserve-fds=x", "y"], 'invalid value "x" for flag -preserve-fds: parse error'),
        ("events", ["--interval", "3", "x"], 'invalid value "3" for flag -interval: parse error'),
    ],
)
def test_a_wrong_line_is_refused_in_runcs_words(
    command: str, words: list[str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_command(command, words)
    assert str(caught.value) == message
    assert caught.value.command == command
    runc = needs("runc", package="runc")
    done = subprocess.run([runc, command, *words], capture_output=True, text=True)
    theirs = message.replace("pyrunc:", "runc:").replace('"', '\\"')
    assert theirs in done.stderr


def test_global_options_end_at_the_command() -> None:
    given, rest = parse_globals(["--root", "/r", "--debug", "state", "--help"])
    assert (given["root"], given["debug"], rest) == ("/r", True, ["state", "--help"])


def test_help_is_in_the_form_of_runcs() -> None:
    lines = pyrunc_help.text("run").splitlines()
    assert lines[0] == "NAME:"
    assert lines[1].startswith("   pyrunc run - ")
    for name, letter, *_ in COMMANDS["run"][-1]:
        assert any(f"--{name}" in line and (f", -{letter}" in line or not letter) for line in lines)
    assert all(f"   {name} " in pyrunc_help.text() for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_completion_knows_what_the_table_knows(command: str) -> None:
    parser = pyrunc_help.parser()
    subparsers = next(a for a in parser._actions if a.dest == "command")
    offered = set(subparsers.choices[command]._option_string_actions)  # type: ignore[index]
    assert {f"--{name}" for name, *_ in COMMANDS[command][-1]} <= offered


def test_completion_offers_containers(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "db").mkdir()
    parser = pyrunc_help.parser()
    subparsers = next(a for a in parser._actions if a.dest == "command")
    container = next(a for a in subparsers.choices["kill"]._actions if a.dest == "container")  # type: ignore[index]

    class Given:
        root = str(tmp_path)

    assert container.completer("w", parsed_args=Given) == ["web"]
