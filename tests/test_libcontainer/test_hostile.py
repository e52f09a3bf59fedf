"""A hostile container cannot reach the host."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libcontainer.configs import (
    Cgroup,
    Config,
    Device,
    DeviceRule,
    Mount,
    Namespaces,
    ProcessConfig,
    Resources,
)
from libcontainer.container import Container
from libcontainer.process import Process
from needs import needs
from nsenter import BootstrapError, Namespace
from processes import THIS_RUN

KINDS = ("pid", "network", "ipc", "uts", "mount")
SECONDS = 20


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    for folder in ("bin", "proc", "dev", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(needs("busybox", package="busybox-static"), root / "bin/busybox")
    for applet in ("sh", "cat", "ls", "sleep"):
        (root / "bin" / applet).symlink_to("busybox")
    return root


@pytest.fixture
def container(rootfs: Path, tmp_path: Path) -> Iterator[Container]:
    resources = Resources(devices=(DeviceRule(allow=True),))
    config = Config(
        rootfs=str(rootfs),
        namespaces=Namespaces(Namespace(kind) for kind in KINDS),
        mounts=(Mount("/proc", source="proc", device="proc"),),
        devices=(Device("/dev/null", "c", 1, 3),),
        cgroups=Cgroup(path=f"/nsenter-hostile-{THIS_RUN}", name="h", resources=resources),
    )
    made = Container.create(str(tmp_path / "state"), "h", config)
    yield made
    made.kill_and_destroy()


def output_of(container: Container, *args: str, **more: Any) -> str:
    reader, writer = os.pipe()
    with os.fdopen(reader) as file:
        process = Process(
            ProcessConfig(args=args, env=("PATH=/bin",), **more), stdout=writer, stderr=writer
        )
        try:
            container.run(process)
        finally:
            os.close(writer)
        text = file.read()
    process.wait(SECONDS)
    process.close()
    return text


@pytest.mark.parametrize("fd", range(3, 40))
def test_working_directory_never_is_the_hosts(container: Container, fd: int) -> None:
    """CVE-2024-21626: a descriptor of a host's directory that leaks, and a cwd that is it."""
    leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    try:
        text = output_of(container, "sh", "-c", "pwd; ls ../../../..", cwd=f"/proc/self/fd/{fd}")
    except BootstrapError as error:
        assert "chdir" in str(error) or "mkdir" in str(error), error
    else:
        assert text.startswith("/"), text
        assert "root" not in text.split(), "the host's root directory"
    finally:
        os.close(leak)


def test_no_descriptor_but_the_streams_reaches_it(container: Container) -> None:
    leak = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(leak, True)
    try:
        listed = output_of(container, "ls", "/proc/self/fd").split()
    finally:
        os.close(leak)
    assert listed == ["0", "1", "2", "3"]  # 3 is ls's own, of the folder


def test_poisoned_modules_in_the_root_run_nowhere(container: Container, rootfs: Path) -> None:
    """Files where Python and ours would be: none is opened, in whichever way the init starts."""
    trap = "import os; os.open('/tmp/sprung', os.O_CREAT)\n"
    places = {os.path.dirname(os.__file__), *(entry for entry in sys.path if entry)}  # noqa: PTH120
    for place in places:
        folder = rootfs / place.lstrip("/")
        for name in ("errno", "os", "site", "sitecustomize", "encodings/__init__", "traceback"):
            path = folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trap)
    assert output_of(container, "sh", "-c", "echo fine").strip() == "fine"
    assert not (rootfs / "tmp/sprung").exists()


def is_sealed(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE)
    except OSError:  # it is no memory
        return False


def test_init_runs_no_file_that_could_be_written(container: Container) -> None:
    """CVE-2019-5736: what /proc/PID/exe of the init leads to is on a read-only mount, or sealed."""
    process = Process(ProcessConfig(args=("sleep", "100"), env=("PATH=/bin",)))
    container.start(process)
    fd = os.open(f"/proc/{process.pid}/exe", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert os.fstatvfs(fd).f_flag & os.ST_RDONLY or is_sealed(fd)
    finally:
        os.close(fd)
        container.signal(signal.SIGKILL)
        process.wait(SECONDS)
        process.close()


def test_passwd_that_never_ends_does_not_hold_the_init(container: Container, rootfs: Path) -> None:
    (rootfs / "etc").mkdir()
    os.mkfifo(rootfs / "etc/passwd")
    assert output_of(container, "sh", "-c", "echo $HOME").strip() == "/"


def test_fifo_for_a_program_does_not_hold_the_init(container: Container, rootfs: Path) -> None:
    os.mkfifo(rootfs / "bin/waits")
    (rootfs / "bin/waits").chmod(0o755)
    process = Process(ProcessConfig(args=("waits",), env=("PATH=/bin",)))
    with pytest.raises(BootstrapError, match="exec /bin/waits: permission denied"):
        container.run(process)
