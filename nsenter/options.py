# SPDX-License-Identifier: Apache-2.0
"""What a process is to be given and denied: one value for Popen, run, call and the command."""

from __future__ import annotations

import os

from nsenter import idmap
from nsenter.bootstrap import BootstrapData, TimeOffset, bootstrap_data
from nsenter.descriptors import Descriptors
from nsenter.launch import launch
from nsenter.namespaces import (
    Namespaces,
    NamespaceType,
    is_namespace_supported,
    namespace_types,
)
from nsenter.targets import joined
from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from nsenter.child import Child
    from nsenter.idmap import IDMappings
    from nsenter.launch import Environment, Program, PythonInit, StrOrBytes

__all__ = ["Options"]

ALL = "all"
# How the ids of a new user namespace are said in a word.
_MAPS = {"root": idmap.map_root, "current": idmap.map_current, "auto": idmap.map_auto}


class Options(Value):
    """How a process is isolated. A value: made once, used for any number of processes.

    Args:
        new: the kinds of namespace to create, in any spelling of `NamespaceType.parse`; "all":
            all that this kernel has and that are not joined.
        join: whose namespaces to join: a pid, or anything with a pidfd (`nsenter.Popen`,
            `Child`): all that it does not share with us; anything with `namespace_paths`, as a
            running Container; a `Namespace`; a mapping of kinds to one of those, to a path, or,
            for the network, to a name of ip-netns(8); or a sequence of them.
        maps: the ids of a new user namespace: "root" (the caller is root there, and alone),
            "current" (the caller is itself), "auto" (root, and the caller's subordinate ids), or
            `IDMappings`. None: "root".
        hostname: of a new UTS namespace.
        proc: whether to mount a new /proc; None: where the pid and the mount namespace are new.
        cwd: the working directory, in the root of the process.
        oom_score_adj: -1000 … 1000 (proc_pid_oom_score_adj(5)).
        time_offsets: for the clocks of a new time namespace.
        cgroup: a cgroup v2 directory to start in, by its path or a descriptor.

    Raises:
        ValueError: a word is unknown, or a field needs a namespace that is neither new nor joined.
    """

    new: str | Iterable[NamespaceType | str] = ()
    join: object = None
    maps: str | IDMappings | None = None
    hostname: StrOrBytes | None = None
    proc: bool | None = None
    cwd: StrOrBytes | os.PathLike[str] | None = None
    oom_score_adj: int | None = None
    time_offsets: Iterable[TimeOffset] = ()
    cgroup: StrOrBytes | os.PathLike[str] | int | None = None

    def launch(
        self,
        target: Program | PythonInit,
        *,
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
        pass_fds: Iterable[int] = (),
        env: Environment | None = None,
        timeout: float = 30.0,
        trace: bool = False,
    ) -> Child:
        """Start a process so. Arguments, result and errors are those of `nsenter.launch.launch`."""
        with Descriptors() as owner:
            namespaces = self._namespaces(owner)
            cgroup = self.cgroup
            if cgroup is not None and not isinstance(cgroup, int):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                cgroup = owner.add(os.open(cgroup, flags))
            return launch(
                self._bootstrap_data(namespaces), target,
                stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, env=env,
                cwd=self.cwd, hostname=self.hostname, mount_proc=self._mounts_proc(namespaces),
                cgroup=cgroup, timeout=timeout, trace=trace,
            )  # fmt: skip

    def _namespaces(self, owner: Descriptors) -> Namespaces:
        namespaces = Namespaces(joined(self.join, owner))
        for kind in self._new_kinds(namespaces):
            if namespaces.path_of(kind):
                raise ValueError(f"new {kind.ns_name()}: this one is joined already")
            namespaces.add(kind)
        return namespaces

    def _new_kinds(self, joined: Namespaces) -> Iterable[NamespaceType]:
        if self.new == ALL:
            free = (kind for kind in namespace_types() if not joined.contains(kind))
            return [kind for kind in free if is_namespace_supported(kind)]
        words = self.new.split(",") if isinstance(self.new, str) else self.new
        return [NamespaceType.parse(word) for word in words if word]

    def _bootstrap_data(self, namespaces: Namespaces) -> BootstrapData:
        maps: Mapping[str, Any] = {}
        if namespaces.is_private(NamespaceType.NEWUSER):
            given = "root" if self.maps is None else self.maps
            found = _MAPS[given]() if isinstance(given, str) else given
            maps = {"uid_mappings": found.uid, "gid_mappings": found.gid}
        elif self.maps is not None:
            raise ValueError(f"maps {self.maps!r}: this takes a new user namespace")
        return bootstrap_data(
            namespaces, **maps,
            oom_score_adj=self.oom_score_adj, time_offsets=self.time_offsets,
        )  # fmt: skip

    def _mounts_proc(self, namespaces: Namespaces) -> bool:
        if self.proc is not None:
            return self.proc
        kinds = (NamespaceType.NEWPID, NamespaceType.NEWNS)
        return all(namespaces.is_private(kind) for kind in kinds)
