# SPDX-License-Identifier: Apache-2.0
"""Python functions in a container that has no Python. See docs/no-python.md.

no_python.py [PID]: of a process in the container; without one, makes a container and removes it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nsenter
from libcontainer import Container, Process
from libcontainer.specconv import config_from_spec, process_from_spec
from libcontainer.specconv.example import example


# --- inside
def survey() -> dict[str, object]:
    """Return what you would ask a shell in the container, if it had one. Runs in the container."""
    import platform
    import shutil

    return {
        "host": platform.node(),
        "files": sorted(os.listdir("/")),
        "programs": sorted(os.listdir("/bin")),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "python": shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin"),
    }


def size_of(folder: str) -> int:
    """Return the size in bytes of all files below a directory. Runs in the container."""
    paths = (os.path.join(top, name) for top, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(path).st_size for path in paths)


# --- call
def look_into(container: int | Container) -> None:
    inside = nsenter.Options(join=container)
    for name, value in nsenter.call(survey, options=inside).items():
        print(f"{name:10} {value}")
    print(f"{'bytes':10} {nsenter.call(size_of, '/bin', options=inside)}")


# --- container
@contextmanager
def running(rootfs: Path, state: Path) -> Iterator[Container]:
    """A container with busybox and nothing else. Requires root."""
    for folder in ("bin", "proc", "dev", "sys"):
        (rootfs / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", rootfs / "bin/busybox")
    spec = example() | {"root": {"path": str(rootfs)}, "hostname": "box"}
    name = f"box-{os.getpid()}"  # the cgroup has this name too
    spec["process"] |= {"terminal": False, "args": ["/bin/busybox", "sleep", "60"]}
    container = Container.create(str(state), name, config_from_spec(spec, id=name, bundle="/"))
    container.run(Process(process_from_spec(spec["process"])))
    try:
        yield container
    finally:
        container.kill_and_destroy()


# --- use
def main() -> None:
    if len(sys.argv) > 1:
        look_into(int(sys.argv[1]))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder, "rootfs"), Path(folder, "state")) as container,
    ):
        look_into(container)


if __name__ == "__main__":
    main()
