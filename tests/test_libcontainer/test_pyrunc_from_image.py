"""pyrunc starts from a memory image if it can, and boots otherwise.

The result of a command does not tell which of the two happened.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
import test_nsenter.test_image as images
from libcontainer.pyrunc import command_image, image_contents
from nsenter._interpreter import image
from processes import content, wait_until
from pyrunc import PYRUNC, Done, make_bundle

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root's images are where a test can put one"),
    pytest.mark.skipif(bool(image._REASON), reason=image._REASON),
]

FROM_IMAGE = "from a memory image"
_TIME = re.compile(r'time="[^"]*" ')
# The place of root's images is a folder of the test's, in a mount namespace of the command.
_PLACE = 'mkdir -m 700 -p /run/nsenter-image; mount --bind "$0" /run/nsenter-image && exec "$@"'


class Runtime(pyrunc.Runtime):
    """pyrunc with images that nobody else uses.

    Args:
        place: where they are.
        root: of the state.
        program: pyrunc, or a copy of it.
    """

    def __init__(self, place: Path, root: Path, program: Path = PYRUNC[0]) -> None:
        super().__init__(PYRUNC, root)
        around = ["unshare", "--mount", "sh", "-c", _PLACE, str(place)]
        self.argv = [*around, str(program), "--root", str(root)]

    def __call__(self, *words: str | Path, **more: Any) -> Done:
        environment = {"PATH": os.environ["PATH"], **more.pop("env", {})}
        return super().__call__(*words, env=environment, **more)

    def how(self, **environment: str) -> str:
        """Where the interpreter of a command is from."""
        said = self("--debug", "state", "nope", env=environment).stderr
        found = re.search('msg="the interpreter: (.*)"', said)
        assert found, said
        return found[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the images."""
    place = tmp_path_factory.mktemp("images")
    place.chmod(0o700)
    secret = {"A_SECRET": "of-who-makes-the-image"}
    paths = Runtime(place, place / "none").good("image", env=secret).split()
    assert len(paths) == 2
    assert {path.name for path in place.iterdir()} == {Path(path).name for path in paths}
    return place


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    """The command's image, in a place of the test's own; the init's is beside it."""
    place = tmp_path / "images"
    place.mkdir(mode=0o700)
    for path in made.iterdir():
        (place / path.name).touch(mode=0o600)
        (place / path.name).write_bytes(path.read_bytes())
    return next(place.glob("pyrunc-*"))


@pytest.fixture
def runtime(file: Path, tmp_path: Path) -> Iterator[Runtime]:
    found = Runtime(file.parent, tmp_path / "state")
    yield found
    found.delete_all()


# ---- when


def test_a_command_is_from_the_image(runtime: Runtime, file: Path) -> None:
    assert runtime.how() == FROM_IMAGE
    file.unlink()
    assert runtime.how() == "no memory image: there is none"


def test_a_copy_of_the_program_is_from_the_same_image(
    runtime: Runtime, file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "runc"
    copy.write_bytes(PYRUNC[0].read_bytes())
    copy.chmod(0o755)
    assert Runtime(file.parent, runtime.root, copy).how() == FROM_IMAGE


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("NSENTER_IMAGE", "off", "NSENTER_IMAGE is off"),
        ("LANG", "de_DE", "locale"),
        ("LC_CTYPE", "ja_JP.eucJP", "locale"),
        ("LC_ALL", "en_US.ISO-8859-1", "locale"),
        ("LD_LIBRARY_PATH", "/nowhere", "variable"),
        ("LD_AUDIT", "/nowhere.so", "variable"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=3", "variable"),
        ("MALLOC_ARENA_MAX", "1", "variable"),
    ],
)
def test_variables_that_make_a_difference(
    runtime: Runtime, variable: str, value: str, reason: str
) -> None:
    assert reason in runtime.how(**{variable: value})


@pytest.mark.parametrize(
    "variables",
    [
        {"NSENTER_IMAGE": "use"},
        {"LANG": "C"},
        {"LANG": "POSIX"},
        {"LANG": ""},
        {"LANG": "en_US.UTF-8"},
        {"LC_ALL": "de_DE.utf8"},
        {"LC_ALL": "C.UTF-8", "LANG": "de_DE"},
        {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONMALLOC": "debug"},
        {"TZ": "America/New_York"},
    ],
)
def test_variables_that_make_none(runtime: Runtime, variables: dict[str, str]) -> None:
    assert runtime.how(**variables) == FROM_IMAGE


# Those of images.DOUBTS that are of the file alone, and what else is not the file's.
DOUBTS: dict[str, images.Break] = {
    **{name: change for name, (change, _) in images.DOUBTS.items()},
    "of somebody else": lambda file: os.chown(file, 1234, 1234),
    "the place is somebody else's": lambda file: os.chown(file.parent, 1234, 1234),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_in_doubt_the_interpreter_boots(runtime: Runtime, file: Path, doubt: str) -> None:
    DOUBTS[doubt](file)
    said = runtime("state", "nope")
    assert said.returncode == 1
    assert "container does not exist: 'nope'" in said.stderr
    # A place that the mount cannot be of, the command never saw.
    assert doubt == "the place is a symbolic link" or runtime.how() != FROM_IMAGE


def test_an_image_of_another_program_is_not_used(runtime: Runtime, file: Path) -> None:
    """A path's hash may be another's too: here the file has our name, and is the init's."""
    other = next(path for path in file.parent.iterdir() if path != file)
    other.rename(file)
    assert runtime.how() == "no memory image: it is of another installation"


# ---- what the command does


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("--help",),
        ("features",),
        ("state", "nope"),
        ("state", "n\udcff"),
        ("nonsense",),
        ("run", "--nonsense"),
        ("run", "-b", "/nowhere", "x"),
        ("list", "-f", "json"),
    ],
)
def test_a_command_says_the_same_either_way(runtime: Runtime, words: tuple[str, ...]) -> None:
    def said(**environment: str) -> tuple[int, bytes, str]:
        done = runtime(*words, env=environment, text=False)
        text = done.stderr.decode(errors="backslashreplace")  # type: ignore[attr-defined]
        return done.returncode, done.stdout, _TIME.sub("", text)  # type: ignore[return-value]

    assert said() == said(NSENTER_IMAGE="off")


def test_the_directory_and_the_mask_are_the_callers(runtime: Runtime, tmp_path: Path) -> None:
    place = tmp_path / "bundle"
    place.mkdir()
    runtime.good("spec", cwd=place, umask=0o077)
    assert (place / "config.json").stat().st_mode & 0o777 == 0o600


def test_variables_are_the_callers(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", ["true"])
    told = {"PYRUNC_START_TIMEOUT": "soon"}
    assert "PYRUNC_START_TIMEOUT" in runtime("run", "-b", bundle, "box", env=told).stderr


def test_a_container_runs_either_way(runtime: Runtime, file: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", "echo here; exit 7"])
    for environment in ({}, {"NSENTER_IMAGE": "off"}):
        done = runtime("run", "-b", bundle, "box", env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (7, "here\n", "")


def test_without_the_inits_image_its_interpreter_boots(
    runtime: Runtime, file: Path, tmp_path: Path
) -> None:
    next(path for path in file.parent.iterdir() if path != file).unlink()
    assert runtime.how() == FROM_IMAGE
    bundle = make_bundle(tmp_path / "bundle", ["echo", "here"])
    assert runtime.good("run", "-b", bundle, "box") == "here\n"


def signals_and_threads(pid: int) -> dict[str, str]:
    status = content(pid, "status").decode()
    return dict(re.findall(r"^(Sig(?:Ign|Cgt|Blk)|Threads):\t(\w+)$", status, re.M))


def settled(pid: int) -> dict[str, str]:
    """Those of a command that has nothing to do but to wait for its container."""
    looks: list[dict[str, str]] = []

    def is_settled() -> bool:
        time.sleep(0.05)
        looks.append(signals_and_threads(pid))
        is_waiting = b"poll" in content(pid, "wchan")
        return is_waiting and len(looks) > 4 and all(look == looks[-1] for look in looks[-4:])

    wait_until(is_settled)
    return looks[-1]


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _nothing() -> None:
    pass


@pytest.mark.parametrize("change", [_nothing, _ignore_interrupts])
def test_signals_and_threads_are_the_same_either_way(
    runtime: Runtime, tmp_path: Path, change: Callable[[], None]
) -> None:
    bundle = make_bundle(tmp_path / "bundle")

    def seen(**environment: str) -> dict[str, str]:
        argv = [*runtime.argv, "run", "-b", bundle, "box"]
        env = {"PATH": os.environ["PATH"], **environment}
        null = subprocess.DEVNULL
        with subprocess.Popen(
            argv, env=env, stdin=null, stdout=null, stderr=null, preexec_fn=change
        ) as process:
            wait_until(lambda: runtime("state", "box").returncode == 0)
            wait_until(lambda: runtime.state("box")["status"] == "running")
            found = settled(process.pid)
            runtime("delete", "--force", "box")
        return found

    assert seen() == seen(NSENTER_IMAGE="off")


# read(2) of descriptor 0
READS_ITS_INPUT = [b"0" if os.uname().machine == "x86_64" else b"63", b"0x0"]


def test_an_interrupt_ends_a_command(runtime: Runtime, tmp_path: Path) -> None:
    """Of one that waits for its standard input."""
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good("create", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    argv = [*runtime.argv, "update", "-r", "-", "box"]
    env = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, start_new_session=True) as process:
        wait_until(lambda: content(process.pid, "syscall").split()[:2] == READS_ITS_INPUT)
        process.send_signal(signal.SIGINT)
        assert process.wait(pyrunc.TIMEOUT) == 130


# ---- who makes it

MAKE_LATER = """
import sys, os
sys.path[:] = {path!r}
from nsenter._interpreter import image
image._FIRST_PID_NAMESPACE = os.readlink("/proc/self/ns/pid")
from libcontainer.pyrunc.image_request import make_later
make_later({script!r})
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
"""


def test_nobodys_child_makes_both(tmp_path: Path) -> None:
    place = tmp_path / "images"
    place.mkdir(mode=0o700)
    runtime = Runtime(place, tmp_path / "state")
    path = [str(pyrunc.CHECKOUT / "pylib"), str(pyrunc.CHECKOUT), *filter(None, sys.path)]
    script = MAKE_LATER.format(path=path, script=str(PYRUNC[0].with_name("pyrunc-start")))
    around = runtime.argv[: runtime.argv.index(str(PYRUNC[0]))]
    argv = [*around, sys.executable, "-I", "-S", "-c", script]
    env = {"PATH": os.environ["PATH"]}

    def ended() -> bool:
        return len(list(place.glob("*.image"))) == 2 or bool(list(place.glob("*.failed")))

    for _ in range(20):  # a busy machine may take longer than the two seconds that it has
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("no child\n", "")
        with contextlib.suppress(AssertionError):  # if it was ended before it could say so
            wait_until(ended, seconds=10)
        failed = list(place.glob("*.failed"))
        if not failed and ended():
            break
        for path in failed:  # type: ignore[assignment]
            wait_until(path.read_text)  # type: ignore[attr-defined]
            assert "two seconds" in path.read_text()  # type: ignore[attr-defined]
            path.unlink()  # type: ignore[attr-defined]
    assert runtime.how() == FROM_IMAGE


# ---- what is in it


def test_nothing_of_the_makers_environment_is_in_it(made: Path) -> None:
    for path in made.iterdir():
        assert b"of-who-makes-the-image" not in path.read_bytes()


def test_every_module_of_the_package_is_in_it() -> None:
    names = {*command_image._own_modules()}
    assert {"libcontainer", "libcontainer.pyrunc.main", "libcontainer.cgroups.fs"} <= names
    assert names >= image_contents.LEFT_OUT


def test_it_is_restored_many_times(runtime: Runtime) -> None:
    for _ in range(20):
        assert runtime.how() == FROM_IMAGE


def test_images_are_removed(runtime: Runtime, file: Path) -> None:
    assert len(runtime.good("image", "--remove").split()) == 2
    assert list(file.parent.iterdir()) == []
    assert runtime.good("image", "--remove") == "there were none\n"


def test_why_none_can_be_made_is_said(runtime: Runtime) -> None:
    done = runtime("image", env={"NSENTER_IMAGE": "off"})
    assert done.returncode == 1
    assert "no image: NSENTER_IMAGE is off" in done.stderr
