"""A process that joins a named network namespace sees its /sys and its files of /etc/netns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launching import PYTHONPATH
from needs import needs
from nsenter._launch.named_netns import name_of

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do: run as root")

# In a mount namespace of its own, so that nothing is left of it.
SET_UP = """
mkdir -p /run/netns
mount -t tmpfs none /run/netns
mount -t tmpfs none /etc
ip netns add blue
mkdir -p /etc/netns/blue /etc/folder /etc/netns/blue/folder
echo of the host > /etc/target
ln -s target /etc/resolv.conf
echo of the host > /etc/hosts
echo blue > /etc/netns/blue/resolv.conf
echo blue > /etc/netns/blue/folder/file
exec "$@"
"""
CODE = """
import os, sys, warnings
import nsenter
from nsenter import Bind, Options
warnings.simplefilter("always")
def said(script, **fields):
    fields = {"join": {"net": "blue"}, "new": "mnt"} | fields
    text = nsenter.check_output(["sh", "-c", script], Options(**fields), text=True)
    return text.split("\\n")[:-1]
"""
LOOK = "ls /sys/class/net; cat /etc/resolv.conf"
BLUE = ["lo", "blue"]


def told(code: str) -> list[str]:
    """The lines that code says beside a network with the name blue."""
    words = [needs("unshare", package="util-linux"), "--mount", "--propagation", "private"]
    needs("ip", package="iproute2")
    words += ["sh", "-euc", SET_UP, "sh", sys.executable, "-c", CODE + code]
    env = {**os.environ, "PYTHONPATH": f"{PYTHONPATH}:{Path(__file__).parent}"}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    text: str = done.stdout + done.stderr
    return text.splitlines()


@pytest.mark.parametrize(
    ("path", "name"),
    [("/run/netns/blue", "blue"), ("/var/run/netns/blue", "blue"), ("/run/netns/..", ""),
     ("/proc/1/ns/net", ""), ("/run/netns/", ""), ("/run/netns/a/b", ""), ("", "")],
)  # fmt: skip
def test_names(path: str, name: str) -> None:
    assert name_of(path) == name


@as_root
@pytest.mark.parametrize(
    "fields",
    ["", "new='mnt,pid'", "new='mnt,pid,uts,ipc'", "join=[{'net': '/run/netns/blue'}]"],
)
def test_sys_and_the_files_are_those_of_the_network(fields: str) -> None:
    assert told(f"print(*said({LOOK!r}, {fields}), sep='\\n')") == BLUE


@as_root
def test_it_is_as_with_ip_netns_exec_but_for_what_is_mounted_below_sys() -> None:
    script = "cat /etc/resolv.conf /etc/hosts /etc/folder/*; ls /sys/class/net; stat -fc %T /sys"
    code = f"""
import subprocess
words = ["ip", "netns", "exec", "blue", "sh", "-c", {script!r}]
expected = subprocess.check_output(words, text=True).split("\\n")[:-1]
print(said({script!r}) == expected, expected)
print(said("ls /sys/fs/cgroup") == said("ls /sys/fs/cgroup", join=None) != [])
"""
    expected = ["blue", "of the host", "blue", "lo", "sysfs"]
    assert told(code) == [f"True {expected}", "True"]


@as_root
def test_a_call_sees_them_too() -> None:
    code = """
options = Options(join={"net": "blue"}, new="mnt")
print(*nsenter.call(os.listdir, "/sys/class/net", options=options))
"""
    assert told(code) == ["lo"]


@as_root
def test_what_is_mounted_by_the_caller_holds() -> None:
    mounts = "mounts=[Bind('/sys'), Bind('/etc/target', '/etc/resolv.conf')]"
    devices = "sorted(os.listdir('/sys/class/net'))"
    code = f"*devices, file = said({LOOK!r}, {mounts}); print(file, sorted(devices) == {devices})"
    assert told(code) == ["of the host True"]


@as_root
@pytest.mark.parametrize(
    "fields", ["new=''", "new='mnt,user'", "root='/', mounts=[]", "join=None"], ids=str
)
def test_where_the_tree_is_not_the_process_own_it_stays_as_it_was(fields: str) -> None:
    assert told(f"print(said('cat /etc/resolv.conf', {fields}))") == ["['of the host']"]


@as_root
def test_a_file_that_there_is_no_place_for_is_told_of() -> None:
    code = "open('/etc/netns/blue/more', 'w').close(); print(said('cat /etc/resolv.conf'))"
    first, *rest = told(code)
    assert first == "['blue']"
    assert "/etc/netns/blue/more is not mounted: there is no /etc/more" in "".join(rest)


@as_root
def test_a_sys_that_is_read_only_stays_so() -> None:
    code = """
os.system("mount -o remount,bind,ro /sys")
print(*said("touch /sys/class/net/lo/mtu 2>&1; grep -c ' /sys ro' /proc/self/mountinfo"))
"""
    assert told(code)[0].endswith("Read-only file system 2")
