"""Builds the sdist, and the wheel from it alone; installs the wheel with each Python that is here,
in every way that people install, without a compiler; and runs a container and a process there.

usage: check_packages.py [VERSION]…   such as 3.11; without, all that are installed
Needs root (its containers are root's), and an index that has cffi for each Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "tests" / "support"))

from pythons import Python, installed  # noqa: E402

PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")
# What a container and a process need of the machine; neither a compiler nor another Python.
PROGRAMS = ("sh", "echo", "cp", "ln")
SCRIPT = """
import nsenter, sys
done = nsenter.run(["echo", "hello"], nsenter.Options(new="all"), stdout=-1)
print(done.stdout.decode().strip(), nsenter.__version__, nsenter.call(abs, -7))
"""


def run(*words: str | Path, env: Mapping[str, str], cwd: Path | None = None) -> str:
    """What it prints; what it says besides is shown when it fails."""
    done = subprocess.run(
        [*map(str, words)], env=env, cwd=cwd, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stdout + done.stderr
        sys.exit(f"check_packages: {' '.join(map(str, words))}: {done.returncode}\n{said}")
    return done.stdout


def build(scratch: Path) -> Path:
    """The wheel, made of the sdist; both of what git knows, as a release is."""
    source = scratch / "source"
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=CHECKOUT, text=True)
    for name in filter(None, names.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, source / name, follow_symlinks=False)
    program = f"from setuptools import build_meta as b; print(b.build_sdist({str(scratch)!r}))"
    run(sys.executable, "-c", program, env=os.environ, cwd=source)
    (sdist,) = scratch.glob("pynsenter-*.tar.gz")
    wheels = ("wheel", "--no-deps", "--wheel-dir", scratch, sdist)
    run(sys.executable, *PIP, *wheels, env=os.environ)
    (wheel,) = scratch.glob("pynsenter-*.whl")
    return wheel


def environment(scratch: Path, **more: str) -> dict[str, str]:
    """Without a compiler or another Python in PATH."""
    programs = scratch / "programs"
    if not programs.exists():
        programs.mkdir()
        for name in PROGRAMS:
            (programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    here = {"PATH": str(programs), "HOME": str(scratch / "home"), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    return {**kept, **here, **more}


def installations(
    python: Python, wheel: Path, scratch: Path
) -> Iterator[tuple[str, Path, list[str], dict[str, str]]]:
    """Each way to install: its name, the directory of its scripts, the words that start its
    Python, and the environment that a user of it sets."""
    plain = environment(scratch)
    yield "venv", *_venv(python, wheel, scratch, plain), plain
    home = environment(scratch, HOME=str(scratch / "user"))
    run(python.binary, *PIP, "install", "--user", "--ignore-installed", wheel, env=home)
    yield "--user", scratch / "user/.local/bin", [python.binary], home
    for way in ("--prefix", "--target"):
        place = scratch / way.strip("-")
        run(python.binary, *PIP, "install", "--ignore-installed", way, place, wheel, env=plain)
        (package,) = place.rglob("nsenter/__init__.py")
        (program,) = place.rglob("bin/pyrunc")
        path = environment(scratch, PYTHONPATH=str(package.parent.parent))
        yield way, program.parent, [python.binary], path


def _venv(
    python: Python, wheel: Path, scratch: Path, env: Mapping[str, str]
) -> tuple[Path, list[str]]:
    place = scratch / "a venv"  # the blank is part of the test
    run(python.binary, "-m", "venv", place, env=env)
    run(place / "bin/python", *PIP, "install", wheel, env=env)
    return place / "bin", [str(place / "bin/python")]


def check(way: str, scripts: Path, words: list[str], env: Mapping[str, str]) -> None:
    """Run a container and a process, and look for the man pages; raise SystemExit if one fails."""
    version = run(*words, "-c", "import nsenter; print(nsenter.__version__)", env=env).strip()
    about = "import importlib.metadata as m; print(m.version('pynsenter'))"
    linked = Path(env["HOME"], f"linked-{uuid.uuid4().hex}")
    linked.parent.mkdir(parents=True, exist_ok=True)
    linked.symlink_to(scripts / "pyrunc")
    container = ("run", "--rootfs", "/", f"check-{os.getpid()}", "--", "echo", "hello")
    said = {
        "metadata": (run(*words, "-c", about, env=env), version),
        "pyrunc --version": (run(scripts / "pyrunc", "--version", env=env).split()[2], version),
        "pynsenter --version": (
            run(scripts / "pynsenter", "--version", env=env).split()[1],
            version,
        ),
        "pyrunc run": (run(scripts / "pyrunc", *container, env=env), "hello"),
        "pyrunc run by a link": (run(linked, *container, env=env), "hello"),
        "nsenter.run": (run(*words, "-c", SCRIPT, env=env), f"hello {version} 7"),
    }
    for page in ("man1/pynsenter.1", "man8/pyrunc.8"):
        if not (scripts.parent / "share/man" / page).is_file():
            sys.exit(f"check_packages: {way}: the man page {page} is missing")
    for what, (printed, expected) in said.items():
        if printed.strip() != expected:
            sys.exit(f"check_packages: {way}: {what} printed {printed!r}, not {expected!r}")


def main(versions: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="check-packages-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        wheel = build(scratch)
        for python in installed():
            if versions and python.short_version not in versions:
                continue
            place = scratch / str(python)
            place.mkdir()
            for way, *rest in installations(python, wheel, place):
                check(way, *rest)
                print(f"{python} {way}: pyrunc and nsenter run", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
