# SPDX-License-Identifier: Apache-2.0
"""OCI's linux.netDevices moves devices of the caller's network into a container, as in runc 1.4."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from needs import needs
from nsenter._host.syscalls import setns, umount, unshare
from pyrunc import Runtime, make_bundle

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices are moved by root")

_CLONE_NEWNET = 0x4000_0000
MAC, MTU = "02:11:22:33:44:55", 1789


def ip(*words: str) -> str:
    program = needs("ip", package="iproute2")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {words}: {done.stderr}"
    return done.stdout


def shown(*words: str) -> Any:
    return json.loads(ip("-j", *words) or "[]")


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A network namespace of our own for the test, as the host's."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    unshare(_CLONE_NEWNET)
    try:
        ip("link", "set", "lo", "up")
        yield
    finally:
        setns(before, _CLONE_NEWNET)
        os.close(before)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    yield from pyrunc.runtimes(tmp_path)


@pytest.fixture
def dummy() -> str:
    """A device that can be moved; of a pair, since not every kernel has "dummy"."""
    ip("link", "add", "dummy0", "type", "veth", "peer", "name", "peer0")
    return "dummy0"


@pytest.fixture
def named() -> Iterator[tuple[str, str]]:
    """A network namespace that goes on: its name and path."""
    name = f"nsx-{secrets.token_hex(4)}"
    ip("netns", "add", name)
    yield name, f"/run/netns/{name}"
    ip("netns", "del", name)
    umount("/run/netns")  # where ip(8) has made it a mount


def moves(path: str = "", **devices: dict[str, str]) -> Callable[[dict[str, Any]], None]:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["netDevices"] = devices
        spec["linux"]["cgroupsPath"] = f"/nsx-net-{secrets.token_hex(4)}"
        for namespace in spec["linux"]["namespaces"]:
            if namespace["type"] == "network" and path:
                namespace["path"] = path

    return change


def started(runtime: Runtime, folder: Path, **more: Any) -> int:
    bundle = make_bundle(folder / "bundle", **more)
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    pid: int = runtime.state("box")["pid"]
    return pid


def inside(pid: int, *words: str) -> Any:
    """What ip(8) shows in the network namespace of a process."""
    program = needs("ip", package="iproute2")
    argv = ["nsenter", f"--net=/proc/{pid}/ns/net", str(program), "-j", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def dress(name: str) -> None:
    """Give it all that it is to keep."""
    ip("link", "set", name, "mtu", str(MTU), "address", MAC)
    ip("address", "add", "169.254.169.77/32", "dev", name)
    ip("address", "add", "10.1.2.3/24", "broadcast", "10.1.2.255", "dev", name)
    ip("address", "add", "10.9.9.1", "peer", "10.9.9.2/32", "dev", name)
    ip("-6", "address", "add", "fd00::7/64", "dev", name, "nodad")
    # Neither of these is of use elsewhere.
    ip("address", "add", "127.0.0.33/8", "scope", "host", "dev", name)
    ip("address", "add", "10.5.5.5/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", name)
    ip("link", "set", name, "up")


def lasting(device: dict[str, Any]) -> set[tuple[str, int, str]]:
    return {
        (a["local"], a["prefixlen"], a.get("address") or a.get("broadcast") or "")
        for a in device["addr_info"]
        if a["scope"] == "global"
    }


KEPT = {
    ("169.254.169.77", 32, ""),
    ("10.1.2.3", 24, "10.1.2.255"),
    ("10.9.9.1", 32, "10.9.9.2"),
    ("fd00::7", 64, ""),
}


@pytest.mark.parametrize("new", ["", "ctr0"])
def test_a_device_is_there_with_all_that_it_had(
    runtime: Runtime, tmp_path: Path, dummy: str, new: str
) -> None:
    dress(dummy)
    pid = started(runtime, tmp_path, change=moves(dummy0={"name": new} if new else {}))
    (device,) = inside(pid, "address", "show", "dev", new or dummy)
    assert (device["address"], device["mtu"]) == (MAC, MTU)
    assert "UP" in device["flags"]
    assert lasting(device) == KEPT
    assert not [a for a in device["addr_info"] if a["local"] in ("127.0.0.33", "10.5.5.5")]
    assert {link["ifname"] for link in shown("link")} == {"lo", "peer0"}


def test_it_is_there_before_the_hooks_and_the_program(
    runtime: Runtime, tmp_path: Path, dummy: str
) -> None:
    said = tmp_path / "said"

    def change(spec: dict[str, Any]) -> None:
        moves(dummy0={"name": "ctr0"})(spec)
        script = f"nsenter --net=/proc/$(jq .pid)/ns/net ip -o link show ctr0 > {said}"
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
        spec["hooks"] = {"createRuntime": [hook | {"env": [f"PATH={os.environ['PATH']}"]}]}

    needs("jq", package="jq")
    look = ("sh", "-c", "cat /proc/net/dev")
    bundle = make_bundle(tmp_path / "bundle", look, change=change)
    assert "ctr0:" in runtime.good("run", "-b", bundle, "box")
    assert "ctr0" in said.read_text()


def test_the_root_of_a_user_namespace_has_it_too(
    runtime: Runtime, tmp_path: Path, dummy: str
) -> None:
    def change(spec: dict[str, Any]) -> None:
        moves(dummy0={"name": "ctr0"})(spec)
        spec["linux"]["namespaces"].append({"type": "user"})
        for name in ("uidMappings", "gidMappings"):
            spec["linux"][name] = [{"containerID": 0, "hostID": 0, "size": 65536}]

    dress(dummy)
    (device,) = inside(started(runtime, tmp_path, change=change), "address", "show", "dev", "ctr0")
    assert lasting(device) == KEPT
    assert "UP" in device["flags"]


def test_a_sysctl_of_it_is_set(runtime: Runtime, tmp_path: Path, dummy: str) -> None:
    def change(spec: dict[str, Any]) -> None:
        moves(dummy0={"name": "ctr0"})(spec)
        spec["linux"]["sysctl"] = {"net.ipv4.conf.ctr0.forwarding": "1"}

    look = ("cat", "/proc/sys/net/ipv4/conf/ctr0/forwarding")
    bundle = make_bundle(tmp_path / "bundle", look, change=change)
    assert runtime.good("run", "-b", bundle, "box") == "1\n"


def test_a_namespace_that_was_joined_keeps_it(
    runtime: Runtime, tmp_path: Path, dummy: str, named: tuple[str, str]
) -> None:
    """Who made the namespace decides what becomes of its devices, as in runc."""
    name, path = named
    started(runtime, tmp_path, change=moves(path, dummy0={"name": "ctr0"}))
    runtime.good("delete", "--force", "box")
    assert "ctr0" in ip("-n", name, "-o", "link")
    ip("-n", name, "link", "set", "ctr0", "netns", str(os.getpid()), "name", "dummy0")
    assert "dummy0" in ip("-o", "link")


def test_several_devices_may_exchange_their_names(runtime: Runtime, tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two"), 1):
        peer = ("type", "veth", "peer", "name", f"peer{number}")
        ip("link", "add", name, "address", f"02:00:00:00:00:0{number}", *peer)
    pid = started(runtime, tmp_path, change=moves(one={"name": "two"}, two={"name": "one"}))
    found = {link["ifname"]: link["address"][-1] for link in inside(pid, "link")}
    assert (found["one"], found["two"]) == ("2", "1")


def test_it_may_be_named_by_an_alternative_name(
    runtime: Runtime, tmp_path: Path, dummy: str
) -> None:
    """Without another one it keeps its own, as in runc."""
    ip("link", "property", "add", "dev", dummy, "altname", "other0")
    ip("link", "add", "two", "type", "veth", "peer", "name", "peer2")
    ip("link", "property", "add", "dev", "two", "altname", "other2")
    change = moves(other0={}, other2={"name": "ctr2"})
    pid = started(runtime, tmp_path, change=change)
    assert {link["ifname"] for link in inside(pid, "link")} == {"lo", dummy, "ctr2"}


def test_one_named_by_an_alternative_name_has_its_own_again(
    runtime: Runtime, tmp_path: Path, dummy: str
) -> None:
    ip("link", "property", "add", "dev", dummy, "altname", "other0")
    dress(dummy)
    change = moves(other0={"name": "ctr0"}, nope0={})
    _, before, after = before_and_after(runtime, tmp_path, change)
    assert facts(after) == facts(before)


def test_null_says_nothing_of_a_device(runtime: Runtime, tmp_path: Path, dummy: str) -> None:
    pid = started(runtime, tmp_path, change=moves(**{dummy: None}))  # type: ignore[arg-type]
    assert dummy in {link["ifname"] for link in inside(pid, "link")}


def before_and_after(runtime: Runtime, folder: Path, change: Any) -> tuple[str, Any, Any]:
    """What a container that does not start says, and the devices before and after it."""
    before = shown("address")
    bundle = make_bundle(folder / "bundle", change=change)
    done = runtime("run", "-b", bundle, "box")
    assert done.returncode == 1
    return done.stderr, before, shown("address")


def facts(devices: Any) -> dict[str, Any]:
    return {d["ifname"]: (d["mtu"], d["address"], "UP" in d["flags"], lasting(d)) for d in devices}


FAILING = {
    "a device that is not there": (
        {"nope0": {}},
        "link not found for interface nope0 on runtime namespace: no such device",
    ),
    "a name that is taken": (
        {"veth0": {"name": "lo"}},
        "fail to move network device veth0 to network namespace: file exists",
    ),
    "one that cannot be moved": (
        {"lo": {"name": "lo0"}},
        "fail to move network device lo to network namespace: invalid argument",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_start_that_fails_leaves_the_devices_as_they_were(
    runtime: Runtime, tmp_path: Path, dummy: str, name: str
) -> None:
    devices, told = FAILING[name]
    ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    dress(dummy)
    change = moves(dummy0={"name": "ctr0"}, **devices)
    said, before, after = before_and_after(runtime, tmp_path, change)
    assert told in said
    assert facts(after) == facts(before)


def test_a_program_that_cannot_run_gives_them_back(
    runtime: Runtime, tmp_path: Path, dummy: str
) -> None:
    def change(spec: dict[str, Any]) -> None:
        moves(dummy0={"name": "ctr0"})(spec)
        spec["process"]["args"] = ["nope"]

    dress(dummy)
    said, before, after = before_and_after(runtime, tmp_path, change)
    assert "executable file not found" in said
    assert facts(after) == facts(before)


def test_a_port_of_a_bridge_is_one_again(runtime: Runtime, tmp_path: Path, dummy: str) -> None:
    ip("link", "add", "br0", "type", "bridge")
    ip("link", "set", dummy, "master", "br0", "up")
    _, before, after = before_and_after(runtime, tmp_path, moves(dummy0={"name": "ctr0"}, nope0={}))
    assert [d["ifname"] for d in shown("link", "show", "master", "br0")] == [dummy]
    assert facts(after) == facts(before)


def test_what_it_cannot_have_again_keeps_nothing_else_from_it(
    runtime: Runtime, tmp_path: Path, dummy: str
) -> None:
    """Since it left, no device gets IPv6 here any more."""
    dress(dummy)
    ip("address", "add", "10.1.2.4/24", "label", "dummy0:1", "dev", dummy)
    switch = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
    switch.write_text("1")
    said, before, after = before_and_after(
        runtime, tmp_path, moves(dummy0={"name": "ctr0"}, nope0={})
    )
    assert "and while this was undone: fail to restore dummy0" in said
    assert "link not found for interface nope0" in said
    (old,), (new,) = ([d for d in devices if d["ifname"] == dummy] for devices in (before, after))
    assert "UP" in new["flags"]
    assert lasting(new) == {row for row in lasting(old) if ":" not in row[0]}
    assert "dummy0:1" in {address.get("label") for address in new["addr_info"]}


def without_network(spec: dict[str, Any]) -> None:
    moves(dummy0={})(spec)
    linux = spec["linux"]
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "network"]


WITHOUT = "unable to move network devices without a private NET namespace"
REFUSED = {
    "no namespace": (without_network, WITHOUT),
    "the caller's own": (moves("/proc/self/ns/net", dummy0={}), WITHOUT),
    "a name that is too long": (moves(dummy0={"name": "x" * 16}), "invalid network device name"),
    "a name with a slash": (moves(dummy0={"name": "a/b"}), "invalid network device name 'a/b'"),
    "a name with a colon": (moves(dummy0={"name": "a:1"}), "invalid network device name"),
    "a name with a blank": (moves(dummy0={"name": "a b"}), "invalid network device name"),
    "a pattern": (moves(dummy0={"name": "eth%d"}), "invalid network device name 'eth%d'"),
    "a pattern of a device": (moves(**{"dummy%d": {}}), "invalid network device name"),
    "a dot": (moves(dummy0={"name": "."}), "invalid network device name '.'"),
    "two dots": (moves(dummy0={"name": ".."}), "invalid network device name"),
    "a device with a slash": (moves(**{"a/b": {}}), "invalid network device name 'a/b'"),
    "no device": (moves(**{"": {}}), "invalid network device name"),
    "one name twice": (moves(one={"name": "x"}, two={"name": "x"}), "the same name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_made(
    runtime: Runtime, tmp_path: Path, dummy: str, name: str
) -> None:
    change, told = REFUSED[name]
    said, before, after = before_and_after(runtime, tmp_path, change)
    assert "linux.netDevices" in said and told in said
    assert after == before
    assert not list(runtime.root.glob("*"))


def test_without_root_they_are_refused(tmp_path: Path) -> None:
    from libcontainer.configs import Config, Namespace, Namespaces
    from libcontainer.configs.validate import validate
    from libcontainer.errors import ConfigError
    from nsenter.namespaces import NamespaceType

    namespaces = Namespaces([Namespace(NamespaceType.NEWNET)])
    config = Config(str(tmp_path), namespaces=namespaces, net_devices={"eth0": "eth0"})
    validate(config)
    with pytest.raises(ConfigError, match="not supported in rootless containers"):
        validate(config.replace(rootless_cgroups=True))


def test_features_says_so(runtime: Runtime) -> None:
    assert json.loads(runtime.good("features"))["linux"]["netDevices"] == {"enabled": True}
