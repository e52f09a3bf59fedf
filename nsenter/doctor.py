# SPDX-License-Identifier: Apache-2.0
"""Find out why namespaces do or do not work on this machine.

The doctor reads the settings of the machine, and starts processes in namespaces to see if that
works. The table in `nsenter._host.hints` says what each finding means and what to do about it; the
hints of errors come from the same table. If a start fails, the finding has the error's own text.
"""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from nsenter._host import json_text, procfs
from nsenter._host.apparmor import HOW_TO_LOAD, profile
from nsenter._host.hints import ASK_THE_DOCTOR, FACTS, read_line
from nsenter._host.probe import CALLS, refused
from nsenter._host.procfs import has_admin
from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter._interpreter import image
from nsenter.bootstrap import BootstrapData
from nsenter.errors import BootstrapError
from nsenter.idmap import map_auto, parse
from nsenter.launch import Program, PythonInit, launch
from nsenter.namespaces import is_namespace_supported, namespace_types, supported_namespaces
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter._host.probe import Outcome

__all__ = ["BROKEN", "LIMITED", "OK", "Finding", "diagnose"]

OK = "ok"
LIMITED = "limited"  # something does not work that not every user needs
BROKEN = "broken"

_OLDEST = (5, 11)  # close_range(2) with CLOSE_RANGE_CLOEXEC
_FEW_PROCESSES = 32
_FEW_LEVELS = 2
_PROBE_SECONDS = 30.0
_PROBE = [sys.executable, "-m", "nsenter._host.probe"]
_NO_RANGES = "`--map-auto` has nothing to map: only one's own id can be"
_TOOLS = ("newuidmap", "newgidmap")
_NO_IMAGE = "no memory image: "  # the beginning of a debug message of pyrunc


class Finding(Value):
    """The result of one check.

    Args:
        name: what was checked.
        state: "ok", "limited" or "broken".
        seen: what the check saw.
        means: what this means; "" if the state is "ok".
        do: what to do about it, with the exact command if there is one; "" if the state is "ok".
    """

    name: str
    state: str
    seen: str
    means: str = ""
    do: str = ""


def diagnose() -> tuple[Finding, ...]:
    """Check everything that namespaces depend on, and try them, as this user.

    Nothing is changed. The trials run in other processes, which have ended when this returns.

    Returns:
        The findings, one or more for each check.
    """
    probed = _probe()
    return tuple(finding for look in _LOOKS for finding in look(probed))


def _by_fact(name: str, fact: str, otherwise: str, state: str) -> Finding:
    """Return a finding in `state` if this fact is seen, otherwise an "ok" finding."""
    known = FACTS[fact]
    seen = known.is_seen()
    if not seen:
        return Finding(name, OK, otherwise)
    return Finding(name, state, seen, known.means, known.do)


def _of_fact(name: str, fact: str, seen: str, state: str = LIMITED) -> Finding:
    """Return a finding about a fact that another check has already seen."""
    return Finding(name, state, seen, FACTS[fact].means, FACTS[fact].do)


# ---- the kernel and its settings


def _kernel(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    release = os.uname().release
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdecimal())
    seen = f"Linux {release}"
    if version < _OLDEST:
        yield _of_fact("kernel", "old kernel", seen, BROKEN)
    else:
        yield Finding("kernel", OK, seen)
    lacking = [kind.ns_name() for kind in namespace_types() if not is_namespace_supported(kind)]
    if lacking:
        yield _of_fact("kinds", "kinds", f"not there: {', '.join(lacking)}")
    else:
        yield Finding("kinds", OK, f"all {len(namespace_types())} kinds of namespace")


def _shown(sysctl: str) -> str:
    value = read_line(f"/proc/sys/{sysctl.replace('.', '/')}")
    return f"sysctl {sysctl} is {value}" if value else f"there is no sysctl {sysctl}"


def _settings(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    for name, fact, sysctl, state in (
        ("user namespaces", "userns clone", "kernel.unprivileged_userns_clone", BROKEN),
        ("AppArmor", "apparmor userns", "kernel.apparmor_restrict_unprivileged_userns", LIMITED),
        ("executable memfd", "memfd exec", "vm.memfd_noexec", BROKEN),
    ):
        found = _by_fact(name, fact, _shown(sysctl), state)
        if fact == "apparmor userns" and found.state != OK:
            found = found.replace(do=f"{found.do}; {HOW_TO_LOAD}:\n\n{profile()}")
        yield found
    yield Finding(
        "Yama", OK, f"{_shown('kernel.yama.ptrace_scope')}: joining does not depend on it"
    )


def _limits(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    words = [kind.ns_name() for kind in supported_namespaces()]
    reached = [word for word in words if FACTS[f"limit {word}"].is_seen()]
    for word in reached:
        yield _by_fact(f"limit of {word}", f"limit {word}", "", BROKEN)
    if not reached:
        numbers = (read_line(f"/proc/sys/user/max_{word}_namespaces") for word in words)
        least = min((int(number) for number in numbers if number.isdecimal()), default=None)
        yield Finding("limits", OK, f"user.max_KIND_namespaces are at least {least}")


# ---- the user, and what limits this process


def _identity(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    admin = "with" if has_admin() else "without"
    yield Finding("user", OK, f"uid {os.geteuid()}, {admin} CAP_SYS_ADMIN{_own_namespace()}")
    state = OK if has_admin() else LIMITED
    yield _by_fact("no_new_privs", "no new privs", "not set", state)
    if probed.get("chroot", {}).get("value"):
        seen = "the root of this process is not that of its mount namespace"
        yield _of_fact("chroot", "chroot", seen, BROKEN)
    else:
        yield _by_fact("chroot", "chroot", "this process is in none that can be seen", BROKEN)


def _own_namespace() -> str:
    """Describe the user namespace; "" for the initial one, which maps all ids to themselves."""
    try:
        with open("/proc/self/uid_map", "rb") as file:
            rows = parse(file.read())
    except (OSError, ValueError):
        return ""
    whole = len(rows) == 1 and rows[0].size == 2**32 - 1 and rows[0].host_id == 0
    return "" if whole else f", in a user namespace of {sum(row.size for row in rows)} uids"


def _nesting(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    outcome = probed.get("nesting", {})
    levels = outcome.get("value")
    if levels is None:
        # The trial of a new user namespace says why, and what to do.
        yield Finding(
            "nesting",
            LIMITED,
            f"a user namespace: {refused(outcome)}",
            "no user namespace can be made here",
            "see what is broken besides",
        )
    elif levels < _FEW_LEVELS:
        yield _of_fact("nesting", "nesting", f"{levels} more user namespaces fit into each other")
    else:
        yield Finding("nesting", OK, f"{levels} more user namespaces fit into each other")


def _calls(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    """Detect the seccomp filter of a surrounding container by the calls that it refuses."""
    names = (*CALLS, "memfd_create")
    said = {name: refused(probed[name]) for name in names if name in probed}
    bad = [f"{name} is {why}" for name, why in said.items() if why]
    seen = FACTS["seccomp"].is_seen()
    if bad or not said:
        yield _of_fact("system calls", "seccomp", "; ".join(bad) or "the probe was killed")
    else:
        yield Finding("system calls", OK, f"{', '.join(said)}{f' ({seen})' if seen else ''}")


def _processes(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limits = {"RLIMIT_NPROC": None if soft == resource.RLIM_INFINITY else soft}
    folder = _own_cgroups().get("pids")
    if folder is not None:
        most, now = read_line(f"{folder}/pids.max"), read_line(f"{folder}/pids.current")
        limits["pids.max"] = int(most) - int(now or 0) if most.isdecimal() else None
    seen = ", ".join(f"{name}: {'none' if n is None else n}" for name, n in limits.items())
    if any(left is not None and left < _FEW_PROCESSES for left in limits.values()):
        yield _of_fact("processes", "processes", seen)
    else:
        yield Finding("processes", OK, seen)


# ---- ids


def _ids(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    try:
        maps = map_auto()
    except LookupError as error:
        problem, _, command = str(error).partition("; add it with: ")
        yield Finding("subordinate ids", LIMITED, problem, _NO_RANGES, command)
        return
    except (OSError, ValueError) as error:
        yield Finding(
            "subordinate ids",
            LIMITED,
            str(error),
            FACTS["subordinate ids"].means,
            "correct /etc/subuid and /etc/subgid, see subuid(5)",
        )
        return
    uids, gids = (sum(row.size for row in rows) - 1 for rows in (maps.uid, maps.gid))
    yield Finding("subordinate ids", OK, f"{uids} uids, {gids} gids")


def _tools(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    problems = [problem for problem in map(_tool_problem, _TOOLS) if problem]
    if not problems:
        yield Finding("mapping tools", OK, " and ".join(_TOOLS))
    elif os.geteuid() == 0:
        yield Finding("mapping tools", OK, f"{'; '.join(problems)}; root does without")
    else:
        yield _of_fact("mapping tools", "mapping tools", "; ".join(problems))


def _tool_problem(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        return f"{name} is not on PATH"
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        return f"{path} is on a file system that is mounted nosuid"
    found = os.stat(path)
    if found.st_mode & stat.S_ISUID and found.st_uid == 0:
        return ""
    try:
        os.getxattr(path, "security.capability")
    except OSError:
        return f"{path} is neither setuid root nor has it file capabilities"
    return ""


# ---- cgroups


def _own_cgroups() -> dict[str, str]:
    """Return the directory of this process's cgroup for each controller.

    The cgroup of version 2 has the key "", and the keys of the controllers that it has.
    """
    mounts = _cgroup_mounts()
    found: dict[str, str] = {}
    for name, path in procfs.cgroups(procfs.read("/proc/self/cgroup")):
        if name in mounts:
            found[name] = f"{mounts[name]}{path}".rstrip("/")
    if "" in found:
        for name in read_line(f"{found['']}/cgroup.controllers").split():
            found.setdefault(name, found[""])
    return found


def _cgroup_mounts() -> dict[str, str]:
    """Return the mount point for each controller; version 2 has the key ""."""
    found: dict[str, str] = {}
    for mount in procfs.mounts():
        if mount.fstype == "cgroup2":
            found.setdefault("", mount.point)
        elif mount.fstype == "cgroup":
            for name in mount.super_options:
                found.setdefault(name, mount.point)
    return found


def _cgroups(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    own = _own_cgroups()
    layout = _layout(own)
    folder = own.get("")
    if folder is None:
        yield _of_fact("cgroup", "cgroup", f"{layout}: no cgroup v2 to start a process in")
        return
    controllers = read_line(f"{folder}/cgroup.controllers") or "none"
    seen = f"{layout}, {folder}, controllers: {controllers}"
    # A process that starts in a cgroup below this one needs both: the right to create that cgroup
    # and the right to move out of this one.
    if all(os.access(path, os.W_OK) for path in (folder, f"{folder}/cgroup.procs")):
        yield Finding("cgroup", OK, f"{seen}; writable")
    else:
        yield _of_fact("cgroup", "cgroup", f"{seen}; not writable")


def _layout(own: Mapping[str, str]) -> str:
    old = any(
        name and not name.startswith("name=") and own.get("") != folder
        for name, folder in own.items()
    )
    if "" not in own:
        return "v1" if old else "not mounted"
    return "hybrid of v1 and v2" if old else "v2"


# ---- what some options require


def _features(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    for name, fact, works in (
        ("Landlock", "landlock", "version {} of its interface"),
        ("overlay in a user namespace", "overlay", "mounted"),
    ):
        outcome = probed.get(fact, {})
        if "value" in outcome:
            yield Finding(name, OK, works.format(outcome["value"]))
        else:
            yield _of_fact(name, fact, refused(outcome) or "the probe was killed")


# ---- trials


def _tries(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    kinds = [kind.ns_name() for kind in supported_namespaces()]
    true = Program([shutil.which("true") or "/bin/true"])
    killers = [name for name, outcome in probed.items() if "signal" in outcome]
    if killers:
        yield _of_fact(
            "tries", "seccomp", f"not made: {killers[0]} would kill this process", BROKEN
        )
        return
    base = () if has_admin() else ("user",)
    for kind in kinds:
        new = tuple(dict.fromkeys((*base, kind)))
        yield _try(f"new {kind}", Options(new=new), true)
    yield _try("all together", Options(new=tuple(kinds), proc=False), true)
    yield _try("a new /proc", Options(new=("user", "pid", "mnt")), true, LIMITED)
    with suppress(LookupError, OSError, ValueError):  # `_ids` has a finding for these errors
        yield _try("subordinate ids", Options(new=("user",), maps=map_auto()), true, LIMITED)
    init = PythonInit("nsenter._inside.pid1:main", true.argv)
    yield _try("Python as init", Options(new=tuple(kinds), proc=False), init)


def _image(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    """Start an interpreter from the memory image if there is one. No image is made."""
    name = "memory image"
    path, reason = image.find(image.PAYLOAD, os.environb)
    if path:
        image.noted = ""
        with (
            suppress(OSError),
            launch(BootstrapData(), PythonInit("posix:close", image=path)) as child,
        ):
            child.wait(_PROBE_SECONDS)
        reason = image.noted
    if path and not reason:
        yield Finding(name, OK, f"Python in namespaces is started from {path}")
        return
    why = image.failure(image.PAYLOAD, os.environb) or image.reason_against_making()
    seen = f"{reason} ({why})" if why and not path else reason
    yield Finding(
        name,
        LIMITED,
        seen,
        "nsenter.call and PythonInit boot an interpreter each time, which takes longer",
        "python -m nsenter image",
    )


def _runtime_image(probed: Mapping[str, Outcome]) -> Iterator[Finding]:
    """Ask pyrunc, if it is installed, if it starts from an image. No image is made."""
    beside = os.path.join(os.path.dirname(sys.executable), "pyrunc")
    program = beside if os.access(beside, os.X_OK) else shutil.which("pyrunc")
    if program is None:
        return
    name = "memory image of pyrunc"
    reason = _runtime_lacks_image(program)
    if not reason:
        yield Finding(name, OK, f"{program} is started from one")
        return
    means = "each pyrunc command boots an interpreter, which takes about twice as long"
    yield Finding(name, LIMITED, reason, means, f"{program} image")


def _runtime_lacks_image(program: str) -> str:
    """Return why this pyrunc does not start from an image, by its debug messages; "" if it does."""
    words = [program, "--log-format", "json", "--debug", "features"]
    environment = {image.VARIABLE: image.USE, **os.environ}
    try:
        done = _ask(words, environment)
        said = [json_text.loads(line)["msg"] for line in done.stderr.decode().splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        return f"it cannot be asked: {error}"
    reasons = [line.partition(_NO_IMAGE)[2] for line in said if _NO_IMAGE in line]
    return reasons[0] if reasons else ""


def _try(name: str, options: Options, target: Program | PythonInit, state: str = BROKEN) -> Finding:
    start = time.monotonic()
    try:
        with options.launch(target) as child:
            code = child.wait(_PROBE_SECONDS)
    except (OSError, ValueError, ImportError) as error:
        hint = error.hint if isinstance(error, BootstrapError) else ""
        said = str(error).removesuffix(f" ({hint})")
        hint = hint.removesuffix(f"; {ASK_THE_DOCTOR}")
        return Finding(f"try: {name}", state, said, "a process cannot be started so", hint)
    took = (time.monotonic() - start) * 1000
    if code:
        return Finding(
            f"try: {name}", state, f"the program ended with {code}", "it starts, and then fails", ""
        )
    return Finding(f"try: {name}", OK, f"worked, {took:.1f} ms")


def _ask(
    words: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that looks at something, and return what it prints.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be run, fails, or takes too long.
    """
    return subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=_PROBE_SECONDS, check=True,
    )  # fmt: skip


def _probe() -> dict[str, Outcome]:
    """Return what nsenter._host.probe found out; an empty mapping if the probe was killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    try:
        found: dict[str, Outcome] = json_text.loads(_ask(_PROBE, environment).stdout.decode())
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return found


_LOOKS: tuple[Callable[[Mapping[str, Outcome]], Iterator[Finding]], ...] = (
    *(_kernel, _settings, _limits, _identity, _nesting, _calls, _processes),
    *(_ids, _tools, _cgroups, _features, _image, _runtime_image, _tries),
)
