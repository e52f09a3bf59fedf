# SPDX-License-Identifier: Apache-2.0
"""Containers that every runtime must make alike: a table of changes to `runc spec`'s example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import rootless
from interop import container_view
from interop.oci_bundles import Config, Edit, shell

HOOK_SHELL = "/bin/sh"  # of the host, and of the container
OUTSIDE = "{outside}"  # a folder of the host's with a file and a folder in it
HOLDER = "/proc/{holder}/ns/"  # namespaces of a process that only holds them


@dataclass(frozen=True)
class Case:
    """One container that is run to its end.

    Args:
        name: for people.
        edits: of the example, in order. Words in braces are replaced when the bundle is made.
        args: of the process; without, it tells what it sees.
        options: of `run`.
        stdin, env, descriptors: of the runtime's process.
        says: what every runtime's error message has to have in it, apart from case; crun words
            things its own way and is not held to it.
        rootless: by an ordinary user.
        but: runtimes that cannot, by why.
    """

    name: str
    edits: tuple[Edit, ...] = ()
    args: list[str] | None = None
    options: tuple[str, ...] = ()
    stdin: str = ""
    env: dict[str, str] = field(default_factory=dict)
    descriptors: str = ""
    says: tuple[str, ...] = ()
    rootless: bool = False
    but: dict[str, str] = field(default_factory=dict)

    @property
    def process_args(self) -> list[str]:
        return shell(container_view.SCRIPT) if self.args is None else self.args


# --- changes ------------------------------------------------------------------------------------


def put(path: str, value: Any) -> Edit:
    """Set what a dotted path names."""

    def edit(config: Config) -> None:
        *folders, name = path.split(".")
        target = config
        for folder in folders:
            target = target.setdefault(folder, {})
        target[name] = value

    return edit


def drop(path: str) -> Edit:
    """Remove what a dotted path names."""

    def edit(config: Config) -> None:
        *folders, name = path.split(".")
        target = config
        for folder in folders:
            target = target[folder]
        target.pop(name, None)

    return edit


def namespace(kind: str, path: str | None = "") -> Edit:
    """A namespace of a kind: new, joined by its path, or (None) the host's."""

    def edit(config: Config) -> None:
        others = [entry for entry in config["linux"]["namespaces"] if entry["type"] != kind]
        own = [] if path is None else [{"type": kind, **({"path": path} if path else {})}]
        config["linux"]["namespaces"] = others + own

    return edit


def mount(destination: str, kind: str, source: str, *options: str) -> Edit:
    """One mount more."""

    def edit(config: Config) -> None:
        config["mounts"].append(
            {"destination": destination, "type": kind, "source": source, "options": list(options)}
        )

    return edit


def without_mount(destination: str) -> Edit:
    def edit(config: Config) -> None:
        config["mounts"] = [row for row in config["mounts"] if row["destination"] != destination]

    return edit


def user(uid: int, gid: int, *groups: int, **more: Any) -> Edit:
    return put("process.user", {"uid": uid, "gid": gid, "additionalGids": list(groups), **more})


def capabilities(**sets: str) -> Edit:
    return put(
        "process.capabilities",
        {name: [f"CAP_{word}" for word in words.split()] for name, words in sets.items()},
    )


def maps(*rows: tuple[int, int, int]) -> Edit:
    """A user namespace with these rows (inside, outside, size) for uids and gids."""

    def edit(config: Config) -> None:
        namespace("user")(config)
        for name in ("uidMappings", "gidMappings"):
            config["linux"][name] = [
                {"containerID": inside, "hostID": outside, "size": size}
                for inside, outside, size in rows
            ]

    return edit


def env(*rows: str) -> Edit:
    return put("process.env", list(rows))


def resources(**kinds: Any) -> Edit:
    def edit(config: Config) -> None:
        config["linux"].setdefault("resources", {}).update(kinds)

    return edit


def seccomp(default: str = "SCMP_ACT_ALLOW", /, *rules: dict[str, Any], **more: Any) -> Edit:
    policy = {"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], **more}
    return put("linux.seccomp", {**policy, "syscalls": list(rules)})


def rule(names: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": action, **more}


def hook(kind: str, script: str, **more: Any) -> Edit:
    """A hook more of a kind; `script` finds the state on its stdin."""

    def edit(config: Config) -> None:
        rows = config.setdefault("hooks", {}).setdefault(kind, [])
        rows.append({"path": HOOK_SHELL, "args": ["sh", "-c", script], **more})

    return edit


IP_FORWARD = {"net.ipv4.ip_forward": "1"}
FUSE = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}
HOOKS = "prestart createRuntime createContainer startContainer poststart poststop".split()
WRITABLE = put("root.readonly", False)


def every_hook(script: Callable[[str], str], *, own_env: bool = True) -> Edit:
    def edit(config: Config) -> None:
        for kind in HOOKS:
            env = {"env": ["A=b", f"KIND={kind}", "PATH=/usr/bin:/bin"]} if own_env else {}
            hook(kind, script(kind), **env)(config)

    return edit


# --- the table ----------------------------------------------------------------------------------


def _process() -> Iterator[Case]:
    yield Case("default")
    yield Case("env", (env("PATH=/bin", "A=1", "B=", "A=2", "C=x y", "HOME=/tmp"),))
    yield Case("env-without-home", (env("PATH=/bin"), user(1000, 1000)))
    yield Case("env-empty", (env(),), args=["/bin/sh", "-c", "echo $PATH $HOME; env"])
    yield Case("user", (user(1000, 1000, 5, 1001), env("PATH=/bin")))
    yield Case("user-of-no-name", (user(4711, 4712),))
    yield Case("umask", (user(0, 0, umask=0o27),))
    yield Case("cwd", (put("process.cwd", "/tmp"),))
    yield Case("cwd-missing", (put("process.cwd", "/not/there"), WRITABLE))
    yield Case("cwd-missing-in-a-read-only-root", (put("process.cwd", "/not/there"),))
    yield Case("cwd-a-file", (put("process.cwd", "/etc/passwd"),), says=("not a directory",))
    yield Case("cwd-relative", (put("process.cwd", "tmp"),), says=("absolute",))
    yield Case("cwd-closed-to-the-user", (put("process.cwd", "/root"), user(1000, 1000), WRITABLE))
    yield Case("capabilities-none", (put("process.capabilities", {}),))
    yield Case("capabilities-not-given", (drop("process.capabilities"),))
    yield Case("capabilities-none-of-a-user", (put("process.capabilities", {}), user(1000, 1000)))
    some = "NET_BIND_SERVICE KILL"
    yield Case(
        "capabilities-ambient",
        (
            capabilities(
                **dict.fromkeys(["bounding", "permitted", "inheritable", "ambient"], some),
                effective="KILL",
            ),
            user(1000, 1000),
        ),
    )
    for name, sets, *who in (
        ("inheritable", {}),
        ("inheritable-of-a-user", {}, user(1000, 1000)),
        ("inheritable-some", {"inheritable": "KILL"}),
        ("inheritable-outside-bounding", {"bounding": "KILL"}),
        ("ambient-not-inheritable", {"ambient": some, "inheritable": "KILL"}, user(1000, 1000)),
        ("ambient-not-permitted", {"ambient": some, "permitted": "KILL", "effective": ""}),
    ):
        kinds = dict.fromkeys(["bounding", "permitted", "effective", "inheritable"], some)
        yield Case(f"capabilities-{name}", (capabilities(**kinds | sets), *who))
    yield Case(
        "capabilities-bounding-alone", (capabilities(bounding="CHOWN NET_RAW", effective=""),)
    )
    yield Case("capabilities-unknown", (capabilities(bounding="KILL NONSENSE", permitted="KILL"),))
    yield Case("new-privileges", (put("process.noNewPrivileges", False),))
    yield Case(
        "rlimits",
        (
            put(
                "process.rlimits",
                [
                    {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                    {"type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": 1 << 30},
                    {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 40},
                ],
            ),
        ),
    )
    yield Case("rlimits-none", (drop("process.rlimits"),))
    yield Case(
        "rlimit-unknown",
        (put("process.rlimits", [{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]),),
    )
    yield Case(
        "rlimit-twice",
        (put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}] * 2),),
    )
    yield Case("oom-score", (put("process.oomScoreAdj", 500),))
    yield Case("oom-score-0", (put("process.oomScoreAdj", 0),))
    yield Case("personality", (put("linux.personality", {"domain": "LINUX32"}),))
    yield Case("scheduler", (put("process.scheduler", {"policy": "SCHED_BATCH", "nice": 5}),))
    yield Case("io-priority", (put("process.ioPriority", {"class": "IOPRIO_CLASS_IDLE"}),))
    yield Case("stdin", args=["/bin/cat"], stdin="said to it\n")
    yield Case("apparmor", (put("process.apparmorProfile", "some-profile"),))
    yield Case("selinux", (put("process.selinuxLabel", "system_u:system_r:t:s0"),))


def _program() -> Iterator[Case]:
    for status in (0, 1, 7, 125, 126, 127, 255):
        yield Case(f"exit-{status}", args=shell(f"exit {status}"))
    for number in (1, 2, 9, 11, 15, 34):
        edits = (namespace("pid", None),)
        yield Case(f"signal-{number}", edits, args=shell(f"kill -{number} $$; sleep 9"))
    yield Case("found-in-path", args=["echo", "found"])
    yield Case("found-in-its-own-path", (env("PATH=/nowhere:/bin"),), args=["echo", "found"])
    yield Case("no-path", (env("A=b"),), args=["echo", "found"])
    yield Case("relative-to-cwd", (put("process.cwd", "/bin"),), args=["./echo", "found"])
    missing = ("no such file",)
    yield Case("missing", args=["/bin/missing"], says=("/bin/missing", *missing))
    yield Case("missing-in-path", args=["missing"], says=("missing", "executable file not found"))
    yield Case("not-executable", args=["/etc/passwd"], says=("permission denied",))
    yield Case("not-executable-in-path", (env("PATH=/etc"),), args=["passwd"])
    yield Case("a-folder", args=["/bin"], says=("/bin",))
    yield Case("no-arguments", args=[])
    yield Case("no-process", (drop("process"),))
    yield Case(
        "script-without-interpreter",
        (WRITABLE, mount("/mnt/bad", "bind", f"{OUTSIDE}/bad-script", "bind")),
        args=["/mnt/bad"],
        says=missing,
    )
    yield Case(
        "no-format",
        (mount("/etc/hostname", "bind", f"{OUTSIDE}/no-format", "bind"),),
        args=["/etc/hostname"],
        says=("format",),
    )


def _namespaces() -> Iterator[Case]:
    for kind in ("network", "ipc", "uts", "pid"):
        edits = (namespace(kind, None), *((drop("hostname"),) if kind == "uts" else ()))
        yield Case(f"{kind}-of-the-host", edits)
    for kind, name in {"network": "net", "ipc": "ipc", "uts": "uts"}.items():
        edits = (namespace(kind, HOLDER + name), *((drop("hostname"),) if kind == "uts" else ()))
        yield Case(f"{kind}-joined", edits)
    yield Case(
        "three-joined",
        (
            *(namespace(k, HOLDER + n) for k, n in (("network", "net"), ("ipc", "ipc"))),
            namespace("uts", f"{HOLDER}uts"),
            drop("hostname"),
        ),
    )
    yield Case("joined-does-not-exist", (namespace("network", "/run/netns/not-there"),))
    yield Case("joined-of-another-kind", (namespace("network", f"{HOLDER}uts"),))
    yield Case("cgroup-new", (namespace("cgroup"),))
    yield Case("cgroup-of-the-host", (namespace("cgroup", None),))
    edits = (namespace("time"), put("linux.timeOffsets", {"boottime": {"secs": 1000}}))
    but = {"crun": "does not have it, and ends with one status or another"}
    yield Case("time", edits, but=but)
    yield Case("mount-of-the-host", (namespace("mount", None),))
    yield Case("namespace-unknown", (namespace("nonsense"),))
    yield Case(
        "namespace-twice",
        (lambda c: c["linux"]["namespaces"].append({"type": "pid"}),),
    )
    yield Case("hostname", (put("hostname", "a-name.of-its-own"),))
    yield Case("hostname-of-the-host's-uts", (namespace("uts", None), put("hostname", "a-name")))
    yield Case("domainname", (put("domainname", "a.domain"),))
    yield Case("sysctl", (put("linux.sysctl", IP_FORWARD),))
    yield Case("sysctl-of-ipc", (put("linux.sysctl", {"kernel.shmmax": "65536"}),))
    yield Case("sysctl-of-the-host", (put("linux.sysctl", {"vm.swappiness": "10"}),))
    yield Case(
        "sysctl-of-the-host's-network",
        (namespace("network", None), put("linux.sysctl", IP_FORWARD)),
    )
    yield Case("sysctl-unknown", (put("linux.sysctl", {"net.nonsense": "1"}),))
    yield Case("user-namespace", (maps((0, 100000, 1000), (1000, 200000, 64000)),))
    yield Case(
        "user-namespace-of-root",
        (
            maps(
                (0, 0, 1 << 31),
            ),
        ),
    )
    yield Case("user-namespace-and-a-user", (maps((0, 100000, 65536)), user(1000, 1000, 5)))
    yield Case("user-namespace-without-the-user", (maps((0, 100000, 10)), user(1000, 1000)))
    yield Case(
        "user-namespace-without-network", (maps((0, 100000, 65536)), namespace("network", None))
    )
    yield Case("user-namespace-without-maps", (namespace("user"),))
    yield Case("maps-without-user-namespace", (maps((0, 100000, 1000)), namespace("user", None)))
    yield Case("user-namespace-joined", (namespace("user", HOLDER + "user"),))


def _root() -> Iterator[Case]:
    yield Case("root-writable", (WRITABLE,))
    for kind in ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"):
        yield Case(f"root-propagation-{kind}", (put("linux.rootfsPropagation", kind),))
    for own in ("shared", "private", "rslave"):
        edits = (
            put("linux.rootfsPropagation", "rslave"),
            mount("/mnt", "bind", OUTSIDE, "bind", own),
        )
        yield Case(f"root-propagation-and-{own}", edits)
    for paths in ("maskedPaths", "readonlyPaths"):
        names = ["/proc/tty", "/etc/hostname", "/proc/tty", "/etc/hostname", "/etc//hostname"]
        yield Case(f"{paths}-twice", (put(f"linux.{paths}", names), WRITABLE))
        shared = put("linux.rootfsPropagation", "shared")
        yield Case(f"{paths}-twice-in-a-shared-root", (put(f"linux.{paths}", names), shared))
    yield Case("no-pivot", options=("--no-pivot",))
    yield Case("no-new-keyring", options=("--no-new-keyring",))
    yield Case("root-missing", (put("root.path", "/not/there"),))
    yield Case("root-a-file", (put("root.path", "/etc/passwd"),))
    yield Case("no-root", (drop("root"),))
    yield Case("no-linux", (drop("linux"),))
    yield Case("no-mounts", (put("mounts", []),), args=shell("echo ended"))
    yield Case("version-unknown", (put("ociVersion", "7.0.0"),))
    yield Case("version-not-given", (drop("ociVersion"),))
    yield Case("field-unknown", (put("nonsense", {"a": 1}), put("process.nonsense", 1)))


def _mounts() -> Iterator[Case]:
    def of(name: str, *edits: Edit, args: list[str] | None = None, **more: Any) -> Case:
        return Case(f"mount-{name}", (WRITABLE, *edits), args=args, **more)

    yield of("tmpfs", mount("/mnt/a", "tmpfs", "tmpfs", "size=64k", "mode=1770", "noexec"))
    yield of("tmpfs-ro", mount("/mnt/a", "tmpfs", "tmpfs", "ro", "nosuid", "nodev", "noatime"))
    yield of("tmpfs-of-an-owner", mount("/mnt", "tmpfs", "tmpfs", "uid=7", "gid=8", "mode=0750"))
    yield of("tmpfs-on-a-folder", mount("/tmp", "tmpfs", "tmpfs"))
    yield of("tmpfs-with-a-copy", mount("/etc", "tmpfs", "tmpfs", "tmpcopyup"))
    yield of("tmpfs-bad-option", mount("/mnt", "tmpfs", "tmpfs", "nonsense=1"))
    yield of("bind", mount("/mnt/a", "bind", OUTSIDE, "bind"))
    yield of("bind-none", mount("/mnt/a", "none", OUTSIDE, "bind"))
    yield of("bind-by-its-type-alone", mount("/mnt/a", "bind", OUTSIDE))
    yield of("bind-ro", mount("/mnt/a", "bind", OUTSIDE, "bind", "ro"))
    yield of(
        "bind-options",
        mount("/mnt/a", "bind", OUTSIDE, "rbind", "nosuid", "nodev", "noexec", "rprivate", "ro"),
    )
    for atime in "noatime nodiratime relatime strictatime nosymfollow".split():
        yield of(f"bind-{atime}", mount("/mnt/a", "bind", OUTSIDE, "bind", atime))
    for kind in "private shared slave unbindable rprivate rshared rslave runbindable".split():
        yield of(f"bind-{kind}", mount("/mnt/a", "bind", OUTSIDE, "rbind", kind))
    for flag in "rro rnosuid rnoexec rnodev".split():
        yield of(f"bind-{flag}", mount("/mnt/a", "bind", OUTSIDE, "rbind", flag))
    yield of(
        "bind-of-another",
        mount("/mnt/a", "bind", OUTSIDE, "bind", "ro", "noexec"),
        mount("/mnt/b", "bind", "{root}/mnt/a", "bind"),
    )
    yield of(
        "bind-flags-off",
        mount("/mnt/a", "bind", OUTSIDE, "bind", "ro", "noexec", "noatime"),
        mount("/mnt/b", "bind", "{root}/mnt/a", "bind", "dev"),
        mount("/mnt/c", "bind", "{root}/mnt/a", "bind", "atime"),
    )
    yield of("below-the-roots-own-path", mount("{root}/mnt/a", "tmpfs", "tmpfs"))
    yield of("bind-file", mount("/mnt/a/b/file", "bind", f"{OUTSIDE}/file", "bind", "ro"))
    yield of("bind-file-on-file", mount("/etc/passwd", "bind", f"{OUTSIDE}/file", "bind"))
    yield of("bind-missing", mount("/mnt/a", "bind", "/not/there", "bind"), says=("/not/there",))
    yield of("bind-relative-source", mount("/mnt/a", "bind", "beside", "bind"))
    yield of("bind-through-link", mount("/mnt/link/a", "bind", OUTSIDE, "bind"))
    yield of("bind-through-link-out", mount("/mnt/out/a", "bind", OUTSIDE, "bind"))
    yield of("relative", mount("mnt/a", "tmpfs", "tmpfs"))
    yield of("twice", mount("/mnt", "tmpfs", "a"), mount("/mnt", "tmpfs", "b", "mode=700"))
    yield of("on-another", mount("/mnt", "tmpfs", "a"), mount("/mnt/b", "tmpfs", "b"))
    yield of("on-proc", mount("/proc/a", "tmpfs", "tmpfs"))
    yield of("on-a-file-of-proc", mount("/proc/version", "bind", f"{OUTSIDE}/file", "bind"))
    yield of("on-proc-uptime", mount("/proc/uptime", "bind", f"{OUTSIDE}/file", "bind"))
    yield of("on-root", mount("/", "tmpfs", "tmpfs"))
    yield of("type-unknown", mount("/mnt", "nonsense", "none"))
    yield of(
        "overlay",
        mount("/mnt/a", "overlay", "overlay", f"lowerdir={OUTSIDE}/folder:{OUTSIDE}/layer"),
    )
    yield of("no-dev", without_mount("/dev"), without_mount("/dev/pts"))
    yield of("dev-of-the-host", without_mount("/dev"), mount("/dev", "bind", "/dev", "rbind"))
    yield of("no-sys", without_mount("/sys"), without_mount("/sys/fs/cgroup"))
    yield of("no-cgroup", without_mount("/sys/fs/cgroup"))
    yield of(
        "cgroup-rw",
        without_mount("/sys/fs/cgroup"),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw", "nosuid", "noexec"),
    )
    yield of("proc-hidepid", without_mount("/proc"), mount("/proc", "proc", "proc", "hidepid=1"))
    yield Case("masked", (put("linux.maskedPaths", ["/etc/passwd", "/proc/keys", "/not/there"]),))
    yield Case("masked-folder", (put("linux.maskedPaths", ["/etc", "/sys/kernel"]),))
    yield Case("masked-none", (put("linux.maskedPaths", []), put("linux.readonlyPaths", [])))
    yield Case(
        "read-only-paths", (WRITABLE, put("linux.readonlyPaths", ["/etc", "/proc/sys", "/none"]))
    )
    yield Case("masked-relative", (put("linux.maskedPaths", ["etc/passwd"]),))


def _devices() -> Iterator[Case]:
    def device(path: str, kind: str = "c", major: int = 1, minor: int = 3, **more: Any) -> Edit:
        row = {"path": path, "type": kind, "major": major, "minor": minor, **more}

        def edit(config: Config) -> None:
            config["linux"].setdefault("devices", []).append(row)

        return edit

    yield Case("device", (device("/dev/nil", fileMode=0o622, uid=5, gid=6),))
    yield Case("device-below-a-folder", (device("/dev/a/b/nil"),))
    yield Case("device-outside-dev", (device("/mnt/nil", fileMode=0o600), WRITABLE))
    yield Case("device-block", (device("/dev/disk", "b", 7, 0),))
    yield Case("device-fifo", (device("/dev/fifo", "p", 0, 0),))
    but = {"crun": "it looks for the folder that such a path names"}
    yield Case("device-spelt-as-a-folder", (device("/dev//nil/"),), but=but)
    yield Case("device-of-no-kind", (device("/dev/nil", "x"),))
    yield Case("device-of-a-default's-path", (device("/dev/null", fileMode=0o600),))
    mapped = maps((0, 100000, 65536))
    yield Case("device-in-a-user-namespace", (device("/dev/fuse", minor=229, major=10), mapped))
    allow = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}
    deny = {"allow": False, "access": "rwm"}
    tries = shell(
        "cat /proc/1/cgroup >/dev/null; mknod /mnt/fuse c 10 229; mknod /mnt/mem c 1 1; "
        "head -c 0 </mnt/fuse; echo $?; head -c 0 </mnt/mem; echo $?; head -c 1 /dev/zero | wc -c"
    )
    mknod = capabilities(**dict.fromkeys(["bounding", "permitted", "effective"], "MKNOD"))
    for name, rules in {"denied": [deny], "allowed": [deny, allow], "none": []}.items():
        edits = (resources(devices=rules), mknod, mount("/mnt", "tmpfs", "tmpfs"))
        but = {"crun": "it has no cgroups here"}
        yield Case(f"device-rules-{name}", edits, args=tries, but=but)


def _cgroups() -> Iterator[Case]:
    but = {"crun": "it has no cgroups here"}
    yield Case("cgroup-path", (put("linux.cgroupsPath", "/{id}-parent/inner"),), but=but)
    yield Case("cgroup-path-relative", (put("linux.cgroupsPath", "{id}-parent/inner"),), but=but)
    yield Case("cgroup-path-climbing", (put("linux.cgroupsPath", "/../../{id}-x"),), but=but)
    for name, kinds in {
        "pids": {"pids": {"limit": 50}},
        "pids-unlimited": {"pids": {"limit": -1}},
        "memory": {"memory": {"limit": 64 << 20, "reservation": 32 << 20}},
        "memory-unlimited": {"memory": {"limit": -1}},
        "memory-too-small": {"memory": {"limit": 1}},
        "swap-alone": {"memory": {"swap": 64 << 20}},
        "swap-with-unlimited-memory": {"memory": {"limit": -1, "swap": 64 << 20}},
        "cpu": {"cpu": {"shares": 512, "quota": 50000, "period": 100000}},
        "cpu-quota-bad": {"cpu": {"quota": 1}},
        "cpuset": {"cpu": {"cpus": "0", "mems": "0"}},
        "cpuset-bad": {"cpu": {"cpus": "4000"}},
        "block-io": {"blockIO": {"weight": 500}},
        "hugepages": {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]},
        "network": {"network": {"classID": 1}},
        "unified": {"unified": {"pids.max": "10"}},
    }.items():
        yield Case(f"resources-{name}", (resources(**kinds),), but=but)


def _seccomp() -> Iterator[Case]:
    tries = shell("mkdir /mnt/a; echo $?; ls -d /mnt; uname -m")
    make = "mkdir mkdirat"
    for name, edit in {
        "errno": seccomp("SCMP_ACT_ALLOW", rule(make, errnoRet=38)),
        "errno-default": seccomp("SCMP_ACT_ALLOW", rule(make)),
        "kill": seccomp("SCMP_ACT_ALLOW", rule(make, "SCMP_ACT_KILL")),
        "kill-process": seccomp("SCMP_ACT_ALLOW", rule(make, "SCMP_ACT_KILL_PROCESS")),
        "trap": seccomp("SCMP_ACT_ALLOW", rule(make, "SCMP_ACT_TRAP")),
        "log": seccomp("SCMP_ACT_LOG", rule("uname", "SCMP_ACT_ALLOW")),
        "by-argument": seccomp(
            "SCMP_ACT_ALLOW",
            rule(make, args=[{"index": 1, "value": 0o777, "op": "SCMP_CMP_EQ"}]),
        ),
        "by-masked-argument": seccomp(
            "SCMP_ACT_ALLOW",
            rule(
                make,
                args=[{"index": 1, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}],
            ),
        ),
        "call-unknown": seccomp("SCMP_ACT_ALLOW", rule(f"nonsense {make}")),
        "action-unknown": seccomp("SCMP_ACT_ALLOW", rule(make, "SCMP_ACT_NONSENSE")),
        "architectures": seccomp(
            "SCMP_ACT_ALLOW",
            rule(make),
            architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        ),
        "flags": seccomp("SCMP_ACT_ALLOW", rule(make), flags=["SECCOMP_FILTER_FLAG_LOG"]),
        "flag-unknown": seccomp("SCMP_ACT_ALLOW", rule(make), flags=["NONSENSE"]),
    }.items():
        yield Case(f"seccomp-{name}", (edit, WRITABLE), args=tries)
    policy = seccomp("SCMP_ACT_ALLOW", rule("swapon"))
    yield Case("seccomp-status", (policy,))
    yield Case("seccomp-status-new-privileges", (policy, put("process.noNewPrivileges", False)))
    yield Case("seccomp-status-of-a-user", (policy, user(1000, 1000)))
    # What a profile of years ago does not know, it denies.
    newer = "close_range openat2 faccessat2 clone3 statx rseq pidfd_open mount_setattr move_mount"
    old = seccomp("SCMP_ACT_ALLOW", rule(newer))
    greets = hook("startContainer", "cat > /dev/null; echo hook >> /mnt/hook")
    for name, edits in {
        "": (),
        "-new-privileges": (put("process.noNewPrivileges", False),),
        "-of-a-user": (user(1000, 1000), put("process.args", ["id"])),
        "-with-a-hook": (greets, mount("/mnt", "tmpfs", "tmpfs")),
    }.items():
        yield Case(f"seccomp-old{name}", (old, *edits), args=shell("cat /mnt/hook; pwd"))
    yield Case("seccomp-no-getcwd", (seccomp("SCMP_ACT_ALLOW", rule("getcwd")),))


def _hooks() -> Iterator[Case]:
    log = mount("/mnt", "bind", OUTSIDE, "bind", "rw")

    def to(kind: str, name: str) -> str:
        return f">> {'/mnt' if kind == 'startContainer' else OUTSIDE}/log.{name}"

    def tell(kind: str) -> str:
        what = '"$0 $* in $(pwd), told $(cat)"'
        return f"echo {what} {to(kind, kind)}; env | grep -v ^_ | sort {to(kind, kind)}"

    def mark(kind: str) -> str:
        """Which came before which; nothing orders these two, once the container may go on."""
        name = kind if kind in ("startContainer", "poststart") else "all"
        return f"cat > /dev/null; echo {kind} {to(kind, name)}"

    # A poststart hook runs beside the container, which is to see what that leaves.
    awaits = "i=0; until [ -s /mnt/log.poststart ] || [ $((i += 1)) -gt 3000 ]; do sleep 0.01; done"
    args = shell(f"{awaits}\n{container_view.SCRIPT}")
    yield Case("hooks", (every_hook(tell), log, put("annotations", {"a": "b"})), args=args)
    yield Case("hooks-without-env", (every_hook(tell, own_env=False), log), args=args)
    yield Case("hooks-in-order", (every_hook(mark), every_hook(mark), log), args=args)
    for kind in HOOKS:
        fails = hook(kind, "cat > /dev/null; echo why >&2; exit 3")
        edits = (log, every_hook(mark), fails, hook(kind, mark(kind)))
        # The container runs beside a poststart hook, and is stopped at any point of it.
        still = (drop("hooks.startContainer"),) if kind == "poststart" else ()
        args = shell("sleep 30" if still else "echo ran")
        but = {"crun": "it goes on, for as long as it takes"} if still else {}
        yield Case(f"hook-fails-{kind}", (*edits, *still), args=args, but=but)
    edits = (log, hook("createRuntime", "exec sleep 9", timeout=1))  # type: ignore[assignment]
    yield Case("hook-too-slow", edits, args=shell("echo ran"))
    edits = (put("hooks", {"prestart": [{"path": "relative"}]}),)  # type: ignore[assignment]
    yield Case("hook-relative", edits, args=shell("echo ran"))
    edits = (put("hooks", {"createRuntime": [{"path": "/not/there"}]}),)  # type: ignore[assignment]
    yield Case("hook-missing", edits, args=shell("echo ran"))


def _descriptors() -> Iterator[Case]:
    fds = "3</dev/null 4</dev/zero 5</dev/full"
    yield Case("descriptors-not-kept", descriptors=fds)
    yield Case("descriptors-kept", options=("--preserve-fds", "2"), descriptors=fds)
    yield Case("descriptors-of-systemd", env={"LISTEN_FDS": "2"}, descriptors=fds)
    yield Case("descriptors-of-systemd-for-another", env={"LISTEN_FDS": "2", "LISTEN_PID": "1"})
    yield Case(
        "descriptors-of-both",
        options=("--preserve-fds", "1"),
        env={"LISTEN_FDS": "2"},
        descriptors=fds,
    )
    gap = "3</dev/null 5</dev/full"
    yield Case("descriptors-missing", options=("--preserve-fds", "3"), descriptors=gap)


def _rootless() -> Iterator[Case]:
    alone = maps((0, rootless.UID, 1))
    yield _by_user("alone", alone)
    yield _by_user("umask", alone, user(0, 0, umask=0o77), put("process.cwd", "/tmp"))
    ids = maps((0, rootless.UID, 1), (1, 300000, 65535))
    yield _by_user("ids", ids)
    yield _by_user("ids-and-a-user", ids, user(1000, 1000))
    yield _by_user("ids-and-groups", ids, user(1000, 1000, 5))
    yield _by_user("ids-not-granted", maps((0, rootless.UID, 1), (1, 1000, 10)))
    yield _by_user("exit", alone, args=shell("exit 7"))
    yield _by_user("without-user-namespace", namespace("user", None))
    yield _by_user("of-root", maps((0, 0, 1)))
    yield _by_user("of-a-user-unmapped", alone, user(5, 5))
    yield _by_user("network", alone, namespace("network"))
    yield _by_user("sysctl", alone, namespace("network"), put("linux.sysctl", IP_FORWARD))
    yield _by_user("resources", alone, resources(pids={"limit": 50}))
    yield _by_user("device", alone, put("linux.devices", [FUSE]))


def _by_user(name: str, *edits: Edit, args: list[str] | None = None) -> Case:
    return Case(f"rootless-{name}", edits, args=args, rootless=True)


CASES: tuple[Case, ...] = tuple(
    case
    for group in (
        *(_process, _program, _namespaces, _root, _mounts, _devices, _cgroups, _seccomp, _hooks),
        *(_descriptors, _rootless),
    )
    for case in group()
)
