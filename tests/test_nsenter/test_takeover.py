"""The interpreter takes over in any root, with every installed Python, and runs none of its files.

Each Python does its own launches (see pythons.py), as root and as an unprivileged user. A table of
cases is launched at once, and the tests read the results.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pythons
import roots
import takeover_targets
from needs import needs
from nsenter import idmap
from nsenter.bootstrap import BootstrapData, bootstrap_data
from nsenter.errors import BootstrapError
from nsenter.launch import PythonInit, launch
from nsenter.namespaces import Namespace, Namespaces, NamespaceType
from pythons import CONTAINER_ROOT, Case, Facts, Python, Stage
from rootless import UID

AS_ROOT = os.geteuid() == 0
PYTHONS = pythons.installed()
WHO = ("root", "user") if AS_ROOT else ("user",)
HIDDEN = re.compile(r"/[0-9a-f]{32}/")  # where nobody can have put anything

# The quick run has the running Python and the newest where the cases differ little by version.
some_pythons = pytest.mark.parametrize(
    "python",
    [
        pytest.param(python, marks=[pytest.mark.sweep] if 0 < n < len(PYTHONS) - 1 else [])
        for n, python in enumerate(PYTHONS)
    ],
    ids=str,
)
# The quick run of root has a user for the running Python alone.
each_python_and_caller = pytest.mark.parametrize(
    ("python", "who"),
    [
        pytest.param(python, who, marks=[pytest.mark.sweep] if python != PYTHONS[0] else [])
        if (AS_ROOT and who == "user")
        else (python, who)
        for python in PYTHONS
        for who in WHO
    ],
    ids=str,
)
as_root = pytest.mark.skipif(not AS_ROOT, reason="what it shows, only root can see or do")


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with pythons.staged() as made:
        yield made


# --- the table ----------------------------------------------------------------------------------


def extensions_of(python: Python) -> tuple[str, ...]:
    """Of cffi and of lib-dynload; what is there differs with how it was built."""
    dynload = Path(python.stdlib, "lib-dynload")
    wanted = ("_json", "_socket", "_struct", "_queue")
    return ("_cffi_backend", *(n for n in wanted if list(dynload.glob(f"{n}.*.so"))))


def looking(python: Python, root: str, **more: Any) -> Case:
    extensions = extensions_of(python)
    env = {"GIVEN": root}
    return Case(name=root, root=root, extensions=extensions, args=(extensions,), env=env, **more)


@functools.cache
def looked(python: Python, stage: Stage, who: str) -> dict[str, Facts]:
    """What `look` finds in each kind of root."""
    cases = [looking(python, root) for root in roots.KINDS]
    return pythons.drive(python, stage, cases, user=who == "user")


def in_poison(target: str, **more: Any) -> Case:
    return Case(
        name=target,
        root=roots.POISON,
        target=f"takeover_targets:{target}",
        look=False,
        **more,
    )


def checked(facts: Facts) -> Facts:
    assert "error" not in facts, facts["error"]
    return facts


# --- in any root --------------------------------------------------------------------------------


def test_the_running_python_and_debians_are_tried() -> None:
    binaries = {python.binary for python in PYTHONS}
    assert PYTHONS[0].version == tuple(sys.version_info[:3])
    debian = Path("/usr/bin/python3").resolve()
    assert not re.fullmatch(r"python3\.1[1-9]", debian.name) or str(debian) in binaries


@each_python_and_caller
@pytest.mark.parametrize("root", roots.KINDS)
def test_the_init_runs_in_a_root(python: Python, stage: Stage, who: str, root: str) -> None:
    facts = checked(looked(python, stage, who)[root])
    seen = facts["seen"]
    assert facts["status"] == takeover_targets.STATUS
    assert facts["stderr"] == ""
    assert (seen["pid"], seen["uids"], seen["cwd"]) == (1, [0, 0, 0], "/")
    assert tuple(seen["version"]) == python.version
    if root == roots.EMPTY:
        assert seen["root"] == []
    elif root == roots.BUSYBOX:
        assert seen["root"] == ["bin"]
    else:
        assert "poisoned" in seen["root"]


@each_python_and_caller
@pytest.mark.parametrize("root", roots.KINDS)
def test_extensions_work_in_a_root(python: Python, stage: Stage, who: str, root: str) -> None:
    imported = checked(looked(python, stage, who)[root])["seen"]["extensions"]
    assert imported == {name: name for name in extensions_of(python)}


@each_python_and_caller
def test_nothing_of_a_poisoned_root_runs(python: Python, stage: Stage, who: str) -> None:
    assert checked(looked(python, stage, who)[roots.POISON])["marks"] == []


@as_root
@some_pythons
def test_the_poison_works(python: Python, stage: Stage) -> None:
    """A plain interpreter that is started there runs it."""
    chroot = needs("chroot", package="coreutils")
    code = "".join(f"try: import {n}\nexcept ImportError: pass\n" for n in ("_json", "zipped"))
    marks = {}
    with roots.held(roots.POISON, stage.lures(python)) as root:
        for binary in (python.binary, "/plain/bin/python"):
            subprocess.run(
                [chroot, root.path, binary, "-c", code],
                env={"PYTHONHOME": python.prefix, "HOME": "/"},
                check=True,
            )
            marks[binary] = root.marks()
    always = {"/preloaded.so", f"{python.stdlib}/encodings/__init__.py", "x.pth"}
    assert always | {"._pth"} <= marks[python.binary]
    assert always | {"sitecustomize.py", "usercustomize.py", "python.zip"} <= marks[binary]
    assert any("lib-dynload/_json" in mark for mark in marks[binary])


@each_python_and_caller
def test_an_init_that_cannot_read_the_interpreters_folder_runs(
    python: Python, stage: Stage, who: str
) -> None:
    """It and all that the launcher has of ours is in a folder of the caller's alone, and root
    inside is another user outside."""
    owner = UID if AS_ROOT and who == "user" else os.geteuid()
    with pythons.locked_away(python, stage, owner=owner) as (copy, locked):
        extensions = extensions_of(python)
        args = (extensions, str(locked.folder))
        case = Case(name="it", mapped=True, extensions=extensions, args=args)
        facts = checked(pythons.drive(copy, locked, [case], user=who == "user")["it"])
    assert facts["seen"]["closed"].startswith("PermissionError")
    assert facts["seen"]["extensions"] == {name: name for name in extensions}
    assert facts["seen"]["uids"] == [0, 0, 0]
    assert facts["outside"]["uids"] == [str(CONTAINER_ROOT)] * 3
    assert facts["status"] == takeover_targets.STATUS


@as_root
@some_pythons
def test_an_empty_root_can_be_joined_by_a_new_user_namespace(python: Python, stage: Stage) -> None:
    new = ("pid", "net", "ipc", "uts", "cgroup")
    case = Case(name="it", root=roots.EMPTY, mapped=True, new=new)
    facts = checked(pythons.drive(python, stage, [case])["it"])
    assert (facts["seen"]["pid"], facts["seen"]["uids"]) == (1, [0, 0, 0])
    assert facts["outside"]["uids"] == [str(CONTAINER_ROOT)] * 3
    assert facts["status"] == takeover_targets.STATUS


# --- nothing of the boot is left ----------------------------------------------------------------


@each_python_and_caller
@pytest.mark.parametrize("root", roots.KINDS)
def test_the_init_has_the_environment_that_it_was_given_alone(
    python: Python, stage: Stage, who: str, root: str
) -> None:
    seen = checked(looked(python, stage, who)[root])["seen"]
    assert seen["environment"] == {"GIVEN": root}
    if root == roots.BUSYBOX:  # what a program sees that C code starts
        variables = dict(line.split("=", 1) for line in seen["c environment"])
        by_the_shell = {"SHLVL", "PATH", "PWD", "_"}
        assert {k: v for k, v in variables.items() if k not in by_the_shell} == {"GIVEN": root}


@as_root
@some_pythons
@pytest.mark.parametrize("root", roots.KINDS)
def test_nothing_of_the_boot_is_to_be_seen_from_outside(
    python: Python, stage: Stage, root: str
) -> None:
    outside = checked(looked(python, stage, "root")[root])["outside"]
    assert outside["environment"].strip("\0") == ""
    assert outside["words"].strip("\0") == "nsenter-init"
    numbers = outside["descriptors"]
    channel = [link for number, link in numbers.items() if number not in ("0", "1", "2")]
    assert len(channel) == 1
    assert channel[0].startswith("socket:")


@each_python_and_caller
def test_the_words_are_the_targets(python: Python, stage: Stage, who: str) -> None:
    seen = checked(looked(python, stage, who)[roots.EMPTY])["seen"]
    assert seen["argv"][0] == "takeover_targets:look"
    assert seen["argv"] == seen["orig_argv"]
    assert seen["executable"] == ""


@each_python_and_caller
def test_modules_come_from_memory_alone(python: Python, stage: Stage, who: str) -> None:
    seen = checked(looked(python, stage, who)[roots.POISON])["seen"]
    assert (seen["path"], seen["hooks"]) == ([], 0)
    assert "PathFinder" not in seen["finders"]


@some_pythons
def test_a_module_that_did_not_travel_is_missed_by_name(python: Python, stage: Stage) -> None:
    absent = checked(looked(python, stage, WHO[0])[roots.EMPTY])["seen"]["absent"]
    assert absent.startswith("ModuleNotFoundError")
    assert takeover_targets.ABSENT in absent
    assert "modules=" in absent


# --- what libc and the interpreter look for later -----------------------------------------------


@some_pythons
@pytest.mark.parametrize("with_hosts", [False, True], ids=["users", "users and hosts"])
def test_no_name_service_of_the_root_is_loaded(
    python: Python, stage: Stage, with_hosts: bool
) -> None:
    """nsswitch.conf of a root names libraries that getpwnam(3) would run in the init."""
    builtin = "_socket" not in extensions_of(python)
    names = ("_socket",) if with_hosts else ()
    case = in_poison("look_up", args=(names,), extensions=() if builtin else names)
    facts = checked(pythons.drive(python, stage, [case])["look_up"])
    assert facts["marks"] == []
    assert facts["status"] == takeover_targets.STATUS


@some_pythons
def test_a_thread_that_is_cut_off_loads_no_unwinder_of_the_root(
    python: Python, stage: Stage
) -> None:
    """pthread_exit(3) loads libgcc_s.so.1 by its name when it is first called."""
    facts = checked(pythons.drive(python, stage, [in_poison("leave_a_thread")])["leave_a_thread"])
    assert facts["marks"] == []
    assert facts["status"] == takeover_targets.STATUS


@some_pythons
@pytest.mark.parametrize(("target", "status"), [("fail", 1), ("fail_unseen", 7)])
def test_a_traceback_opens_no_file_of_the_root(
    python: Python, stage: Stage, target: str, status: int
) -> None:
    """Where the sources were, the root has pipes: who opens one for its lines never ends."""
    case = Case(name="it", root=roots.TRAP, target=f"takeover_targets:{target}", look=False)
    facts = checked(pythons.drive(python, stage, [case])["it"])
    assert facts["status"] == status
    assert "RuntimeError: the target's own" in facts["stderr"]


# --- the trace ----------------------------------------------------------------------------------

_CALL = re.compile(r"^(?P<call>\w+)\((?P<args>.*)\) += (?P<result>-?\d+|\?)(?P<rest>.*)$")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_READY = r"{\"type\":\"ready\"}"


def traced(python: Python, stage: Stage, case: Case, folder: Path) -> tuple[Facts, list[list[str]]]:
    """What comes of a case, and the system calls of each process, which is a list of lines."""
    prefix = folder / "trace"
    options = ["-ff", "--seccomp-bpf", "-s", "256", "-o", str(prefix)]
    calls = "trace=%file,%process,setns,unshare,write,open_tree,fsopen,mount_setattr,memfd_create"
    strace = needs("strace", package="strace")
    words = [strace, *options, "-e", calls, *pythons.command(python, stage, [case])]
    [facts] = pythons.told(words, stage.environment(python)).values()
    files = {int(f.suffix[1:]): f.read_text().splitlines() for f in folder.glob("trace.*")}
    checked(facts)
    stage_1 = [lines for lines in files.values() if any(s.startswith("setns(") for s in lines)]
    assert len(stage_1) == 1
    last_join = max(i for i, line in enumerate(stage_1[0]) if line.startswith("setns("))
    return facts, [stage_1[0][last_join + 1 :], files[facts["pid"]]]


def paths_looked_at(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """The paths in system calls, and whether there was something."""
    for line in lines:
        call = _CALL.match(line)
        if call is None or call["call"] in ("write", "fsopen", "fsconfig"):
            continue
        for path in _PATH.findall(call["args"]):
            if path not in ("", "."):  # what a descriptor is of, and where chroot is to stay
                yield path, not call["result"].startswith("-")


@as_root
@some_pythons
@pytest.mark.parametrize("root", [roots.EMPTY, roots.POISON])
def test_no_path_of_the_new_root_is_opened_before_the_inits_first_line(
    python: Python, stage: Stage, root: str, tmp_path: Path
) -> None:
    facts, (stage_1, init) = traced(python, stage, looking(python, root), tmp_path)
    ready = next(i for i, line in enumerate(init) if _READY in line)
    before = [*paths_looked_at(stage_1), *paths_looked_at(init[:ready])]
    assert len(before) >= 3  # the trace has seen something: the interpreter asks for its files
    assert [path for path, found in before if found] == []
    assert [path for path, _ in before if not HIDDEN.match(path)] == []
    assert not any(line.startswith("execve") for line in stage_1 + init)
    # Even these are asked for in an empty place.
    lines = stage_1 + init
    hidden, back = (i for i, line in enumerate(lines) if line.startswith("chroot("))
    until = len(stage_1) + ready
    asked = [i for i, line in enumerate(lines[:until]) if [*paths_looked_at([line])]]
    assert all(hidden < i < back for i in asked)
    assert facts["status"] == takeover_targets.STATUS


@as_root
@some_pythons
def test_importing_an_extension_opens_no_file(python: Python, stage: Stage, tmp_path: Path) -> None:
    case = in_poison("import_extension", args=("_cffi_backend",), extensions=("_cffi_backend",))
    facts, (_, init) = traced(python, stage, case, tmp_path)
    ready = next(i for i, line in enumerate(init) if _READY in line)
    said = next(i for i, line in enumerate(init) if "'_cffi_backend'" in line)
    assert list(paths_looked_at(init[ready:said])) == []
    assert facts["seen"] == "_cffi_backend"


# --- what can travel ----------------------------------------------------------------------------


def in_a_user_namespace() -> BootstrapData:
    """What anybody may make."""
    ids = idmap.map_root()
    return bootstrap_data(
        Namespaces([Namespace(NamespaceType.NEWUSER)]), uid_mappings=ids.uid, gid_mappings=ids.gid
    )


def said_by(init: PythonInit) -> str:
    """Run it to its end; what it sends."""
    with launch(in_a_user_namespace(), init) as child:
        assert child.channel is not None
        with child.channel.makefile() as said:
            text = said.read()
        assert child.wait(60) == 0
        return text


def test_an_extension_that_starts_threads_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
    #include <pthread.h>
    #include <unistd.h>
    static void *wait(void *unused) { pause(); return unused; }
    __attribute__((constructor)) static void start(void)
    {
        pthread_t thread;
        pthread_create(&thread, 0, wait, 0);
    }
    """
    pythons.build_library(tmp_path / "with_threads.abi3.so", source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BootstrapError, match=r"threads.*/with_threads\.abi3\.so"):
        launch(
            in_a_user_namespace(), PythonInit("takeover_targets:echo", extensions=["with_threads"])
        )


def test_an_extension_that_cannot_be_loaded_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "extern int nowhere(void); int call(void) { return nowhere(); }"
    pythons.build_library(tmp_path / "broken.abi3.so", source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BootstrapError, match=r"broken\.abi3\.so.*nowhere"):
        launch(in_a_user_namespace(), PythonInit("takeover_targets:echo", extensions=["broken"]))


@some_pythons
def test_an_extension_that_is_built_in_can_be_asked_for(python: Python, stage: Stage) -> None:
    """Which those are differs from one Python to the next: `_socket` is on Debian's."""
    case = Case(name="it", root=roots.EMPTY, extensions=("_imp",), args=(("_imp",),))
    facts = checked(pythons.drive(python, stage, [case])["it"])
    assert facts["seen"]["extensions"] == {"_imp": "_imp"}


def test_a_missing_module_is_refused_by_name() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no_such_module"):
        launch(in_a_user_namespace(), PythonInit("no_such_module:main"))
    with pytest.raises(ModuleNotFoundError, match=r"no_such_module"):
        launch(
            in_a_user_namespace(), PythonInit("takeover_targets:echo", modules=["no_such_module"])
        )


def test_a_missing_function_is_refused_by_name() -> None:
    with pytest.raises(BootstrapError, match=r"takeover_targets:no_such_function"):
        launch(in_a_user_namespace(), PythonInit("takeover_targets:no_such_function"))


def test_a_missing_extension_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no_such_extension"):
        launch(
            in_a_user_namespace(),
            PythonInit("takeover_targets:echo", extensions=["no_such_extension"]),
        )


def test_a_target_needs_no_module_of_the_launchers_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even __future__, which the launcher's own code imports."""
    (tmp_path / "plain_target.py").write_text(
        "import posix\ndef main(channel):\n    posix.write(channel, b'here')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert said_by(PythonInit("plain_target:main")) == "here"


def test_a_module_runs_as_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main_target.py").write_text(
        "import posix, sys\nposix.write(nsenter_channel, f'{__name__} {sys.argv}'.encode())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    said = said_by(PythonInit("main_target", args=["one", 2]))
    assert said == "__main__ ['main_target', 'one', '2']"


@pytest.mark.parametrize("name", ["with a blank", "ümlaut"])
def test_the_shim_is_loaded_from_any_folder(stage: Stage, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(stage.folder, folder)
    moved = Stage(folder)
    facts = pythons.drive(PYTHONS[0], moved, [Case(name="it")])["it"]
    assert checked(facts)["status"] == takeover_targets.STATUS


def test_a_libpython_is_found_as_the_caller_found_it(stage: Stage) -> None:
    """By LD_LIBRARY_PATH, where that is how a Python is installed."""
    for python in PYTHONS:
        if python.shared:
            boots_with_its_libpython_elsewhere(python, stage)


def boots_with_its_libpython_elsewhere(python: Python, stage: Stage) -> None:
    listed = subprocess.run(["ldd", python.binary], capture_output=True, text=True, check=True)
    found = re.search(r"(/\S*)/libpython\S* \(0x", listed.stdout)
    assert found is not None
    library = found[1].encode()
    with pythons.locked_away(python, stage, owner=os.geteuid()) as (copy, locked):
        binary = Path(copy.binary)
        content = binary.read_bytes()
        assert library + b"\0" in content  # its RUNPATH, which is turned into a folder of nowhere
        binary.write_bytes(content.replace(library + b"\0", b"/".ljust(len(library), b"-") + b"\0"))
        copy = dataclasses.replace(copy, library_path=library.decode())
        facts = pythons.drive(copy, locked, [Case(name="it")], user=not AS_ROOT)["it"]
    assert tuple(checked(facts)["seen"]["version"]) == python.version
    assert facts["status"] == takeover_targets.STATUS
