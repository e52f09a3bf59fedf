# SPDX-License-Identifier: Apache-2.0
"""Tells a story to a runtime, and what came of each step."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interop import oci_bundles, orphans, runtimes
from interop.runtimes import Done, Runtime
from interop.stories import Story
from processes import wait_until, words_of

_SECONDS = 30.0  # for what takes milliseconds
_PS = ("ps", "--format", "json")
_CHANGING = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")
_NUMBER = re.compile(r"\d+")

Told = list[tuple[str, int, object, str]]  # step, exit status, output, error


class Teller:
    """Tells stories in one place, one after the other."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._bundle, self._folder, self._root = folder / "bundle", folder / "folder", root

    def tell(self, runtime: Runtime, story: Story) -> Told:
        """What came of each step; nothing of the container is left."""
        identity = runtimes.new_id()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for name, text in story.files:
            (self._folder / name).write_text(text)
        config = oci_bundles.made(self._root, list(story.args), *story.edits)
        text = json.dumps(config).replace("{folder}", str(self._folder))
        oci_bundles.write_bundle(self._bundle, json.loads(text))
        try:
            return [self._step(runtime, identity, step) for step in story.steps]
        finally:
            runtime.forget(identity)
            orphans.reap()

    def _step(self, runtime: Runtime, identity: str, step: str) -> tuple[str, int, object, str]:
        if step.startswith("@"):
            self._wait(runtime, identity, *step[1:].split())
            return (step, 0, "", "")
        for word, value in {
            "{id}": identity,
            "{bundle}": str(self._bundle),
            "{folder}": str(self._folder),
        }.items():
            step = step.replace(word, value)
        done = runtime(*shlex.split(step))
        plain = step.replace(identity, "ID")
        return (plain, done.status, self._output(plain, done, identity), done.stderr)

    def _wait(self, runtime: Runtime, identity: str, what: str, name: str = "") -> None:
        conditions: dict[str, Callable[[], object]] = {
            "stopped": lambda: runtime.state(identity)["status"] == "stopped",
            "executed": lambda: words_of(runtime.state(identity)["pid"])[:1] == [name],
            "alone": lambda: len(json.loads(runtime.must(*_PS, identity))) == 1,
            "file": lambda: (self._folder / name).exists(),
        }
        wait_until(conditions[what], f"{runtime.name}: not {what} {name}", _SECONDS)

    def _output(self, step: str, done: Done, identity: str) -> object:
        text = done.stdout.replace(identity, "ID").replace(str(self._bundle), "BUNDLE")
        if done.status != 0 and done.stdout.startswith(("NAME:", "Incorrect", "usage")):
            return "usage"
        command = step.split()[0]
        try:
            return _SHAPES.get(command, lambda value: value)(json.loads(text))
        except ValueError:
            return [_line(line, command) for line in text.splitlines()]


def _line(line: str, command: str) -> str:
    line = _CHANGING.sub("TIME", " ".join(line.split()))
    return _NUMBER.sub("N", line) if command in ("ps", "list") else line


def _state(value: Any) -> Any:
    if isinstance(value, list):
        return [_state(row) for row in value]
    if not isinstance(value, dict):
        return value
    changing = {"pid": bool(value.get("pid")), "created": "TIME"}
    return {name: changing.get(name, item) for name, item in value.items()}


def _keys(value: Any) -> Any:
    """What there is, whatever it measures."""
    if isinstance(value, dict):
        return {name: _keys(item) for name, item in sorted(value.items())}
    return type(value).__name__ if not isinstance(value, list) else "list"


_SHAPES: dict[str, Callable[[Any], Any]] = {
    "state": _state,
    "list": _state,
    "ps": lambda pids: len(pids or []),
    "events": _keys,
}
