# SPDX-License-Identifier: Apache-2.0
"""What a person or a manager tells a runtime, command by command: a table of containers' lives.

A step is a line of words, as behind the runtime's name. {id}, {bundle} and {folder} are replaced.
A line that begins with @ waits: `@stopped` until the container is, `@executed WORD` until its first
process has that for its first word, `@alone` until that is its only process, `@file NAME` until its
/mnt, which is the host's {folder}, has that file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from interop.cases import WRITABLE, mount, namespace, put, rule, seccomp, user
from interop.oci_bundles import Edit, shell

SLEEP = ["sleep", "1000"]
FOLDER = "{folder}"
_MNT = mount("/mnt", "bind", FOLDER, "bind", "rw")


@dataclass(frozen=True)
class Story:
    """A container's life.

    Args:
        name: for people.
        steps: lines; see above.
        args: of the process.
        edits: of the example configuration.
        files: name → text, in the folder.
    """

    name: str
    steps: tuple[str, ...]
    args: tuple[str, ...] = tuple(SLEEP)
    edits: tuple[Edit, ...] = (WRITABLE, _MNT)
    files: tuple[tuple[str, str], ...] = ()


def _story(name: str, lines: str, *, args: list[str] | None = None, **more: Any) -> Story:
    steps = tuple(line.strip() for line in lines.splitlines() if line.strip())
    return Story(name, steps, tuple(args or SLEEP), **more)  # type: ignore[arg-type]


CREATE, RUN = "create --bundle {bundle} {id}", "run --detach --bundle {bundle} {id}"
LOOK = "state {id}\nlist --format json\nlist --quiet\nps --format json {id}"


def _lives() -> Iterator[Story]:
    yield _story(
        "created-and-started",
        f"""{CREATE}
        {LOOK}
        start {{id}}
        @stopped
        {LOOK}
        delete {{id}}
        state {{id}}
        list""",
        args=shell("echo said; exit 7"),
    )
    yield _story(
        "run-and-killed",
        f"""{RUN}
        @executed sleep
        {LOOK}
        list
        ps {{id}}
        ps {{id}} -o pid,args
        kill {{id}} KILL
        @stopped
        {LOOK}
        delete {{id}}""",
    )
    yield _story("created-and-deleted", f"{CREATE}\ndelete {{id}}\ndelete --force {{id}}\n{LOOK}")
    yield _story(
        "created-and-killed", f"{CREATE}\nkill {{id}} KILL\n@stopped\nstate {{id}}\ndelete {{id}}"
    )
    yield _story("running-and-deleted-by-force", f"{RUN}\ndelete -f {{id}}\n{LOOK}")
    yield _story(
        "kept", "run --keep --bundle {bundle} {id}\nstate {id}\ndelete {id}", args=["true"]
    )
    yield _story("annotations", f"{CREATE}\nstate {{id}}", edits=(put("annotations", {"a": "b"}),))
    yield _story("events", f"{RUN}\nevents --stats {{id}}")
    yield _story(
        "pid-file",
        """create --bundle {bundle} --pid-file {folder}/pid {id}
        start {id}
        exec --detach --pid-file {folder}/pid2 {id} sleep 1000
        exec {id} wc -l /mnt/pid /mnt/pid2""",
    )


def _wrong() -> Iterator[Story]:
    """What is not possible in a state."""
    every = """state {id}
        start {id}
        kill {id} TERM
        exec {id} true
        pause {id}
        resume {id}
        update --pids-limit 10 {id}
        ps {id}
        events --stats {id}
        delete {id}"""
    yield _story("nothing-there", every + "\ndelete --force {id}")
    yield _story("wrong-when-running", f"{RUN}\nstart {{id}}\nresume {{id}}\ndelete {{id}}")
    yield _story("wrong-when-created", f"{CREATE}\npause {{id}}\nresume {{id}}\ndelete {{id}}")
    yield _story("again", f"{RUN}\n{RUN}\n{CREATE}\nstate {{id}}")
    yield _story("wrong-when-stopped", f"{CREATE}\nstart {{id}}\n@stopped\n{every}", args=["true"])
    for name in ("a/b", "..", ".", "a b", "a:b", "ä"):
        steps = (f"create --bundle {{bundle}} {name}",)
        yield Story(f"id-{name.replace('/', '-')}", steps)
    yield _story("exec-in-a-created-one", f"{CREATE}\nexec {{id}} echo in\nstate {{id}}")


def _words() -> Iterator[Story]:
    """Commands that are not right themselves."""
    yield _story(
        "usage",
        """create
        create a b
        start
        state
        kill
        kill {id} NONSENSE
        kill {id} 999
        delete
        exec
        exec {id}
        run --nonsense {id}
        nonsense
        list --format nonsense
        update {id}
        events --interval 0s {id}
        --log-format nonsense list
        checkpoint {id}
        """,
    )
    yield _story("no-bundle", "create --bundle {folder} {id}\nrun --bundle /not/there {id}")
    yield Story(
        "config-broken",
        ("create --bundle {folder} {id}", "list"),
        files=(("config.json", '{"ociVersion": '),),
    )
    yield Story(
        "config-of-another-type",
        ("create --bundle {folder} {id}", "list"),
        files=(("config.json", '["a"]'),),
    )
    yield _story("no-terminal-to-send", CREATE, edits=(put("process.terminal", True),))
    yield _story(
        "nothing-to-send", "create --console-socket {folder}/socket --bundle {bundle} {id}"
    )
    yield _story("detached-without-console", RUN, edits=(put("process.terminal", True), WRITABLE))
    yield _story("spec", "spec --bundle {folder}\nspec --bundle {folder}")


def _signals() -> Iterator[Story]:
    for signal in ("TERM", "SIGTERM", "15", "term", "USR1", ""):
        script = 'for s in TERM USR1; do trap "echo $s > /mnt/got; exit" $s; done; '
        script += "echo > /mnt/ready; while :; do sleep 0.02; done"
        steps = f"{RUN}\n@file ready\nkill {{id}} {signal}\n@file got\n@stopped\nexec {{id}} true"
        yield _story(f"signal-{signal or 'default'}", f"{steps}\nstate {{id}}", args=shell(script))
    yield _story("signal-0", f"{RUN}\nkill {{id}} 0\nstate {{id}}")
    beside = shell("sleep 1000 & echo > /mnt/ready; exec sleep 1000")
    shared = (namespace("pid", None), WRITABLE, _MNT)
    for name, kill in {"first": "kill {id} KILL", "all": "kill --all {id} KILL"}.items():
        yield _story(
            f"shared-pids-kill-{name}",
            f"{RUN}\n@file ready\n{kill}\n@stopped\nstate {{id}}\ndelete {{id}}",
            args=beside,
            edits=shared,
        )
    yield _story(
        "shared-pids-delete",
        f"{RUN}\n@file ready\ndelete --force {{id}}",
        args=beside,
        edits=shared,
    )
    yield _story(
        "kill-all-of-its-own-pids",
        f"{RUN}\n@file ready\nkill --all {{id}} KILL\n@stopped\nstate {{id}}",
        args=beside,
    )


def _exec() -> Iterator[Story]:
    def of(name: str, line: str, *edits: Edit, files: tuple[tuple[str, str], ...] = ()) -> Story:
        steps = (RUN, f"exec {line}")
        return Story(f"exec-{name}", steps, edits=(WRITABLE, _MNT, *edits), files=files)

    caps = "grep -E Cap|NoNew|Secc /proc/self/status"
    yield of("plain", "{id} sh -c 'id; pwd; env; umask; tty'")
    yield of("echo", "{id} echo a b")
    yield of("env", "-e A=b -e C=d {id} env")
    yield of("user", "--user 1000 {id} id")
    yield of("user-and-group", "--user 1000:1001 {id} id")
    yield of("user-by-name", "--user somebody {id} id")
    yield of("groups", "--additional-gids 5 --additional-gids 7 {id} id -G")
    yield of("cwd", "--cwd /tmp {id} pwd")
    yield of("cwd-missing", "--cwd /not/there {id} pwd")
    yield of("cwd-relative", "--cwd tmp {id} pwd")
    yield of("capability", f"--cap CAP_CHOWN {{id}} {caps}")
    yield of("capability-of-a-user", f"--cap CAP_CHOWN --user 1000 {{id}} {caps}")
    yield of("capabilities", f"{{id}} {caps}")
    yield of(
        "no-new-privileges", f"--no-new-privs {{id}} {caps}", put("process.noNewPrivileges", False)
    )
    yield of("new-privileges", f"{{id}} {caps}", put("process.noNewPrivileges", False))
    yield of("seccomp", f"{{id}} {caps}", seccomp("SCMP_ACT_ALLOW", rule("swapon")))
    yield of("seccomp-refuses", "{id} mkdir /tmp/a", seccomp("SCMP_ACT_ALLOW", rule("mkdir")))
    yield of("status", "{id} sh -c 'exit 7'")
    yield of("signal", "{id} sh -c 'kill -9 $$'")
    yield of("missing", "{id} /not/there")
    yield of("missing-in-path", "{id} not-there")
    yield of("not-executable", "{id} /etc/passwd")
    yield of("limits", "{id} sh -c 'ulimit -n'")
    yield of("score", "{id} cat /proc/self/oom_score_adj", put("process.oomScoreAdj", 300))
    yield of("of-a-user's-container", f"{{id}} {caps}", user(1000, 1000))
    yield of(
        "joined",
        "{id} sh -c 'for n in net mnt; do test /proc/$$/ns/$n -ef /proc/1/ns/$n && echo $n; done'",
    )
    yield of("cgroup", "{id} cat /proc/self/cgroup")
    process = '{"args": ["sh", "-c", "id; pwd; env"], "cwd": "/tmp", "env": ["PATH=/bin", "A=b"], '
    process += '"user": {"uid": 7, "gid": 8, "umask": 23, "additionalGids": [9]}}'
    files = (("process.json", process), ("broken.json", "{"))
    yield of("process", "--process {folder}/process.json {id}", files=files)
    yield of("process-broken", "--process {folder}/broken.json {id}", files=files)
    yield of("process-missing", "--process {folder}/none.json {id}", files=files)
    yield of("process-and-words", "--process {folder}/process.json {id} echo a", files=files)
    yield of("sub-cgroup-missing", "--cgroup none {id} true")
    yield _story(
        "exec-detached",
        f"{RUN}\nexec --detach {{id}} touch /mnt/done\n@file done\n@alone\nps {{id}} -o args",
    )


def _freezing() -> Iterator[Story]:
    yield _story(
        "paused",
        f"""{RUN}
        pause {{id}}
        state {{id}}
        list --quiet
        pause {{id}}
        exec {{id}} true
        start {{id}}
        delete {{id}}
        resume {{id}}
        state {{id}}
        exec {{id}} echo on
        resume {{id}}""",
    )
    yield _story("paused-and-deleted", f"{RUN}\npause {{id}}\ndelete --force {{id}}\nlist -q")
    yield _story(
        "paused-and-killed", f"{RUN}\npause {{id}}\nkill {{id}} KILL\nresume {{id}}\n@stopped"
    )


def _updating() -> Iterator[Story]:
    look = "exec {id} cat " + " ".join(
        f"/sys/fs/cgroup/{name}"
        for name in "pids/pids.max memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes "
        "cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus".split()
    )
    options = {
        "pids": "--pids-limit 10",
        "pids-unlimited": "--pids-limit -1",
        "memory": "--memory 67108864 --memory-reservation 33554432",
        "memory-unlimited": "--memory -1",
        "cpu": "--cpu-share 512 --cpu-quota 50000 --cpu-period 100000",
        "cpuset": "--cpuset-cpus 0 --cpuset-mems 0",
        "nonsense": "--memory many",
        "cpuset-bad": "--cpuset-cpus 4000",
        "memory-with-unit": "--memory 64M",
        "file": "--resources {folder}/resources.json",
        "file-missing": "--resources {folder}/none.json",
        "file-broken": "--resources {folder}/broken.json",
    }
    some = '{"memory": {"limit": 67108864}, "cpu": {"shares": 256}, "pids": {"limit": 20}}'
    files = (("resources.json", some), ("broken.json", "{"))
    for name, words in options.items():
        yield _story(f"update-{name}", f"{RUN}\nupdate {words} {{id}}\n{look}", files=files)


STORIES = tuple(
    story
    for group in (_lives, _wrong, _words, _signals, _exec, _freezing, _updating)
    for story in group()
)

# Story and step → why pyrunc may answer something else there than runc.
KNOWN = {
    ("created-and-deleted", "list --format json"): "no containers are [], not null",
    ("running-and-deleted-by-force", "list --format json"): "no containers are [], not null",
}
