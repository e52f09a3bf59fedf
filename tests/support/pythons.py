"""Every CPython that is installed here, each with the package and what it needs to drive it.

The built package serves all of them (its binding is abi3); cffi is one for each version. They
are staged together in a folder that any user can read, and a Python is driven by running this
file under it as a script: it launches cases, and prints what came of each in JSON.

As a script: pythons.py CASES. Only the standard library is imported then.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import roots

MINIMUM = (3, 11)
SECONDS = 20.0
CONTAINER_ROOT = 300_000  # the host's id of a root inside; in rootless.SUBIDS too

_TESTS = Path(__file__).resolve().parents[1]
_HELPERS = (
    *("support/pythons.py", "support/roots.py", "support/rootless.py"),
    "payloads/takeover_targets.py",
)
_SCRATCH = "nsenter-pythons-"

# What came of a case, as json has it.
Facts = dict[str, Any]


# --- which there are ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Python:
    """An interpreter.

    Args:
        binary: its real path, not a link and not a version manager's wrapper.
        version: such as (3, 12, 1).
        prefix: its sys.base_prefix.
        stdlib: its folder of modules.
        shared: whether it is linked to a libpython.
        home, library_path: PYTHONHOME and LD_LIBRARY_PATH to be started with; only for one that
            was copied away from its own place.
    """

    binary: str
    version: tuple[int, int, int]
    prefix: str
    stdlib: str
    shared: bool
    home: str | None = None
    library_path: str | None = None

    def __str__(self) -> str:
        version = ".".join(map(str, self.version))
        return f"{version}-{'shared' if self.shared else 'static'}"

    @property
    def short_version(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"


_ASK = """
import json, os, sys, sysconfig
maps = open("/proc/self/maps").read()
print(json.dumps([
    os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    sys.version_info[:3], sys.base_prefix, os.path.dirname(os.__file__), "/libpython3" in maps,
    sys.implementation.name,
]))
"""


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    names = [f"python3.{minor}" for minor in range(MINIMUM[1], MINIMUM[1] + 10)]
    folders = [Path(folder) for folder in os.get_exec_path()]
    folders += [Path("/usr/bin"), Path("/usr/local/bin")]
    folders += sorted(Path("~/.pyenv/versions").expanduser().glob("*/bin"))
    for folder in folders:
        if folder.name != "shims":  # wrappers, which start one of those that are found anyhow
            yield from (folder / name for name in ("python3", *names))


def _ask(candidate: Path) -> Python | None:
    done = subprocess.run(
        [candidate, "-I", "-S", "-c", _ASK], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return None  # a Python too old for these words
    binary, version, prefix, stdlib, shared, name = json.loads(done.stdout)
    found = Python(binary, tuple(version), prefix, stdlib, shared)
    return found if name == "cpython" and found.version >= MINIMUM else None


@functools.cache
def installed() -> tuple[Python, ...]:
    """The running one first."""
    found: dict[str, Python] = {}
    seen: set[Path] = set()
    for candidate in _candidates():
        real = candidate.resolve()
        if real in seen or not os.access(candidate, os.X_OK):
            continue
        seen.add(real)
        if python := _ask(candidate):
            found.setdefault(python.binary, python)
    return tuple(found.values())


# --- what each is given -------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """The folder with the package, the helpers and a cffi for each version."""

    folder: Path

    def path_of(self, python: Python) -> str:
        """PYTHONPATH for it."""
        return f"{self.folder}:{self.folder}/cffi-{python.short_version}"

    def environment(self, python: Python) -> dict[str, str]:
        home = {"PYTHONHOME": python.home} if python.home else {}
        libraries = {"LD_LIBRARY_PATH": python.library_path} if python.library_path else {}
        return {
            **home,
            **libraries,
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": self.path_of(python),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NSENTER_IMAGE": "off",  # an image on this machine is of no staged package
        }

    def lures(self, python: Python) -> roots.Lures:
        package = self.folder / "nsenter"
        files = [*package.rglob("*.py"), *package.glob("*.so"), package / "nsinit"]
        files += [self.folder / Path(name).name for name in _HELPERS]
        files += (self.folder / f"cffi-{python.short_version}").glob("*.so")
        return roots.Lures(
            binary=python.binary,
            stdlib=python.stdlib,
            prefix=python.prefix,
            library=str(self.folder / "poison.so"),
            files=tuple(map(str, files)),
        )


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """Made once for all; anybody can read it."""
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as name:
        folder = Path(name)
        folder.chmod(0o755)
        _stage_package(folder)
        build_library(folder / "poison.so", roots.LIBRARY_SOURCE)
        for version in {python.short_version for python in installed()}:
            _stage_cffi(folder / f"cffi-{version}", version)
        yield Stage(folder)


# Other workers write bytecode meanwhile.
_IGNORED = shutil.ignore_patterns("__pycache__", "*.c")


def _stage_package(folder: Path) -> None:
    # Not `nsenter` itself: under pytest that can be the folder of its tests.
    import cloudpickle

    import nsenter.launch

    for name, module in (("nsenter", nsenter.launch), ("cloudpickle", cloudpickle)):
        assert module.__file__ is not None
        shutil.copytree(Path(module.__file__).parent, folder / name, ignore=_IGNORED)
    for name in _HELPERS:
        shutil.copy(_TESTS / name, folder)


def build_library(library: Path, source: str) -> None:
    """Compile C."""
    from needs import needs

    subprocess.run(
        [
            *(needs("gcc", package="gcc"), "-shared", "-fPIC", "-O1", "-w", "-x", "c"),
            *("-o", str(library), "-", "-ldl", "-pthread"),
        ],
        input=source,
        text=True,
        check=True,
    )


def _stage_cffi(folder: Path, version: str) -> None:
    """Ours, where it is for the same version; a wheel of the package index otherwise."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        import _cffi_backend
        import cffi

        shutil.copytree(Path(cffi.__file__).parent, folder / "cffi", ignore=_IGNORED)
        shutil.copy(_cffi_backend.__file__, folder)
        return
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"),
            *("--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", version, "--target", str(folder), "cffi"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        from needs import lacks

        why = done.stderr.strip().rpartition("\n")[2]
        lacks(f"cffi for Python {version} does not come from the package index: {why}")


# --- driving one --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """One launch under the Python that is driven.

    Args:
        name: of the case.
        root: a kind of `roots`, to be joined; None: a mount namespace of its own.
        new: kinds of namespaces to create.
        mapped: whether a new user namespace's root is CONTAINER_ROOT.
        target, args, modules, extensions: of the PythonInit.
        env: of the process.
        look: whether the target is `look`, and /proc shows it meanwhile.
    """

    name: str
    root: str | None = None
    new: tuple[str, ...] = ("pid", "uts", "ipc")
    mapped: bool = False
    target: str = "takeover_targets:look"
    args: Sequence[object] = ()
    modules: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    look: bool = True


def command(python: Python, stage: Stage, cases: Iterable[Case]) -> list[str]:
    """The words that drive it."""
    text = json.dumps([dataclasses.asdict(case) for case in cases])
    lures = json.dumps(dataclasses.asdict(stage.lures(python)))
    return [python.binary, "-s", "-P", str(stage.folder / "pythons.py"), text, lures]


def drive(
    python: Python, stage: Stage, cases: Iterable[Case], *, user: bool = False
) -> dict[str, Facts]:
    """What comes of the cases under this Python, by their names; with `user` unprivileged."""
    words = command(python, stage, cases)
    if user and os.geteuid() == 0:
        words = [*_becoming_user(python, stage), *words]
    return told(words, stage.environment(python))


def told(words: Sequence[str | Path], environment: Mapping[str, str]) -> dict[str, Facts]:
    """What a program says on its standard output, in JSON, of the cases it has gone through."""
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Facts] = json.loads(done.stdout)
    return found


def _becoming_user(python: Python, stage: Stage) -> list[str]:
    """As rootless.as_user, under this Python, so that its folders are the ones laid open."""
    from needs import needs
    from rootless import SUBIDS

    needs("newuidmap", package="uidmap")
    unshare = needs("unshare", package="util-linux")
    return [
        *(str(unshare), "--mount", "--propagation", "private"),
        *(python.binary, "-P", str(stage.folder / "rootless.py"), SUBIDS, "--"),
    ]


@contextlib.contextmanager
def locked_away(python: Python, stage: Stage, *, owner: int) -> Iterator[tuple[Python, Stage]]:
    """A copy of it and of the stage in a folder that nobody but `owner` can search."""
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as name:
        folder = Path(name)
        shutil.copytree(stage.folder, folder, dirs_exist_ok=True)
        folder.chmod(0o700)
        shutil.copy(python.binary, folder / "python")
        os.chown(folder, owner, owner)
        copy = dataclasses.replace(python, binary=str(folder / "python"), home=python.prefix)
        yield copy, Stage(folder)


# --- the script ---------------------------------------------------------------------------------


def run(case: Case, lures: roots.Lures) -> Facts:
    unprivileged = os.geteuid() != 0
    with contextlib.ExitStack() as stack:
        root = None
        if case.root is not None:
            root = stack.enter_context(roots.held(case.root, lures, own_user=unprivileged))
        try:
            found = _launch(case, root, unprivileged)
        except (OSError, ValueError, ImportError) as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        found["marks"] = sorted(root.marks()) if root else []
    return found


def _launch(case: Case, root: roots.Root | None, unprivileged: bool) -> Facts:
    from nsenter.launch import PythonInit, launch

    init = PythonInit(case.target, tuple(case.args), case.modules, case.extensions)
    with (
        tempfile.TemporaryFile() as stderr,
        launch(
            _message(case, root, unprivileged), init, env=case.env, stderr=stderr.fileno()
        ) as child,
    ):
        channel = child.channel
        assert channel is not None
        channel.settimeout(SECONDS)
        with channel.makefile("rb") as said:
            seen = ast.literal_eval(said.readline().decode() or "None")
        outside = _outside(child.pid) if case.look else None
        with contextlib.suppress(BrokenPipeError):
            channel.send(b".")
        status = child.wait(SECONDS)
        stderr.seek(0)
        return {
            "pid": child.pid,
            "seen": _plain(seen),
            "outside": outside,
            "status": status,
            "stderr": stderr.read().decode(errors="replace"),
        }


def _message(case: Case, root: roots.Root | None, unprivileged: bool) -> Any:
    from nsenter import idmap
    from nsenter.bootstrap import bootstrap_data
    from nsenter.namespaces import Namespace, Namespaces, NamespaceType

    new, joined = set(case.new), set[str]()
    maps: dict[str, Any] = {}
    if root is None:
        new |= {"mnt"}
    else:
        joined = {"mnt", "user"} if unprivileged else {"mnt"}
    if case.mapped or (unprivileged and root is None):
        new |= {"user"}
        rows = (idmap.IDMap(0, CONTAINER_ROOT, 1000),)
        ids = idmap.IDMappings(rows, rows) if case.mapped else idmap.map_root()
        maps = {"uid_mappings": ids.uid, "gid_mappings": ids.gid}
    kinds = [Namespace(NamespaceType.parse(kind)) for kind in sorted(new - joined)]
    kinds += [Namespace.from_pid(NamespaceType.parse(kind), root.pid) for kind in joined if root]
    return bootstrap_data(Namespaces(kinds), **maps)


def _outside(pid: int) -> Facts:
    """What /proc shows of it. None: it is not for this caller to know."""
    proc = Path(f"/proc/{pid}")
    return {
        "environment": _permitted(lambda: (proc / "environ").read_bytes().decode("latin-1")),
        "words": _permitted(lambda: (proc / "cmdline").read_bytes().decode("latin-1")),
        "descriptors": _permitted(
            lambda: {fd.name: str(fd.readlink()) for fd in (proc / "fd").iterdir()}
        ),
        "uids": (proc / "status").read_text().partition("\nUid:")[2].split()[:3],
    }


def _permitted(get: Any) -> Any:
    try:
        return get()
    except PermissionError:
        return None


def _plain(value: Any) -> Any:
    """Of what json takes."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def main(cases: str, lures: str) -> None:
    given = roots.Lures(**json.loads(lures))
    made = [Case(**case) for case in json.loads(cases)]
    made = [
        dataclasses.replace(case, modules=tuple(case.modules), extensions=tuple(case.extensions))
        for case in made
    ]
    print(json.dumps({case.name: run(case, given) for case in made}))


if __name__ == "__main__":
    main(*sys.argv[1:])
