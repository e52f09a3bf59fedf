# SPDX-License-Identifier: Apache-2.0
"""What a process is to be given and denied: one value for Popen, run, call and the command."""

from __future__ import annotations

import os

from nsenter import idmap, option_types
from nsenter.bootstrap import BootstrapData, TimeOffset, bootstrap_data
from nsenter.descriptors import Descriptors
from nsenter.launch import launch
from nsenter.namespaces import Namespaces, NamespaceType, supported_namespaces
from nsenter.tail import tail_of
from nsenter.targets import joined
from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from nsenter.child import Child
    from nsenter.idmap import IDMap, IDMappings
    from nsenter.launch import Environment, Program, PythonInit, StrOrBytes
    from nsenter.limits import Limit
    from nsenter.mounts import Mount, Tmpfs

__all__ = ["Options"]

ALL = "all"
# How the ids of a new user namespace are said in a word.
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


class Options(Value):
    """How a process is isolated. A value: made once, used for any number of processes.

    `Options(new="user,pid,mnt", init=True)`, `Options(join=container)`; `nsenter.presets` has some
    for what people reach for. Namespaces alone hide no files: hiding them requires a `root`.

    What is given up for good (from `rlimits` on) is given up last, in the order of csrc/tail.c:
    limits, ids, capabilities, no_new_privs, landlock, seccomp. The code of a PythonInit has
    then been loaded already.

    Args:
        new: the kinds of namespace to create, in any spelling of `NamespaceType.parse`; "all":
            all that this kernel has and that are not joined.
        join: whose namespaces to join: a pid, or anything with a pidfd (`nsenter.Popen`,
            `Child`): all that it does not share with us; anything with `namespace_paths`, as a
            running Container; a `Namespace`; a mapping of kinds to one of those, to a path, or,
            for the network, to a name of ip-netns(8); or a sequence of them. With a network that
            has such a name, with a new mount namespace, and without a `root` and a user namespace,
            the process has the /sys of that network, and the files of /etc/netns/NAME over those
            of /etc, as with `ip netns exec`; but not where one of `mounts` is.
        maps: the ids of a new user namespace: "root" (the caller is root there, and alone),
            "current" (the caller is itself), "auto" (root, and the caller's subordinate ids), or
            `IDMappings`. None: "root".
        hostname: of a new UTS namespace.
        proc: whether to mount a new /proc; None: where the pid and the mount namespace are new.
        cwd: the working directory, in the root of the process.
        oom_score_adj: -1000 … 1000 (proc_pid_oom_score_adj(5)).
        time_offsets: for the clocks of a new time namespace.
        cgroup: a cgroup v2 directory to start in, by its path or a descriptor.
        loopback: whether the loopback device of a new network namespace is up (netdevice(7)).
        root: the root of the process: the absolute path of a folder, or "tmpfs": an empty one in
            memory, of 64 MiB and 16,384 files and folders at most; `Tmpfs("/", …)` sets others. A
            folder is bound with all that is mounted below it, nosuid and nodev, and pivoted
            into (pivot_root(2)); the caller's tree is gone then. It requires a new mount namespace,
            as `mounts` does. "/" itself can be one, to be read-only or to have other mounts.
        read_only: whether `root` is, with all that was mounted below it.
        mounts: what is mounted, in this order: `Bind`, `Tmpfs`, `Proc`, `Dev` of
            `nsenter.mounts`. Targets are resolved below the root of the process, whatever links
            lead out of it; a mount point that is missing is made in a `root`, a `Tmpfs`, or what
            is bound to be written. Without a `root` they go over the caller's tree, in the
            process's mount namespace only.
        new_session: whether the process leads a session of its own (setsid(2)). Else it is in the
            caller's session and process group; it then can signal that group as far as its user
            may, and put words into the caller's terminal where the kernel still has TIOCSTI.
        terminal: whether a new pty (pty(7)) is its controlling terminal and its three streams,
            in place of those that are given; `Child.terminal_fd` is the other side.
        init: whether a small PID 1 stays in a new pid namespace, with the process as its child:
            it reaps orphans, passes signals on, and reports how the process ended, also by which
            signal. It ends when the process does, and everything else in the namespace with it.
            Without one the process itself is PID 1: the kernel then ignores every signal that
            it has no handler for, SIGTERM too, unless it is SIGKILL from outside, and abort(3)
            in it looks like SIGSEGV (pid_namespaces(7)). None: True for `nsenter.Popen`, `run`,
            asyncio and calls if the pid namespace is new, as bubblewrap does it; False for
            `launch`, which starts the init itself.
        die_with_parent: whether it is killed when this process ends, however it ends; not when
            only the thread ends that started it. A program that executes a setuid one, or
            that takes PR_SET_PDEATHSIG back, escapes, unless there is an `init`, which ends
            with all that is in the namespace. Calls always have it.
        rlimits: limits by their names as in prlimit(1), "nofile", or getrlimit(2),
            "RLIMIT_NOFILE": a value for both, or (soft, hard); None, -1 or "unlimited": none.
        umask: of new files (umask(2)).
        cpus: the numbers of the processors that it may run on (sched_setaffinity(2)).
        uid, gid: its ids, as they are inside (credentials(7)). None: as they come, 0 in a user
            namespace that has it.
        groups: its supplementary groups; None: none where `uid` or `gid` is given, else as they
            come.
        capabilities: the names of those that it keeps, with or without CAP_; (): none; None: as
            they come. They are its permitted, effective and bounding ones; for another uid than
            0 its ambient and inheritable ones as well, as execve(2) would take them otherwise.
            For uid 0 both are empty.
        no_new_privs: whether execve(2) can give no privileges any more (PR_SET_NO_NEW_PRIVS);
            None: where landlock or seccomp is given, which need it.
        landlock: a mapping of paths, in the process's root, to letters of "rwx": what may be
            read (and listed), written (made, changed, removed), and executed there and below;
            anywhere else nothing may, whatever the ids allow (landlock(7)). What the kernel's
            version of Landlock does not know is not restricted. Neither are TCP and signals: the
            next three are about those. One that the kernel does not have is an error.
        landlock_bind, landlock_connect: the TCP ports that may be bound, and connected to, and no
            others; (): none; None: any. They require Linux 6.7.
        landlock_scope: what may not leave the process and those that it starts:
            "abstract_unix_socket": it connects to no socket of others that has a name but no file
            (unix(7)); "signal": it sends none to others. It requires Linux 6.12.
        seccomp: a filter of system calls (seccomp(2)): bytes of struct sock_filter, or anything
            with `code`, as `nsenter.seccomp.Filter`. It is put on last, but has to allow execve(2);
            for a PythonInit whatever Python needs.

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
    loopback: bool = True
    root: StrOrBytes | os.PathLike[str] | Tmpfs | None = None
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
        # A value is used more than once, and an iterator could be so only once.
        for name in ("new", "mounts", "cpus", "groups", "capabilities", "time_offsets"):
            given = self.__dict__[name]
            if given is not None and not isinstance(given, (str, tuple)):
                self.__dict__[name] = _as_tuple(name, given)
        option_types.check(self)
        self._given_kinds()
        self._given_maps()
        if self.terminal and not self.new_session:
            raise ValueError("terminal=True requires new_session=True")
        tail_of(self, mounts=self.mounts, loopback=False, init=False)

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
        held: bool = False,
    ) -> Child:
        """Start a process with these options.

        The other arguments, the result and the errors are those of `nsenter.launch.launch`.

        Args:
            default_init: what `init` means if it is None and the pid namespace is new.
            process_group: the process group to join, as setpgid(2) takes it: 0 for one of its own.
                Only one of its own is possible in a new session.
            held: whether a Program waits in its namespaces until `Child.go`.
        """
        with Descriptors() as owner:
            namespaces = self._namespaces(owner)
            mounts_proc = self._mounts_proc(namespaces)
            self._check_needs(namespaces)
            init = self.init
            if init is None:
                init = default_init and namespaces.is_private(NamespaceType.NEWPID)
            cgroup = self.cgroup
            if cgroup is not None and not isinstance(cgroup, int):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                cgroup = owner.add(os.open(cgroup, flags))
            mounts = (*self._of_named_network(namespaces), *self._all_mounts(mounts_proc))
            trees: set[int] = set()
            if any(getattr(mount, "as_owner", False) for mount in mounts):
                mounts, trees = self._with_trees(mounts, namespaces, owner)
            tail = tail_of(
                self,
                mounts=mounts,
                loopback=self.loopback and namespaces.is_private(NamespaceType.NEWNET),
                init=init,
                process_group=process_group,
                held=held,
            )
            if namespaces.path_of(NamespaceType.NEWPID):
                from nsenter.joiner import held_by_options, warn_of_host_root

                warn_of_host_root(self, namespaces)
                more = held_by_options(self, namespaces, target)
                if tail is not None:
                    tail = tail.replace(attributes=tail.attributes + more)
            return launch(
                self._bootstrap_data(namespaces), target,
                stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, env=env,
                cwd=self.cwd, hostname=self.hostname,
                mount_proc=mounts_proc and not self._mounts_more(),
                cgroup=cgroup, timeout=timeout, trace=trace, tail=tail,
                ignored_signals=ignored_signals, lent=trees,
            )  # fmt: skip

    def _with_trees(
        self, mounts: tuple[Mount, ...], namespaces: Namespaces, owner: Descriptors
    ) -> tuple[tuple[Mount, ...], set[int]]:
        """The mounts as the launcher sends them, and the descriptors that go with them."""
        from nsenter.mounts import Tree
        from nsenter.owned import with_trees

        if namespaces.path_of(NamespaceType.NEWUSER):
            raise ValueError("mounts: as_owner cannot be had in a user namespace that is joined")
        uid, gid = self._host_ids(namespaces)
        made = tuple(with_trees(mounts, uid, gid, owner))
        return made, {mount.fd for mount in made if isinstance(mount, Tree)}

    def _host_ids(self, namespaces: Namespaces) -> tuple[int, int]:
        """Of the process, as the caller has them. One that is not given is 0 in a new user
        namespace that has it, else the caller's."""
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
        """Raises ValueError for a word that is none."""
        if self.new == ALL:
            return []
        words = self.new.split(",") if isinstance(self.new, str) else self.new
        return [NamespaceType.parse(word) for word in words if word]

    def _given_maps(self) -> str | IDMappings:
        """Raises ValueError or TypeError for what is none."""
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
        """Those of a new user namespace."""
        if not namespaces.is_private(NamespaceType.NEWUSER):
            return None
        given = self._given_maps()
        return _MAPS[given]() if isinstance(given, str) else given

    def _check_ids(self, maps: IDMappings) -> None:
        """No process can have an id that does not exist in its user namespace."""
        for name, ids, rows in (
            ("uid", (self.uid,), maps.uid),
            ("gid", (self.gid,), maps.gid),
            ("groups", self.groups or (), maps.gid),
        ):
            for number in ids:
                if number is not None and idmap.host_id(rows, number) is None:
                    raise ValueError(f"{name} {number}: the new user namespace does not map it")

    def _check_needs(self, namespaces: Namespaces) -> None:
        """Raises ValueError for an option that requires a new namespace, if there is none."""
        for asked, what, kind in (
            (self.root is not None, f"root={self.root!r}", NamespaceType.NEWNS),
            (self.mounts, "a list of mounts", NamespaceType.NEWNS),
            (self.init, "init=True", NamespaceType.NEWPID),
        ):
            if asked and not namespaces.is_private(kind):
                name = kind.ns_name()
                raise ValueError(f'{what} requires a new {name} namespace: add "{name}" to new')

    def _mounts_more(self) -> bool:
        """Whether there is more to mount than a /proc."""
        return self.root is not None or bool(self.mounts)

    def _all_mounts(self, proc: bool) -> tuple[Mount, ...]:
        """With /proc, unless it is given; the others may go over it."""
        mounts = tuple(self.mounts)
        if not proc or not self._mounts_more():
            return mounts
        from nsenter.mounts import Proc

        if any(isinstance(mount, Proc) for mount in mounts):
            return mounts
        return (Proc(), *mounts)

    def _of_named_network(self, namespaces: Namespaces) -> tuple[Mount, ...]:
        """Of one that is joined, over the caller's tree in a new mount namespace. Only the user
        namespace that the network belongs to has the right to mount its /sys."""
        path = namespaces.path_of(NamespaceType.NEWNET)
        if not path or self.root is not None or namespaces.contains(NamespaceType.NEWUSER):
            return ()
        if not namespaces.is_private(NamespaceType.NEWNS):
            return ()
        from nsenter.netns import files_of, name_of

        name = name_of(path)
        return tuple(files_of(name, self.mounts)) if name else ()

    def _mounts_proc(self, namespaces: Namespaces) -> bool:
        if self.proc is not None:
            return self.proc
        kinds = (NamespaceType.NEWPID, NamespaceType.NEWNS)
        return all(namespaces.is_private(kind) for kind in kinds)
