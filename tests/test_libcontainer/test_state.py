"""Commands cope with any state.json: one of another version, one of runc, or a corrupt one.

`state` names the bad field, the other containers are listed, and `delete --force` removes the
container.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyrunc
from full_spec import FULL
from libcontainer.configs import Config, DeviceRule
from libcontainer.container import Container
from libcontainer.specconv import config_from_spec
from libcontainer.state import State
from libcontainer.state_form import from_runc, to_runc
from processes import wait_until
from pyrunc import Runtime, make_bundle

CGROUP = f"/nsenter-state-{secrets.token_hex(4)}"

Json = Any
# One of each type of JSON, and values of the right type that no system call takes.
VALUES: tuple[Json, ...] = (
    None,
    True,
    7,
    -1,
    10**30,
    1.5,
    "text",
    "\0",
    "\ud800",
    [],
    {},
    [1],
    {"a": 1},
)

# Objects whose names are not those of fields.
NAMED_BY_USERS = {
    *"cgroup_paths namespace_paths net_devices sysctl unified time_offsets rdma".split()
}

runtime = pytest.fixture(pyrunc.runtimes)


def full() -> Config:
    return config_from_spec(json.loads(json.dumps(FULL)), id="x", bundle="/bundle")


def document(config: Config | None = None) -> Json:
    """What is in a state.json."""
    made = State(
        id="x", config=config or full(), init_process_pid=1, init_process_start=2, created="now",
        namespace_paths={"NEWPID": "/proc/1/ns/pid"}, cgroup_paths={"": "/sys/fs/cgroup/x"},
        bundle="/bundle",
    )  # fmt: skip
    return {**made.to_data(), "config": to_runc(made.config.to_data())}


def places(value: Json, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places(item, (*at, key))


def put(value: Json, at: tuple[Any, ...], new: Json) -> Json:
    """The document with another value at a place."""
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = put(copy[at[0]], at[1:], new)
    return copy


def read(value: Json) -> State:
    return State.read(from_runc(json.loads(json.dumps(value))))


DOCUMENT = document()
PLACES = list(places(DOCUMENT))


def test_a_configuration_comes_back() -> None:
    assert read(DOCUMENT).config == full()


def test_a_state_of_before_it_had_runcs_form_is_read() -> None:
    plain = full().to_data()
    assert read({**DOCUMENT, "config": plain}).config == full()


@pytest.mark.sweep
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_any_value_at_any_place_is_read_or_refused_by_a_sentence(value: Json) -> None:
    for at in PLACES:
        try:
            state = read(put(DOCUMENT, at, value))
        except ValueError as refused:
            assert not isinstance(refused, UnicodeError)
            assert str(refused)
        else:
            to_runc(state.config.to_data())


@given(st.sampled_from(PLACES), st.recursive(st.sampled_from(VALUES), st.lists, max_leaves=4))
def test_any_nested_value_at_any_place_is_read_or_refused(at: tuple[Any, ...], value: Json) -> None:
    try:
        read(put(DOCUMENT, at, value))
    except ValueError as refused:
        assert str(refused)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ((), [], "it must be an object, not a list"),
        (("cgroup_paths",), 1, r"^cgroup_paths must be an object, not a number \(1\)"),
        (("cgroup_paths", ""), 1, r"^cgroup_paths\[''\] must be a string, not a number"),
        (("cgroup_paths", ""), "x", "must be absolute"),
        (("init_process_pid",), "1", "^init_process_pid must be a whole number, not a string"),
        (("init_process_pid",), -1, "^init_process_pid must not be -1"),
        (("init_process_pid",), None, "^init_process_pid must be a whole number, not null"),
        (("id",), True, r"^id must be a string, not true or false"),
        (("config",), "text", "^config must be an object, not a string"),
        (("config", "rootfs"), "a\0b", "^config.rootfs must not have a NUL"),
        (("config", "rootfs"), "\ud800", "^config.rootfs has half a surrogate pair"),
        (("config", "mounts", 1, "flags"), "ro", r"^config.mounts\[1\].flags must be a whole"),
        (("config", "Hooks", "poststop"), {}, r"^config.hooks.poststop must be a list"),
        (("config", "cgroups", "memory"), [], r"^config.cgroups.resources.memory must be a whole"),
        (("config", "seccomp", "default_action"), 99, "^config.seccomp.default_action must be a"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(at: tuple[Any, ...], value: Json, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(put(DOCUMENT, at, value))


@pytest.mark.parametrize("name", ["id", "config"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is missing"):
        read({key: value for key, value in DOCUMENT.items() if key != name})


def test_fields_of_a_newer_version_anywhere_are_passed_over() -> None:
    for at in PLACES:
        found: Json = DOCUMENT
        for key in at:
            found = found[key]
        if isinstance(found, dict) and not NAMED_BY_USERS & set(at):
            newer = put(DOCUMENT, at, {**found, "of_the_future": {"a": [1]}})
            assert read(newer) == read(DOCUMENT), at


def test_a_kind_of_namespace_that_is_not_known_is_passed_over() -> None:
    at = ("config", "namespaces")
    newer = [*DOCUMENT["config"]["namespaces"], {"type": "NEWFUTURE", "path": ""}]
    assert read(put(DOCUMENT, at, newer)) == read(DOCUMENT)


# ---- the commands


@pytest.fixture
def running(runtime: Runtime, tmp_path: Path) -> Path:
    """The state.json of a container that runs beside another; both end with the test."""

    def change(spec: Json) -> None:
        spec["linux"]["cgroupsPath"] = CGROUP

    for id, bundle in (
        ("ok", make_bundle(tmp_path / "ok")),
        ("bad", make_bundle(tmp_path / "bad", change=change)),
    ):
        runtime.good("run", "--detach", "-b", bundle, id, **pyrunc.NO_STREAMS)
    return runtime.root / "bad/state.json"


def _wrong(at: str, value: Json) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(put(json.loads(path.read_text()), tuple(at.split(".")), value)))

    return change


def _cut(path: Path) -> None:
    path.write_text(path.read_text()[:200])


def _huge(path: Path) -> None:
    with path.open("a") as file:
        file.truncate(1 << 40)


def _directory(path: Path) -> None:
    path.unlink()
    (path / "in/it").mkdir(parents=True)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


BREAKS: dict[str, tuple[Callable[[Path], None], str, bool]] = {
    # What is done to the file, what is said of it, and whether what runs can be made out.
    "cut off": (_cut, "", False),
    "paths": (_wrong("cgroup_paths", 1), "cgroup_paths must be an object, not a number", False),
    "config": (_wrong("config", None), "config must be an object", True),
    "rootfs": (_wrong("config.rootfs", []), "config.rootfs must be a string, not a list", True),
    "created": (_wrong("created", {}), "created must be a string, not an object", True),
    "pid": (_wrong("init_process_pid", "x"), "init_process_pid must be a whole number", True),
    "huge": (_huge, "it has over", False),
    "directory": (_directory, "not a regular file", False),
    "fifo": (_fifo, "not a regular file", False),
    "link": (_link, "not a regular file", False),
    "empty": (lambda path: path.write_text("") and None, "no JSON value", False),  # type: ignore[dict-item]
}


def _kept(name: str, quick: set[str]) -> Any:
    return pytest.param(name, marks=[] if name in quick else [pytest.mark.sweep])


@pytest.mark.parametrize("name", [_kept(name, {"cut off", "rootfs", "fifo"}) for name in BREAKS])
def test_a_broken_state_is_named_passed_over_and_taken_away(
    runtime: Runtime, running: Path, name: str
) -> None:
    damage, said, known = BREAKS[name]
    pid = runtime.state("bad")["pid"]
    cgroups = [*Path("/sys/fs/cgroup").glob(f"*{CGROUP}")]
    damage(running)
    for words in (["state", "bad"], ["kill", "bad"], ["exec", "bad", "true"], ["delete", "bad"]):
        done = runtime(*words)
        assert done.returncode != 0
        assert said in done.stderr
        assert str(running) in done.stderr
        assert "Traceback" not in done.stderr
    listed = runtime("list", "-f", "json")
    assert listed.returncode == 0
    assert [entry["id"] for entry in json.loads(listed.stdout)] == ["ok"]
    assert "load container bad: " in listed.stderr
    done = runtime("delete", "--force", "bad")
    assert done.returncode == 0, done.stderr
    assert not running.parent.exists()
    if known:
        wait_until(lambda: not any(path.exists() for path in cgroups))
        assert done.stderr == ""
    else:
        assert "does not name its cgroup" in done.stderr
        _clear(pid, cgroups)
    assert runtime.state("ok")["status"] == "running"


def _clear(pid: int, cgroups: list[Path]) -> None:
    """What the product cannot know any more."""
    deadline = time.monotonic() + pyrunc.TIMEOUT
    while any(path.exists() for path in cgroups) and time.monotonic() < deadline:
        for path in cgroups:
            if path.exists():
                for process in (path / "cgroup.procs").read_text().split():
                    subprocess.run(["kill", "-9", process], stderr=subprocess.DEVNULL, check=False)
                try:
                    path.rmdir()
                except OSError:
                    time.sleep(0.01)


def test_a_state_of_a_newer_version_stops_no_command(runtime: Runtime, running: Path) -> None:
    state = json.loads(running.read_text())
    for at in list(places(state)):
        found = state
        for key in at:
            found = found[key]
        if isinstance(found, dict) and not {"cgroup_paths", "namespace_paths"} & set(at):
            found["of_the_future"] = {"a": [1, None]}
    running.write_text(json.dumps(state))
    assert runtime.state("bad")["status"] == "running"
    assert runtime.good("exec", "bad", "echo", "hello") == "hello\n"
    runtime.good("pause", "bad")
    runtime.good("resume", "bad")
    runtime.good("kill", "bad", "KILL")
    wait_until(lambda: runtime.state("bad")["status"] == "stopped")
    runtime.good("delete", "bad")


# ---- runc


@pytest.fixture
def runc(runtime: Runtime) -> Runtime:
    """runc, with the same folder of state."""
    return Runtime([pyrunc.needs("runc", package="runc")], runtime.root)  # type: ignore[attr-defined]


def _of_everything(spec: Json) -> None:
    """What runc 1.1 takes, as far as its state has it in a form of its own."""
    spec["hooks"] = {"poststop": [{"path": "/bin/true", "args": ["true"], "timeout": 3}]}
    spec["annotations"] = {"a": "b"}
    spec["linux"]["cgroupsPath"] = CGROUP
    spec["linux"]["devices"] = [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]
    spec["linux"]["resources"] |= {"memory": {"limit": 1 << 28}, "pids": {"limit": 100}}
    spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["swapon", "swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}]},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("maker", ["runc", "pyrunc"])
def test_a_container_is_any_runtimes(
    runtime: Runtime, runc: Runtime, tmp_path: Path, maker: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", change=_of_everything)
    makes, takes = (runc, runtime) if maker == "runc" else (runtime, runc)
    makes.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
    told = {name: value for name, value in makes.state("c").items() if name != "ociVersion"}
    assert {name: takes.state("c")[name] for name in told} == told
    assert takes.good("exec", "c", "echo", "hello") == "hello\n"
    assert [entry["id"] for entry in json.loads(takes.good("list", "-f", "json"))] == ["c"]
    for words, status in ((["pause"], "paused"), (["resume"], "running")):
        takes.good(*words, "c")
        assert makes.state("c")["status"] == status
    takes.good("kill", "c", "KILL")
    wait_until(lambda: takes.state("c")["status"] == "stopped")
    takes.good("delete", "c")
    assert not (runtime.root / "c").exists()
    assert not [*Path("/sys/fs/cgroup").glob(f"*{CGROUP}")]


def test_runcs_configuration_is_the_one_that_we_would_have_made(
    runtime: Runtime, runc: Runtime, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bundle", change=_of_everything)
    runc.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
    theirs = Container.load(str(runtime.root), "c").config
    runc.good("delete", "--force", "c")
    runtime.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
    ours = Container.load(str(runtime.root), "c").config
    assert ours.seccomp is not None and theirs.seccomp is not None
    # What it has in no state: a name that is not used, and limits of the process.
    theirs = theirs.replace(
        version=ours.version,
        rlimits=ours.rlimits,
        cgroups=theirs.cgroups.replace(name="c"),
        seccomp=theirs.seccomp
        and theirs.seccomp.replace(flags=ours.seccomp and ours.seccomp.flags),
    )
    rules = theirs.cgroups.resources.devices
    assert rules[-1] == DeviceRule("c", 10, 200, allow=True)  # /dev/net/tun, by default
    resources = theirs.cgroups.resources.replace(devices=rules[:-1])
    assert theirs.replace(cgroups=theirs.cgroups.replace(resources=resources)) == ours


# ---- concurrent commands


@pytest.mark.parametrize("turns", [2, pytest.param(20, marks=[pytest.mark.sweep])])
def test_commands_at_once_fail_by_a_sentence_or_not_at_all(
    runtime: Runtime, tmp_path: Path, turns: int
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    words = [
        ["create", "-b", str(bundle), "c"], ["start", "c"], ["state", "c"], ["list"],
        ["exec", "c", "true"], ["pause", "c"], ["resume", "c"], ["kill", "c", "KILL"],
        ["delete", "c"], ["delete", "--force", "c"], ["delete", "--force", "c"],
    ]  # fmt: skip
    for turn in range(turns):
        errors = [tmp_path / f"errors{number}" for number in range(len(words))]
        commands = []
        for path, command in zip(errors, words, strict=True):
            with path.open("w") as file:
                commands.append(
                    subprocess.Popen(
                        [*runtime.argv, *command],
                        stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                    )
                )  # fmt: skip
        for command, path, process in zip(words, errors, commands, strict=True):
            status, said = process.wait(pyrunc.TIMEOUT), path.read_text()
            assert "Traceback" not in said, (turn, command, said)
            assert "internal error" not in said, (turn, command, said)
            if command[0] == "list" or "--force" in command:
                assert status == 0, (turn, command, said)
        runtime.good("delete", "--force", "c")
        assert list(runtime.root.iterdir()) == []
