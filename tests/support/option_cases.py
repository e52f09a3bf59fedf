"""Options as data, and what comes of them, by each way of starting: the same for root and a user.

As a script (an unprivileged user runs it, see `as_the_user`) it prints in JSON what came of each.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import struct
import sys
from dataclasses import dataclass, field
from typing import Any

import launching
import report_status
import rootless
from launching import PYTHONPATH, SECONDS
from nsenter import Options, Program, PythonInit
from nsenter.errors import BootstrapError

WAYS = ("direct", "stages", "init", "python", "python-init")
ALLOW_ALL = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
NONE = "0" * 16
TELL = report_status.__file__

Facts = dict[str, Any]


def mask(*numbers: int) -> str:
    return f"{sum(1 << number for number in numbers):016x}"


def sets(bounding: str, ambient: str = NONE) -> Facts:
    """The five sets of a process that keeps these."""
    sets = dict.fromkeys(("CapPrm", "CapEff", "CapBnd"), bounding)
    return sets | dict.fromkeys(("CapInh", "CapAmb"), ambient)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Options, and what a process told that has them (of what report_status.py tells)."""

    name: str
    options: dict[str, Any]
    told: dict[str, Any] = field(default_factory=dict)

    def of(self, way: str) -> Options:
        """With a PID 1 where that is the way: the promises are the same."""
        fields = dict(self.options)
        if way.endswith("init"):
            new = fields.get("new", "")
            user = "user," if os.geteuid() != 0 else ""
            fields |= {"init": True, "new": f"{user}{new},pid,mnt"}
        return Options(**fields)


CASES = [
    Case(name="lo-is-up", options={"new": "user,net"}, told={"lo": True}),
    Case(name="lo-is-down", options={"new": "user,net", "loopback": False}, told={"lo": False}),
    Case(name="limit", options={"rlimits": {"nofile": 64}}, told={"nofile": ["64", "64"]}),
    Case(
        name="limits",
        options={"rlimits": {"RLIMIT_NOFILE": (64, 128), "core": 0}},
        told={"nofile": ["64", "128"], "core": ["0", "0"]},
    ),
    Case(name="few-descriptors", options={"rlimits": {"nofile": 10}}),
    Case(name="umask", options={"umask": 0o027}, told={"Umask": "0027"}),
    Case(name="no-umask", options={"umask": 0}, told={"Umask": "0000"}),
    Case(name="cpu", options={"cpus": [0]}, told={"Cpus_allowed_list": "0"}),
    Case(name="no-capability", options={"new": "user", "capabilities": ()}, told=sets(NONE)),
    Case(
        name="capabilities",
        options={"new": "user", "capabilities": ["CAP_CHOWN", "kill"]},
        told=sets(mask(0, 5)),
    ),
    Case(
        name="capabilities-of-another",
        options={"new": "user", "maps": "current", "capabilities": ["net_raw"]},
        told={"CapBnd": mask(13), "CapPrm": mask(13), "CapEff": mask(13)},
    ),
    Case(name="no-new-privs", options={"no_new_privs": True}, told={"NoNewPrivs": "1"}),
    Case(name="privs", options={}, told={"NoNewPrivs": "0", "Seccomp": "0"}),
    Case(name="seccomp", options={"seccomp": ALLOW_ALL}, told={"Seccomp": "2", "NoNewPrivs": "1"}),
    Case(name="landlock", options={"landlock": {"/": "rwx"}}, told={"NoNewPrivs": "1"}),
    Case(name="session", options={}, told={"leads": [True, True]}),
    Case(name="no-session", options={"new_session": False}, told={"leads": [False, False]}),
    Case(name="dies", options={"die_with_parent": True}),
    Case(name="ids", options={"new": "user", "uid": 0, "gid": 0}, told={"Uid": "0\t0\t0\t0"}),
    Case(
        name="together",
        options={
            "new": "user,net,uts,ipc",
            "hostname": "box",
            "rlimits": {"nofile": 99, "core": 0},
            "umask": 0o77,
            "cpus": [0],
            "uid": 0,
            "gid": 0,
            "capabilities": ["chown"],
            "landlock": {"/": "rx", "/tmp": "rwx"},
            "seccomp": ALLOW_ALL,
            "die_with_parent": True,
            "cwd": "/usr",
        },
        told={
            **sets(mask(0)),
            "nofile": ["99", "99"],
            "core": ["0", "0"],
            "Umask": "0077",
            "Cpus_allowed_list": "0",
            "NoNewPrivs": "1",
            "Seccomp": "2",
            "lo": True,
            "host": "box",
            "cwd": "/usr",
        },
    ),
]
NOBODY = {"uid": 65534, "gid": 65534}
OF_ROOT = [
    Case(
        name="another-user",
        options=NOBODY,
        told={"Uid": "\t".join(["65534"] * 4), "Gid": "\t".join(["65534"] * 4), "Groups": ""},
    ),
    Case(name="groups", options={**NOBODY, "groups": (4, 27)}, told={"Groups": "4 27"}),
    Case(name="groups-alone", options={"groups": (4,)}, told={"Groups": "4"}),
    Case(
        name="ambient",
        options={**NOBODY, "capabilities": ["NET_BIND_SERVICE"]},
        told=sets(mask(10), ambient=mask(10)),
    ),
    Case(name="nobody-without", options={**NOBODY, "capabilities": ()}, told=sets(NONE)),
]
SUBORDINATE = [
    Case(
        name="subordinate",
        options={"new": "user", "maps": "auto", "uid": 5, "gid": 6, "groups": [7]},
        told={"Uid": "5\t5\t5\t5", "Gid": "6\t6\t6\t6", "Groups": "7"},
    ),
    Case(
        name="subordinate-ambient",
        options={"new": "user", "maps": "auto", "uid": 5, "capabilities": ["kill"]},
        told=sets(mask(5), ambient=mask(5)),
    ),
]


def outcome(case: Case, way: str) -> Facts:
    """What a process of the case told; `error` where it could not be started."""
    target: Program | PythonInit = Program([sys.executable, "-IS", TELL])
    # Who is nobody may not search the folders of this interpreter.
    is_stranger = "uid" in case.options and "new" not in case.options
    if way.startswith("python"):
        target = PythonInit("report_status:tell")
    elif is_stranger:
        target = Program(["cat", "/proc/self/status"])
    with contextlib.ExitStack() as stack:
        said, stdout = launching.pipe(stack)
        try:
            trace = way in ("stages", "init")
            child = stack.enter_context(case.of(way).launch(target, stdout=stdout, trace=trace))
        except BootstrapError as error:
            return {"error": str(error)}
        assert child.wait(SECONDS) == 0
        text = os.read(said, 1 << 16).decode()
    facts: Facts = (
        report_status.status(text) if text.startswith("Name:") else ast.literal_eval(text)
    )
    return facts


def broken(case: Case, found: Facts) -> Facts:
    """The promises that were not kept: name → (told, promised)."""
    if "error" in found:
        return found
    return {n: (found[n], told) for n, told in case.told.items() if found[n] != told}


def as_the_user() -> dict[str, Facts]:
    """What comes of each case and way, by an unprivileged user with subordinate ids."""
    words = ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-m", "option_cases"]
    done = rootless.as_user(words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Facts] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    cases = [*CASES, *SUBORDINATE]
    json.dump({f"{c.name} {way}": outcome(c, way) for c in cases for way in WAYS}, sys.stdout)
