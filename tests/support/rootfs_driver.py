# SPDX-License-Identifier: Apache-2.0
"""A container's root, made by libcontainer.init.rootfs.root alone in namespaces of unshare(1).

`build` starts this file as a script; that makes the root, enters it, and runs pieces of Python of
the test's before, between and inside. All is gone when it ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[2]
_ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{TOP}:{TOP / 'pylib'}"}
_SECONDS = 60


class RootError(Exception):
    """The root could not be made: attributes as those of nsenter._host.syscalls.Failure."""

    def __init__(self, operation: str, subject: str, errno: int, why: str) -> None:
        super().__init__(f"{operation} {subject}: {why}")
        self.operation, self.subject, self.errno, self.why = operation, subject, errno, why


@dataclass(frozen=True)
class MountLine:
    """A line of mountinfo, proc_pid_mountinfo(5)."""

    root: str
    point: str
    flags: frozenset[str]
    propagation: str
    type: str
    source: str
    options: frozenset[str]

    @classmethod
    def parse(cls, line: str) -> MountLine:
        left, _, right = line.partition(" - ")
        _, _, _, root, point, flags, *tags = left.split(" ")
        fstype, source, options = right.split(" ", 2)
        return cls(
            root, point, frozenset(flags.split(",")), " ".join(tags), fstype, source,
            frozenset(options.split(",")),
        )  # fmt: skip


def parse(mountinfo: str) -> list[MountLine]:
    return [MountLine.parse(line) for line in mountinfo.splitlines()]


@dataclass
class Root:
    """How to make a root.

    Attributes:
        spec: OCI's, with "root" set.
        bundle: where it is.
        user: in a user namespace of its own, with root mapped to root.
        net, cgroup: likewise.
        mounts: whether there is a mount namespace for the container.
        before: Python that runs in the namespaces before anything is done.
        hooks: Python that runs as the hooks do.
        between: Python that runs in the new root before it is closed.
        init_config: fields of the init config, besides those that the spec makes.
        config: fields to change.
    """

    spec: dict[str, Any]
    bundle: Path
    user: bool = False
    net: bool = True
    cgroup: bool = False
    mounts: bool = True
    before: str = ""
    hooks: str = ""
    between: str = ""
    init_config: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def look(self, inside: str) -> Any:
        """Make it and run Python in it, which sets `result`.

        Raises:
            RootError: it could not be made.
        """
        message = {
            "config": self._config(),
            "init_config": self._init_config(),
            "before": self.before,
            "hooks": self.hooks,
            "between": self.between,
            "inside": inside,
        }
        run = subprocess.run(
            [*self._unshare(), sys.executable, __file__],
            input=json.dumps(message), capture_output=True, text=True, timeout=_SECONDS, env=_ENV,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        answer = json.loads(run.stdout)
        if "error" in answer:
            raise RootError(*answer["error"])
        return answer["result"]

    def mountinfo(self) -> list[MountLine]:
        return parse(self.look("result = open('/proc/self/mountinfo').read()"))

    def _unshare(self) -> list[str]:
        from needs import needs

        kinds = ["--mount", "--pid", "--uts", "--ipc"]
        kinds += ["--user", "--map-root-user"] if self.user else []
        kinds += ["--net"] if self.net else []
        kinds += ["--cgroup"] if self.cgroup else []
        return [str(needs("unshare", package="util-linux")), *kinds, "--fork", "--kill-child", "--"]

    def _config(self) -> dict[str, Any]:
        from libcontainer.specconv import config_from_spec

        config = config_from_spec(self.spec, id="driven", bundle=str(self.bundle))
        plain: dict[str, Any] = config.replace(**self.config).to_data(full=True)
        for name in ("namespaces", "seccomp", "cgroups"):
            plain.pop(name)
        return plain

    def _init_config(self) -> dict[str, Any]:
        kinds = {"NEWNS": self.mounts, "NEWCGROUP": self.cgroup, "NEWNET": self.net}
        return {
            "new_namespaces": [kind for kind, is_new in kinds.items() if is_new],
            "joined_namespaces": [],
            "in_userns": self.user,
            "late_join": None,
            "mount_fds": {},
            "cgroup_paths": {},
            "cgroup_mounts": own_hierarchies(),
            **self.init_config,
        }


def own_hierarchies() -> list[tuple[str, list[str], str]]:
    """Our own cgroups, as a container's would be told to its init."""
    from libcontainer.cgroups import layout

    here = layout()
    return [
        (h.name, list(h.controllers), f"{h.mount_point}{here.own(h.controllers[0])}")
        for h in here.hierarchies
    ]


# ---- in the namespaces


def _drive(message: dict[str, Any]) -> dict[str, Any]:
    from libcontainer.init.config import thaw
    from libcontainer.init.rootfs.root import Rootfs
    from nsenter._host import syscalls

    names: dict[str, Any] = {"os": os, "sys": sys, "json": json, "system": syscalls}
    exec(message["before"], names)
    init_config = {**message["init_config"], "config": message["config"]}
    init_config["mount_fds"] = names.get("mount_fds", {})
    rootfs = Rootfs(thaw(init_config))
    names["rootfs"] = rootfs
    try:
        rootfs.prepare(lambda: None, lambda: exec(message["hooks"], names))
        exec(message["between"], names)
        rootfs.finalize()
    except OSError as error:
        operation = getattr(error, "operation", type(error).__name__)
        return {"error": (operation, getattr(error, "subject", ""), error.errno, error.strerror)}
    finally:
        for fd in names.get("mount_fds", {}).values():
            os.close(fd)
    exec(message["inside"], names)
    return {"result": names.get("result")}


if __name__ == "__main__":
    json.dump(_drive(json.load(sys.stdin)), sys.stdout)
