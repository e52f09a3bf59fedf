"""Modules are imported from files only if the files are the caller's own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import sysconfig
import textwrap
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

import call_targets
import nsenter
import roots
from nsenter import Bind, Caller, Options, Tmpfs, call, presets
from nsenter._inside.file_imports import CallerFiles
from nsenter._interpreter import installed

AS_ROOT = os.geteuid() == 0
STDLIB = Path(os.__file__).parent
PLACES = {"own root": None, "sandbox": presets.sandbox()}


@pytest.fixture(params=PLACES.values(), ids=PLACES)  # type: ignore[untyped-decorator]
def place(request: pytest.FixtureRequest) -> Options | None:
    options: Options | None = request.param
    return options


# ---- it is as in python3


def suffix() -> object:
    import sysconfig

    return sysconfig.get_config_var("EXT_SUFFIX")


def zone() -> str:
    import zoneinfo

    return str(zoneinfo.ZoneInfo("Europe/Berlin"))


def version() -> str:
    import importlib.metadata

    return importlib.metadata.version("numpy")


def resource() -> int:
    import importlib.resources

    return len((importlib.resources.files("numpy") / "py.typed").read_bytes())


def source() -> str:
    import inspect
    import json

    return inspect.getsource(json.loads).partition("(")[0]


def source_of_the_boots() -> tuple[str, str]:
    """Of modules that are there before files are."""
    import codecs
    import encodings
    import inspect

    return inspect.getsource(encodings)[:20], inspect.getsource(codecs.Codec)[:20]


def unknown() -> object:
    import importlib.util

    return importlib.util.find_spec("no_such_module"), importlib.util.find_spec("email") is not None


def prefixes() -> tuple[str, ...]:
    return sys.prefix, sys.base_prefix, sys.executable, os.__file__, str(exit)[:10]


def submodule_of_the_boot() -> bytes:
    return "bücher".encode("idna")


def threads() -> int:
    import threading

    found: list[int] = []
    all_of_them = [threading.Thread(target=found.append, args=(n,)) for n in range(8)]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()
    return sum(found)


def processes() -> object:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", "import numpy; print(numpy.ones(3).sum())"], capture_output=True
    )
    with os.popen("echo popen") as stream:
        return stream.read(), done.stdout, done.stderr


def pool(method: str) -> object:
    import multiprocessing

    with multiprocessing.get_context(method).Pool(2) as workers:
        return workers.map(abs, [-1, 2])


def product() -> float:
    """By as many threads as OpenBLAS likes."""
    import numpy

    return float((numpy.ones((300, 300)) @ numpy.ones((300, 300))).sum())


SAME = [
    *(suffix, zone, version, resource, source, source_of_the_boots, unknown, prefixes),
    *(submodule_of_the_boot, threads, processes, product),
]


@pytest.mark.parametrize("function", SAME, ids=lambda function: function.__name__)
def test_it_gives_what_it_gives_here(function: object, place: Options | None) -> None:
    assert callable(function)
    assert call(function, options=place) == function()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works(method: str, place: Options | None) -> None:
    assert call(pool, method, options=place) == [1, 2]


def test_the_environments_threads_are_used() -> None:
    """Those of the boot are one, which the function does not see."""
    caller = Caller(env={**os.environ, "OPENBLAS_NUM_THREADS": "3"})

    def number() -> str | None:
        return os.environ.get("OPENBLAS_NUM_THREADS")

    assert caller.call(number) == "3"


# ---- what may hold secrets is not shown

SECRET = """
    import sys
    from nsenter import call, presets
    import helper

    def look(paths):
        import os
        return [os.path.exists(path) for path in paths], helper.VALUE, sys.path

    imports, paths = sys.argv[1], sys.argv[2:]
    print(call(look, paths, options=presets.sandbox(imports=imports))[:2])
"""


def project(folder: Path) -> Path:
    """A script with a secret beside it; its working directory has one, too."""
    folder.mkdir()
    (folder / "script.py").write_text(textwrap.dedent(SECRET))
    (folder / "helper.py").write_text("VALUE = 5")
    (folder / "secret").write_text("secret")
    return folder


@pytest.mark.parametrize(("imports", "seen"), [("installed", False), ("all", True)])
def test_a_secret_beside_the_script_is_not_shown(imports: str, seen: bool, tmp_path: Path) -> None:
    script, cwd = project(tmp_path / "script"), project(tmp_path / "cwd")
    tmp_path.chmod(0o755)
    secrets = [script / "secret", cwd / "secret"]
    words = [sys.executable, script / "script.py", imports, *secrets]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"([{seen}, {seen}], 5)\n", "")


@pytest.mark.skipif(not AS_ROOT, reason="a folder is made in /usr, as root")
def test_nor_where_it_lies_among_the_systems_files() -> None:
    folder = Path("/usr/src/nsenter-test-of-imports")
    try:
        script = project(folder)
        words = [sys.executable, script / "script.py", "installed", folder / "secret"]
        done = subprocess.run(words, cwd="/", capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("([False], 5)\n", "")
    finally:
        subprocess.run(["rm", "-r", folder], check=True)


FINDER = """
    import sys
    from importlib.machinery import ModuleSpec, SourceFileLoader
    from importlib.util import spec_from_file_location
    MAPPING = {{"editable": {folder!r}}}

    class Finder:
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name == "editable":
                return spec_from_file_location(name, MAPPING[name] + "/__init__.py")

    sys.meta_path.append(Finder)
"""
EDITABLE = """
    import sys
    sys.path.append({finders!r})
    import finder
    from nsenter import Caller, call, presets
    import editable

    def value(secret):
        import os, editable.part
        return editable.part.VALUE, os.path.exists(secret)

    secret = editable.__path__[0] + "/secret"
    for imports in ("installed", "all"):
        print(call(value, secret, options=presets.sandbox(imports=imports)))
    print(call(value, secret))
"""


def test_a_secret_in_an_editable_install_is_not_shown(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "finders").mkdir()
    package = tmp_path / "source" / "editable"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("VALUE = 7")
    (package / "secret").write_text("secret")
    finder = textwrap.dedent(FINDER).format(folder=str(package))
    (tmp_path / "finders" / "finder.py").write_text(finder)
    code = textwrap.dedent(EDITABLE).format(finders=str(tmp_path / "finders"))
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(7, False)\n(7, True)\n(7, True)\n", "")


VENV_IN_A_PROJECT = """
    import json, os, sys
    import nsenter
    def look(path):
        return os.path.exists(path), sys.prefix
    print(nsenter.call(look, sys.prefix + "/secret", options=nsenter.presets.sandbox()))
"""


def test_a_virtual_environment_shows_no_more_than_what_is_installed(tmp_path: Path) -> None:
    """Its folder may be that of a project."""
    tmp_path.chmod(0o755)
    project = tmp_path / "project"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project], check=True)
    (project / "secret").write_text("secret")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [project / "bin" / "python", "-c", textwrap.dedent(VENV_IN_A_PROJECT)]
    done = subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"(False, {str(project)!r})\n", "")


def test_a_bad_word_is_refused() -> None:
    with pytest.raises(ValueError, match='imports must be "installed" or "all", not 1'):
        presets.sandbox(imports=1)  # type: ignore[arg-type]


# ---- what is not ours is not opened


def has_files() -> bool:
    """Whether the process that runs this imports from files."""
    return bool(sys.path)


@pytest.fixture
def poison(tmp_path: Path) -> Path:
    """A standard library whose every module makes a file."""
    folder = tmp_path / "poison"
    (folder / "encodings").mkdir(parents=True)
    tmp_path.chmod(0o777)
    folder.chmod(0o777)
    for name in ("colorsys.py", "encodings/__init__.py", "site.py", "zipimport.py", "struct.py"):
        (folder / name).write_text("open('/tmp/executed', 'w')\nraise SystemExit('poison')")
    return folder


def use_a_module() -> tuple[str, bool, bool]:
    import colorsys

    return colorsys.__name__, has_files(), Path("/tmp/executed").exists()


def test_a_library_over_the_callers_own_is_not_opened(poison: Path) -> None:
    options = Options(new="all", mounts=[Tmpfs("/tmp"), Bind(poison, STDLIB)])
    assert call(use_a_module, options=options) == ("colorsys", False, False)


def test_another_library_in_a_sandbox_is_not_opened(poison: Path) -> None:
    options = presets.sandbox(mounts=[Bind(poison, STDLIB)])
    assert call(use_a_module, options=options) == ("colorsys", False, False)


def test_a_library_that_can_be_written_to_is_not_opened_in_a_root_that_is_made() -> None:
    options = presets.sandbox()
    assert call(has_files, options=options)
    written = options.replace(mounts=[*options.mounts, Bind(STDLIB, writable=True)])
    assert not call(has_files, options=written)


def test_a_folder_as_a_root_is_somebody_elses(tmp_path: Path) -> None:
    """Whoever else may write to it could move what is mounted there."""
    tmp_path.chmod(0o755)
    mounts = [mount for mount in presets.sandbox().mounts if isinstance(mount, Bind)]
    options = Options(new="all", root=tmp_path, mounts=mounts)
    assert not call(has_files, options=options)
    assert call(has_files, options=options.replace(root="tmpfs", read_only=True))


@pytest.mark.skipif(not AS_ROOT, reason="a mount namespace of root's is joined")
def test_a_root_that_is_joined_is_somebody_elses() -> None:
    with roots.held(roots.EMPTY) as root:
        joined = Options(new="pid", join={"mnt": root.pid})
        assert not call(has_files, options=joined)


@pytest.mark.parametrize(
    ("join", "harmless"),
    [
        (None, True),
        ({"net": 1}, True),
        ([{"net": 1}, {"uts": 1}], True),
        ({"mnt": 1}, False),
        ({"pid": 1}, False),
        ({"user": 1}, False),
        (1, False),
        ([{"net": 1}, 1], False),
    ],
)
def test_who_may_look_on_or_change_the_mounts_is_not_given_files(
    join: object, harmless: bool
) -> None:
    archive = nsenter.PythonInit("nsenter._inside.worker:main").archive()
    assert (installed.describe(Options(join=join), archive) is not None) == harmless


def told_folders() -> set[str]:
    """What a call is told of, now."""
    archive = nsenter.PythonInit("nsenter._inside.worker:main").archive()
    told = installed.describe(Options(), archive)
    assert told is not None
    return {place[0] for place in told["path"]}


def test_a_call_is_told_of_sys_path_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(tmp_path) not in told_folders()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert str(tmp_path) in told_folders()
    monkeypatch.setattr(sys, "path", sys.path[:-1])
    assert str(tmp_path) not in told_folders()


def test_a_folder_of_sys_path_may_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another folder, and by a link to one that is installed."""
    folder, other = tmp_path / "modules", tmp_path / "others"
    for place, value in ((folder, 1), (other, 2)):
        place.mkdir()
        (place / "replaced.py").write_text(f"VALUE = {value}\n")
    monkeypatch.syspath_prepend(folder)
    assert str(folder) in installed.own_folders()
    assert call(value_of_replaced) == 1
    folder.rename(tmp_path / "away")
    other.rename(folder)
    assert call(value_of_replaced) == 2
    folder.rename(tmp_path / "another")
    folder.symlink_to(Path(os.__file__).parent)
    assert str(folder) in installed.folders()
    assert str(folder) not in installed.own_folders()
    assert str(folder) not in installed.user_folders()


def value_of_replaced() -> int:
    import replaced

    value: int = replaced.VALUE
    return value


def test_a_root_is_looked_at_again_if_a_folder_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options are the same object."""
    archive = nsenter.PythonInit("nsenter._inside.worker:main").archive()
    options = presets.sandbox()
    assert installed.describe(options, archive) is not None
    site_packages = tmp_path / "site-packages"
    site_packages.mkdir()
    monkeypatch.setattr(installed.site, "getsitepackages", lambda _: [str(site_packages)])  # type: ignore[attr-defined]
    monkeypatch.syspath_prepend(site_packages)
    assert installed.describe(options, archive) is None
    assert installed.describe(presets.sandbox(), archive) is not None


LOADED_BY_THE_BOOT = ("collections", "encodings", "encodings.utf_8", "enum", "re", "re._parser")


def files_of(names: tuple[str, ...]) -> list[tuple[object, ...]]:
    """Where modules are from."""
    import importlib
    import sys

    found: list[tuple[object, ...]] = []
    for name in names:
        importlib.import_module(name)
        module = sys.modules[name]
        assert module.__spec__ is not None
        assert module.__loader__ is module.__spec__.loader
        path = getattr(module, "__path__", None)
        places = getattr(module, "__file__", None), getattr(module, "__cached__", None)
        found.append((*places, path and list(path), module.__spec__.origin))
    return found


def found_by_python(name: str) -> tuple[object, ...]:
    package = name.rpartition(".")[0]
    path = importlib.import_module(package).__path__ if package else None
    spec = PathFinder.find_spec(name, path)
    assert spec is not None
    return spec.origin, spec.cached, spec.submodule_search_locations, spec.origin


def test_what_the_boot_has_imported_is_from_its_files(place: Options | None) -> None:
    told = call(files_of, LOADED_BY_THE_BOOT, options=place)
    assert told == [*map(found_by_python, LOADED_BY_THE_BOOT)]


def test_this_package_is_from_its_files_where_they_are(place: Options | None) -> None:
    """The sources of an editable install are not in a sandbox."""
    (told,) = call(files_of, ("nsenter._inside.worker",), options=place)
    is_there = call(os.path.exists, str(Path(nsenter.__file__)), options=place)
    assert told[:3] == (
        found_by_python("nsenter._inside.worker")[:3] if is_there else (None, None, None)
    )


def place_of(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_dev, found.st_ino


def test_a_place_is_known_by_its_device_and_inode(tmp_path: Path) -> None:
    path, device, inode = place_of(tmp_path)
    source = CallerFiles(read_only=False)
    assert source.why_not((path, device, inode)) == ""
    assert source.why_not((path, device + 1, inode)) == f"{path}: another one is there"
    assert source.why_not((path, device, inode + 1)) == f"{path}: another one is there"
    assert "No such file" in source.why_not((f"{path}/none", device, inode))
    assert "can be written to" in CallerFiles(read_only=True).why_not((path, device, inode))


def test_files_that_may_not_be_read_are_left_alone() -> None:
    options = Options(new="user,pid", landlock={"/tmp": "rw"})
    assert call(use_a_module, options=options)[:2] == ("colorsys", False)
    assert call(has_files, options=options.replace(landlock={"/": "rx"}))


def rights() -> dict[str, str]:
    """Of the process when its first module is imported from a file."""
    import rights_at_import

    found: dict[str, str] = rights_at_import.FOUND
    return found


def test_all_is_given_up_before_a_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "rights_at_import.py").write_text(
        "lines = [line.split() for line in open('/proc/self/status')]\n"
        "FOUND = {line[0]: line[1] for line in lines if len(line) > 1}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = call(rights, options=presets.sandbox(read=[tmp_path]))
    names = ("NoNewPrivs:", "Seccomp:", "CapEff:", "CapPrm:")
    assert [found[name] for name in names] == ["1", "2", "0" * 16, "0" * 16]


def test_files_can_be_left_alone() -> None:
    memory = Caller(files=False)
    assert not memory.call(has_files)
    assert memory.call(call_targets.late_module) == "colorsys"
    assert Caller().call(has_files)
    assert not Caller(imports=False).call(has_files)


def test_the_platform_is_the_same(place: Options | None) -> None:
    assert call(sysconfig.get_platform, options=place) == sysconfig.get_platform()
