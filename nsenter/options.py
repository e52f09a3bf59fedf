# SPDX-License-Identifier: Apache-2.0
"""Options: how a process is isolated. Popen, run, call and the command line all take this value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from nsenter import idmap
from nsenter._cgroups.limits import Limits
from nsenter._host.records import Value
from nsenter._launch import option_types
from nsenter._launch.child import Child
from nsenter._launch.confinement import confinement_of
from nsenter._launch.descriptors import Descriptors
from nsenter._launch.join_targets import check_target, joined
from nsenter._message.limits import Limit
from nsenter.bootstrap import BootstrapData, TimeOffset, bootstrap_data
from nsenter.idmap import IDMap, IDMappings
from nsenter.launch import Environment, Program, PythonInit, StrOrBytes, launch
from nsenter.mounts import Attached, Mount, Tmpfs, Tree
from nsenter.namespaces import Namespaces, NamespaceType, supported_namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object  # at run time: importing typing takes 4 ms

__all__ = ["Options"]

ALL = "all"
# The fields that may be any iterable.
_SEVERAL = (
    *("new", "mounts", "cpus", "groups", "capabilities", "time_offsets"),
    *("landlock_bind", "landlock_connect", "landlock_scope"),
)
# The words for the id mappings of a new user namespace.
_MAPS = {"root": idmap.map_root, "current": idmap.map_current, "auto": idmap.map_auto}


def _as_tuple(name: str, given: Any) -> tuple[Any, ...]:
    try:
        return tuple(given)
    except TypeError:
        raise TypeError(f"{name} must be a sequence, not {given!r}") from None


def _host_id(id: int | None, rows: Iterable[IDMap] | None, ours: int) -> int:
    if rows is None:
        return ours if id is None else id
    found = idmap.host_id(rows, 0 if id is None else id)
    return ours if found is None else found


def _is_made_by_the_launcher(mount: Mount) -> bool:
    return isinstance(mount, Attached) or getattr(mount, "as_owner", False) is True


class Options(Value):
    """How a process is isolated: an immutable value that can be used for any number of processes.

    Namespaces alone hide no files: to hide them, give a `root`. `nsenter.presets` has ready-made
    options for common cases.

    The process gives up rights last, in the order of csrc/inside/confinement.c: limits, ids,
    capabilities, no_new_privs, landlock, seccomp. The code of a PythonInit has been loaded by then.

    Args:
        new: the types of namespaces to create, in any spelling that `NamespaceType.parse` accepts;
            "all" means every type that the kernel supports and that is not joined.
        join: the namespaces to join. A pid, or an object with a pidfd (`nsenter.Popen`, `Child`),
            means every namespace of that process that differs from the caller's. An object with
            `namespace_paths`, such as a running Container, means those. It can also be a
            `Namespace`, a mapping of types to one of these or to a path (or, for the network, to a
            name of ip-netns(8)), or a sequence of all these. If a named network namespace is joined
            together with a new mount namespace, without `root` and without a user namespace, the
            process sees the /sys of that network, and the files of /etc/netns/NAME in place of
            those in /etc, as with `ip netns exec`; `mounts` with the same target take precedence.
        maps: the id mappings of a new user namespace. "root" maps the caller to root, "current"
            maps the caller to itself, "auto" maps the caller to root and adds the caller's
            subordinate ids; an `IDMappings` gives the mappings themselves. None means "root".
        hostname: the hostname in a new UTS namespace.
        proc: mount a new /proc. None means: if the PID and the mount namespace are new.
        cwd: the working directory, a path in the root of the process.
        oom_score_adj: from -1000 to 1000 (proc_pid_oom_score_adj(5)).
        time_offsets: the clock offsets of a new time namespace.
        cgroup: the cgroup v2 directory in which the process starts: a path or a descriptor.
        limits: the limits of memory, processes and processors of the process together with
            everything that it starts, in a cgroup of its own: see `Limits`. It takes the place of
            `cgroup`.
        loopback: bring up the loopback device of a new network namespace (netdevice(7)).
        root: the root of the process: the absolute path of a directory, or "tmpfs" for an empty
            file system in memory, which holds at most 64 MiB and 16,384 files and directories;
            `Tmpfs("/", ...)` sets other limits. A directory is bound together with everything that
            is mounted below it, nosuid and nodev. The process pivots into it (pivot_root(2)) and
            cannot reach the caller's tree any more. Requires a new mount namespace. "/" is allowed:
            it can then be read-only, or have other mounts.
        read_only: make `root` read-only, together with everything that is mounted below it.
        mounts: what to mount, in this order: `Bind`, `Tmpfs`, `Proc` and `Dev` of `nsenter.mounts`.
            A target is resolved below the root of the process, and no symbolic link leads out of
            it. A missing mount point is created in `root`, in a `Tmpfs`, or in a writable bind.
            Without `root`, the mounts cover the caller's tree, but only for this process. Requires
            a new mount namespace.
        new_session: start the process in a new session (setsid(2)). Otherwise it is in the caller's
            session and process group: it can signal that group as far as its user may, and it can
            insert input into the caller's terminal if the kernel still allows TIOCSTI.
        terminal: create a pty (pty(7)), and make it the controlling terminal and the three standard
            streams of the process, in place of those that are given. `Child.terminal_fd` is the
            other side.
        init: keep a small PID 1 in a new PID namespace, with the process as its child. It reaps
            orphans, forwards signals, and reports the exit status or the signal of the process.
            When the process ends, the init ends, and with it every other process in the namespace.
            Without an init the process itself is PID 1. The kernel then ignores every signal that
            the process has no handler for, SIGTERM included, except SIGKILL from outside, and
            abort(3) looks like SIGSEGV (pid_namespaces(7)). None means: True for `nsenter.Popen`,
            `run`, asyncio and calls if the PID namespace is new, as in bubblewrap; False for
            `launch`.
        die_with_parent: kill the process when the calling process ends, for whatever reason. The
            end of the thread that started it does not count. Without an `init`, a program that
            executes a setuid program or clears PR_SET_PDEATHSIG escapes this; with one, it cannot.
            Calls always have it.
        rlimits: resource limits by their names in prlimit(1) ("nofile") or getrlimit(2)
            ("RLIMIT_NOFILE"). A value sets the soft and the hard limit; a pair is (soft, hard).
            None, -1 and "unlimited" mean no limit.
        umask: the file mode creation mask (umask(2)).
        cpus: the numbers of the processors on which the process may run (sched_setaffinity(2)).
        uid, gid: the user and the group id, as they are inside (credentials(7)). None leaves them
            unchanged; in a user namespace that maps 0, they are 0.
        groups: the supplementary groups. None means: no groups if `uid` or `gid` is given,
            otherwise unchanged.
        capabilities: the names of the capabilities that the process keeps, with or without "CAP_".
            () keeps none; None leaves them unchanged. They become the permitted, the effective and
            the bounding set. For a uid other than 0 they also become the ambient and the
            inheritable set, because execve(2) would otherwise drop them; for uid 0 these two sets
            are empty.
        no_new_privs: set PR_SET_NO_NEW_PRIVS: execve(2) can no longer give privileges. None means:
            if `landlock` or `seccomp` is given, because they require it.
        landlock: a mapping of paths, in the root of the process, to letters of "rwx" (landlock(7)).
            "r" allows to read files and to list directories, "w" to change, make and remove them,
            and "x" to execute them, at this path and below. Everything else is denied, whatever the
            ids allow. Operations that the kernel's version of Landlock does not know are not
            restricted. Neither are TCP and signals: use the next three for those, which fail if the
            kernel does not support them.
        landlock_bind, landlock_connect: the only TCP ports that may be bound, or connected to.
            () allows none; None allows any. Requires Linux 6.7.
        landlock_scope: what the process and its descendants cannot do to processes outside:
            "abstract_unix_socket" forbids to connect to their abstract sockets (unix(7)), "signal"
            forbids to send them signals. Requires Linux 6.12.
        seccomp: a system call filter (seccomp(2)): the bytes of an array of struct sock_filter, or
            an object with `code`, such as `nsenter.seccomp.Filter`. It is loaded last. It must
            allow execve(2), and, for a PythonInit, what Python requires.

    Raises:
        ValueError: a word is unknown, or a field requires a namespace that is neither new nor
            joined.
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
    limits: Limits | None = None
    loopback: bool = True
    root: StrOrBytes | os.PathLike[str] | Tmpfs | Attached | None = None
    read_only: bool = False
    mounts: Iterable[Mount] = ()
    new_session: bool = True
    terminal: bool = False
    init: bool | None = None
    die_with_parent: bool = False
    rlimits: Mapping[str, Limit] | None = None
    umask: int | None = None
    cpus: Iterable[int] | None = None
    uid: int | None = None
    gid: int | None = None
    groups: Iterable[int] | None = None
    capabilities: Iterable[str] | None = None
    no_new_privs: bool | None = None
    landlock: Mapping[str, str] | None = None
    landlock_bind: Iterable[int] | None = None
    landlock_connect: Iterable[int] | None = None
    landlock_scope: Iterable[str] = ()
    seccomp: object = None

    def __post_init__(self) -> None:
        # The options can be used several times, and an iterator only once.
        for name in _SEVERAL:
            given = self.__dict__[name]
            if given is not None and not isinstance(given, (str, bytes, tuple)):
                self.__dict__[name] = _as_tuple(name, given)
        option_types.check(self)
        check_target(self.join)
        self._given_kinds()
        self._given_maps()
        if self.terminal and not self.new_session:
            raise ValueError("terminal=True requires new_session=True")
        confinement_of(self, mounts=self.mounts, loopback=False, init=False)

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
        default_init: bool = False,
        process_group: int | None = None,
        ignored_signals: Iterable[int] = (),
        wait_for_go: bool = False,
        listener: bool = False,
    ) -> Child:
        """Start a process with these options.

        The other arguments, the result and the errors are those of `nsenter.launch.launch`.

        Args:
            default_init: the value of `init` if it is None and the PID namespace is new.
            process_group: the process group to join, as for setpgid(2): 0 means a new one. In a new
                session only 0 is possible.
            wait_for_go: make a Program wait in its namespaces until `Child.go` is called.
            listener: give the filter of a Program a listener: see `Child.listener_fd`.
        """
        with Descriptors() as owner:
            namespaces = self._namespaces(owner)
            mounts_proc = self._mounts_proc(namespaces)
            self._check_needs(namespaces)
            init = self.init
            if init is None:
                init = default_init and namespaces.is_private(NamespaceType.NEWPID)
            mounts = (*self._of_named_network(namespaces), *self._all_mounts(mounts_proc))
            if isinstance(self.root, Attached):
                mounts = (self.root, *mounts)
            if any(_is_made_by_the_launcher(mount) for mount in mounts):
                mounts = self._with_trees(mounts, namespaces, owner)
            trees = {mount.fd for mount in mounts if isinstance(mount, Tree)}
            data = self._bootstrap_data(namespaces)

            def start(
                options: Options, cgroup: int | None, tasks_fds: tuple[int, ...], waits: bool
            ) -> Child:
                confinement = confinement_of(
                    options,
                    mounts=mounts,
                    loopback=self.loopback and namespaces.is_private(NamespaceType.NEWNET),
                    init=init,
                    process_group=process_group,
                    wait_for_go=waits,
                    listener=listener,
                )
                if namespaces.path_of(NamespaceType.NEWPID):
                    from nsenter._launch import joiner_capabilities as capabilities

                    capabilities.warn_of_host_root(self, namespaces)
                    more = capabilities.kept_by_options(self, namespaces, target)
                    if confinement is not None:
                        confinement = confinement.replace(attributes=confinement.attributes + more)
                return launch(
                    data, target,
                    stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, env=env,
                    cwd=self.cwd, hostname=self.hostname,
                    mount_proc=mounts_proc and not self._mounts_more(),
                    cgroup=cgroup, tasks_fds=tasks_fds, timeout=timeout, trace=trace,
                    confinement=confinement,
                    ignored_signals=ignored_signals, stage_fds=trees,
                )  # fmt: skip

            if self.limits is not None:
                from nsenter._launch.limited_start import start_limited

                return start_limited(
                    self, int(init), start, owner,
                    waits=isinstance(target, Program), goes_on=not wait_for_go,
                )  # fmt: skip
            return start(self, self._cgroup_fd(owner), (), wait_for_go)

    def _cgroup_fd(self, owner: Descriptors) -> int | None:
        if self.cgroup is None or isinstance(self.cgroup, int):
            return self.cgroup
        return owner.add(os.open(self.cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def _with_trees(
        self, mounts: tuple[Mount, ...], namespaces: Namespaces, owner: Descriptors
    ) -> tuple[Mount, ...]:
        """Return the mounts as the launcher sends them."""
        from nsenter._launch.idmapped_binds import with_idmapped_trees

        has_owner = any(getattr(mount, "as_owner", False) for mount in mounts)
        if has_owner and namespaces.path_of(NamespaceType.NEWUSER):
            raise ValueError("mounts: as_owner cannot be had in a user namespace that is joined")
        uid, gid = self._host_ids(namespaces)
        return tuple(with_idmapped_trees(mounts, uid, gid, owner))

    def host_ids(self) -> tuple[int, int]:
        """Return the uid and the gid of the process as the caller sees them.

        Raises:
            OSError: a namespace that is joined cannot be opened.
        """
        with Descriptors() as owner:
            return self._host_ids(self._namespaces(owner))

    def _host_ids(self, namespaces: Namespaces) -> tuple[int, int]:
        """Return the uid and gid of the process as the caller sees them.

        An id that is not given is 0 in a new user namespace that maps 0, otherwise the caller's.
        """
        maps = self._found_maps(namespaces)
        uids, gids = (maps.uid, maps.gid) if maps else (None, None)
        return _host_id(self.uid, uids, os.geteuid()), _host_id(self.gid, gids, os.getegid())

    def _namespaces(self, owner: Descriptors) -> Namespaces:
        namespaces = Namespaces(joined(self.join, owner))
        for kind in self._new_kinds(namespaces):
            if namespaces.path_of(kind):
                raise ValueError(f"new {kind.ns_name()}: this one is joined already")
            namespaces.add(kind)
        return namespaces

    def _new_kinds(self, joined: Namespaces) -> Iterable[NamespaceType]:
        if self.new == ALL:
            return [kind for kind in supported_namespaces() if not joined.contains(kind)]
        return self._given_kinds()

    def _given_kinds(self) -> list[NamespaceType]:
        """Raise ValueError if a word is unknown."""
        if self.new == ALL:
            return []
        words = self.new.split(",") if isinstance(self.new, str) else self.new
        return [NamespaceType.parse(word) for word in words if word]

    def _given_maps(self) -> str | IDMappings:
        """Raise ValueError or TypeError if `maps` is not valid."""
        given = "root" if self.maps is None else self.maps
        if isinstance(given, str) and given not in _MAPS:
            words = ", ".join(f'"{word}"' for word in _MAPS)
            raise ValueError(f"maps must be {words} or an IDMappings, not {given!r}")
        if not isinstance(given, (str, idmap.IDMappings)):
            raise TypeError(f"maps must be a word or an IDMappings, not {given!r}")
        return given

    def _bootstrap_data(self, namespaces: Namespaces) -> BootstrapData:
        maps: Mapping[str, Any] = {}
        found = self._found_maps(namespaces)
        if found is not None:
            maps = {"uid_mappings": found.uid, "gid_mappings": found.gid}
            self._check_ids(found)
        elif self.maps is not None:
            raise ValueError(f'maps={self.maps!r} requires a new user namespace: add "user" to new')
        return bootstrap_data(
            namespaces, **maps,
            oom_score_adj=self.oom_score_adj, time_offsets=self.time_offsets,
        )  # fmt: skip

    def _found_maps(self, namespaces: Namespaces) -> IDMappings | None:
        """Return the id mappings of a new user namespace."""
        if not namespaces.is_private(NamespaceType.NEWUSER):
            return None
        given = self._given_maps()
        return _MAPS[given]() if isinstance(given, str) else given

    def _check_ids(self, maps: IDMappings) -> None:
        """Raise ValueError for an id that does not exist in the new user namespace."""
        for name, ids, rows in (
            ("uid", (self.uid,), maps.uid),
            ("gid", (self.gid,), maps.gid),
            ("groups", self.groups or (), maps.gid),
        ):
            for number in ids:
                if number is not None and idmap.host_id(rows, number) is None:
                    raise ValueError(f"{name} {number}: the new user namespace does not map it")

    def _check_needs(self, namespaces: Namespaces) -> None:
        """Raise ValueError if an option requires a new namespace that is not asked for."""
        for asked, what, kind in (
            (self.root is not None, f"root={self.root!r}", NamespaceType.NEWNS),
            (self.mounts, "a list of mounts", NamespaceType.NEWNS),
            (self.init, "init=True", NamespaceType.NEWPID),
        ):
            if asked and not namespaces.is_private(kind):
                name = kind.ns_name()
                raise ValueError(f'{what} requires a new {name} namespace: add "{name}" to new')

    def _mounts_more(self) -> bool:
        """Return whether there is more to mount than /proc."""
        return self.root is not None or bool(self.mounts)

    def _all_mounts(self, proc: bool) -> tuple[Mount, ...]:
        """Return the mounts with /proc in front, unless they include it."""
        mounts = tuple(self.mounts)
        if not proc or not self._mounts_more():
            return mounts
        from nsenter.mounts import Proc

        if any(isinstance(mount, Proc) for mount in mounts):
            return mounts
        return (Proc(), *mounts)

    def _of_named_network(self, namespaces: Namespaces) -> tuple[Mount, ...]:
        """Return the mounts that belong to a joined named network namespace.

        They cover the caller's tree in a new mount namespace. Only the user namespace that owns the
        network may mount its /sys.
        """
        path = namespaces.path_of(NamespaceType.NEWNET)
        if not path or self.root is not None or namespaces.contains(NamespaceType.NEWUSER):
            return ()
        if not namespaces.is_private(NamespaceType.NEWNS):
            return ()
        from nsenter._launch.named_netns import files_of, name_of

        name = name_of(path)
        return tuple(files_of(name, self.mounts)) if name else ()

    def _mounts_proc(self, namespaces: Namespaces) -> bool:
        if self.proc is not None:
            return self.proc
        kinds = (NamespaceType.NEWPID, NamespaceType.NEWNS)
        return all(namespaces.is_private(kind) for kind in kinds)
