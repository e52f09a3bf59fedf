"""The pyrunc program finds its Python and its package by its own path only.

Nothing that another user could have put anywhere changes that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyrunc

START = "pyrunc-start"
SAYS_WHERE = "import sys; print(sys.executable, __file__, *sys.argv[1:], sep='|')"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The program of this installation, copied away from it."""
    return Path(shutil.copy(pyrunc.PYRUNC[0], tmp_path / "runc"))


@pytest.fixture(scope="module")
def without_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that was built for no installation, as that in a released wheel."""
    target = tmp_path_factory.mktemp("program") / "pyrunc"
    program = pyrunc.PYRUNC[0].read_bytes()
    recorded = os.fsencode(pyrunc.PYRUNC[0].with_name(START))
    assert recorded in program
    target.write_bytes(program.replace(recorded, bytes(len(recorded))))
    target.chmod(0o755)
    return target


def run(program: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [program, *words], capture_output=True, text=True, timeout=20, check=False, **more
    )


def write_start(program: Path, head: str, text: str = SAYS_WHERE) -> Path:
    start = program.with_name(START)
    start.write_text(f"{head}\n{text}\n")
    return start


def test_a_copy_uses_what_was_recorded_at_installation(copy: Path) -> None:
    done = run(copy, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout == run(pyrunc.PYRUNC[0], "--version").stdout


@pytest.mark.parametrize(
    "head",
    [
        "#!{python}",
        "#!{python} -sP",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''",
        "#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''",
        "#!python",  # nobody has written a path there: python3 beside the file
        "",
        "#!/bin/sh",
        "#!/bin/sh\n'''exec'\n'''",
    ],
)
def test_the_start_beside_it_names_the_interpreter(
    without_record: Path, tmp_path: Path, head: Any
) -> None:
    program = Path(shutil.copy(without_record, tmp_path))
    (tmp_path / "python3").symlink_to(sys.executable)
    start = write_start(program, head.format(python=sys.executable))
    named = sys.executable if "{python}" in head else str(tmp_path / "python3")
    assert run(program, "a", "b c").stdout == f"{named}|{start}|a|b c\n"


def test_its_path_may_be_long_and_have_blanks(without_record: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("a long name " * 20).strip()
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    program = Path(shutil.copy(without_record, folder))
    start = write_start(program, f"#!{folder}/python")
    assert run(program).stdout == f"{folder}/python|{start}\n"


def test_a_link_is_followed_to_the_installation(without_record: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = Path(shutil.copy(without_record, tmp_path / "bin"))
    start = write_start(program, f"#!{sys.executable}")
    (tmp_path / "runc").symlink_to(program)
    write_start(tmp_path / "runc", f"#!{sys.executable}", "print('not this one')")
    assert run(tmp_path / "runc").stdout == f"{sys.executable}|{start}\n"


def test_argv0_says_nothing(without_record: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(without_record, tmp_path))
    start = write_start(program, f"#!{sys.executable}")
    for name in ("", "runc", "/nowhere/pyrunc", "./pyrunc", "x" * 5000):
        done = subprocess.run(
            [name], executable=program, capture_output=True, text=True, check=False
        )
        assert done.stdout == f"{sys.executable}|{start}\n", name


def test_neither_is_looked_for_by_the_environment(without_record: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(without_record, tmp_path))
    start = write_start(program, f"#!{sys.executable}")
    trap = tmp_path / "trap"
    (trap / "libcontainer").mkdir(parents=True)
    for path in (trap / "libcontainer/__init__.py", trap / "sitecustomize.py", trap / START):
        path.write_text("print('trapped')\n")
    (trap / "python3").symlink_to("/bin/false")
    names = ("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "HOME")
    environment = dict.fromkeys((*names, "VIRTUAL_ENV"), str(trap))
    done = run(program, cwd=trap, env=environment)
    assert done.stdout == f"{sys.executable}|{start}\n", done.stderr
    real = run(pyrunc.PYRUNC[0], "--version", cwd=trap, env=environment)
    assert real.stdout.startswith("pyrunc version "), real.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="chown(2) to another user requires root")
@pytest.mark.parametrize(("owner", "mode"), [(4242, 0o644), (0, 0o646)])
def test_what_a_stranger_could_have_written_is_not_used(
    without_record: Path, tmp_path: Path, owner: int, mode: int
) -> None:
    program = Path(shutil.copy(without_record, tmp_path))
    start = write_start(program, f"#!{sys.executable}")
    os.chown(start, owner, owner)
    start.chmod(mode)
    done = run(program, "list")
    assert done.returncode == 1
    assert f"{start} (not used: another user owns it or may write to it)" in done.stderr


def test_a_start_that_is_no_file_is_not_waited_for(without_record: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(without_record, tmp_path))
    os.mkfifo(tmp_path / START)
    assert "not used" in run(program, "list").stderr


def test_a_copy_without_an_installation_says_what_it_looked_for(
    without_record: Path, tmp_path: Path
) -> None:
    program = Path(shutil.copy(without_record, tmp_path / "runc"))
    done = run(program, "list")
    assert done.returncode == 1
    assert f"looked for at {tmp_path / START} (No such file or directory)" in done.stderr
    assert "ln -s" in done.stderr


def test_an_interpreter_that_is_gone_is_named(without_record: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(without_record, tmp_path))
    start = write_start(program, "#!/nowhere/python3.99")
    done = run(program, "list")
    assert done.returncode == 1
    assert f"{start} names: /nowhere/python3.99 (No such file or directory)" in done.stderr


def test_a_package_that_is_gone_is_named(without_record: Path, tmp_path: Path) -> None:
    """As after a Python of another version has taken the place of the old one."""
    (tmp_path / "bin").mkdir()
    program = Path(shutil.copy(without_record, tmp_path / "bin"))
    text = (pyrunc.CHECKOUT / "pylib/libcontainer/pyrunc/find.py").read_text()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    write_start(program, f"#!{sys.base_prefix}/bin/{version}", text)
    done = run(program, "list")
    assert done.returncode == 1
    assert f"{tmp_path}/lib/{version}/site-packages" in done.stderr
    assert "install pynsenter again" in done.stderr


LAYOUTS = ("lib/{version}/site-packages", "lib64/{version}/site-packages", ".",
           "lib/{version}/dist-packages", "lib/python3/dist-packages")  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_package_is_found_wherever_installers_put_it(
    without_record: Path, tmp_path: Path, layout: str
) -> None:
    """Beside it there is no cffi: that of this environment is found."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = tmp_path / layout.format(version=version)
    for name, source in (("libcontainer", "pylib/libcontainer"), ("nsenter", "nsenter")):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(pyrunc.CHECKOUT / source, site / name, ignore=ignored)
    (tmp_path / "bin").mkdir()
    program = Path(shutil.copy(without_record, tmp_path / "bin"))
    text = (pyrunc.CHECKOUT / "pylib/libcontainer/pyrunc/find.py").read_text()
    write_start(program, f"#!{sys.executable}", text)
    done = run(program, "--root", str(tmp_path / "state"), "state", "nope")
    assert "does not exist" in done.stderr
    assert list(site.glob("libcontainer/pyrunc/__pycache__/start.*"))
