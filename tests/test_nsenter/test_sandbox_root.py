"""The root of a sandbox: a directory, or an OCI image that skopeo and umoci have unpacked."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

import launching
import nsenter
import oci_layouts
from needs import needs
from nsenter import presets
from nsenter._sandbox import oci_image
from nsenter._sandbox.root import Root

APPLETS = ("sh", "ls", "cat", "id", "touch", "mkdir", "rm", "env", "stat", "wc")


def busybox() -> bytes:
    return needs("busybox", package="busybox-static").read_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache directory."""
    made = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(made))
    return made


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of two layers; the second one changes and deletes files of the first."""
    needs("skopeo", package="skopeo")
    needs("umoci", package="umoci")
    first = oci_layouts.layer(
        [
            oci_layouts.folder("bin"),
            oci_layouts.folder("data"),
            oci_layouts.file("bin/busybox", busybox(), 0o755),
            *(oci_layouts.special(f"bin/{name}", tarfile.SYMTYPE, "busybox") for name in APPLETS),
            oci_layouts.file("data/old", b"old\n"),
            oci_layouts.file("data/gone", b"gone\n"),
            oci_layouts.file("data/setuid", b"", 0o4755),
            oci_layouts.special("data/device", tarfile.CHRTYPE, rdev=0x0103),
        ]
    )
    second = oci_layouts.layer(
        [oci_layouts.file("data/old", b"new\n"), oci_layouts.file("data/.wh.gone")]
    )
    config = {"Env": ["PATH=/bin", "GREETING=hello=world"], "Cmd": ["/bin/sh"]}
    return oci_layouts.write(tmp_path_factory.mktemp("layout"), [first, second], config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with programs."""
    made = tmp_path / "root"
    (made / "bin").mkdir(parents=True)
    (made / "bin/busybox").write_bytes(busybox())
    (made / "bin/busybox").chmod(0o755)
    for name in APPLETS:
        (made / "bin" / name).symlink_to("busybox")
    return made


def run(box: nsenter.Sandbox, script: str) -> str:
    result = box.run(["sh", "-ec", script])
    assert result.returncode == 0, (result, result.error)
    return result.stdout.decode()


# --- an image -------------------------------------------------------------------------------------


def test_an_image_is_the_root(layout: str) -> None:
    with nsenter.Sandbox(root=layout) as box:
        said = run(box, "cat /data/old; [ ! -e /data/gone ]; echo $GREETING; ls /; ! touch /x")
    assert said.split() == ["new", "hello=world", "bin", "data", "dev", "proc", "tmp"]


def test_an_image_with_an_overlay_can_be_changed_until_it_is_reset(layout: str) -> None:
    with nsenter.Sandbox(root=layout, overlay=True) as box:
        assert run(box, "echo changed > /data/old; rm -r /data/setuid; mkdir /new") == ""
        assert run(box, "cat /data/old; [ -d /new ]; [ ! -e /data/setuid ]") == "changed\n"
        box.reset()
        assert run(box, "cat /data/old; [ ! -e /new ]") == "new\n"
    with nsenter.Sandbox(root=layout, overlay=True) as box:
        assert run(box, "cat /data/old; [ ! -e /new ]") == "new\n"


def test_the_size_of_the_changes_is_limited(layout: str) -> None:
    with nsenter.Sandbox(root=layout, overlay=True, workspace_size="1M") as box:
        assert run(box, "cat /bin/busybox > /a || echo full").strip() == "full"


def test_a_workspace_lies_in_an_image(layout: str, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "in").write_text("1\n")
    for overlay in (False, True):
        with nsenter.Sandbox(root=layout, workspace=job, overlay=overlay) as box:
            assert run(box, "pwd; cat in; echo 2 > out") == "/workspace\n1\n"
            assert box.read("out") == b"2\n"
    assert (job / "out").read_text() == "2\n"


def test_a_call_works_in_an_image_without_python(layout: str) -> None:
    with nsenter.Sandbox(root=layout) as box:
        assert sorted(box.call(os.listdir, "/data")) == ["device", "old", "setuid"]


def test_an_environment_that_is_given_wins(layout: str) -> None:
    with nsenter.Sandbox(root=layout, env={"GREETING": "ours", "OTHER": "x"}) as box:
        assert run(box, "echo $GREETING $OTHER $PATH") == "ours x /bin\n"


# --- the cache ------------------------------------------------------------------------------------


def unpacking(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run from here on."""
    ran: list[str] = []
    before = oci_image._run

    def noted(*argv: str) -> str:
        ran.append(" ".join(argv[:2]))
        return before(*argv)

    monkeypatch.setattr(oci_image, "_run", noted)
    return ran


def test_an_image_is_unpacked_once(
    layout: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = unpacking(monkeypatch)
    first = oci_image.unpacked(layout)
    assert ran == ["skopeo inspect", "skopeo copy", "umoci unpack"]
    assert oci_image.unpacked(layout) == first
    assert ran[3:] == ["skopeo inspect"]
    (place,) = (cache / "nsenter/images").iterdir()
    assert place.name.startswith("sha256-")
    assert first.root == str(place / "rootfs")
    assert first.environment["GREETING"] == "hello=world"


def test_a_name_with_a_digest_needs_no_registry(
    layout: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = oci_image.unpacked(layout)
    digest = Path(image.root).parent.name.replace("-", ":")
    monkeypatch.setenv("PATH", "/no/such")
    assert oci_image.unpacked(f"docker://registry.invalid/image@{digest}") == image
    with pytest.raises(FileNotFoundError):
        oci_image.unpacked(f"docker://registry.invalid/image@{digest}0")


def test_nobody_else_gets_into_the_cache(layout: str, cache: Path) -> None:
    """Files in it are setuid; devices are not made."""
    root = Path(oci_image.unpacked(layout).root)
    assert stat.S_IMODE((cache / "nsenter/images").stat().st_mode) == 0o700
    assert not (root / "data/device").is_char_device()
    assert {path.lstat().st_uid for path in root.rglob("*")} == {os.geteuid()}


def test_a_run_does_not_change_the_cache(layout: str) -> None:
    root = Path(oci_image.unpacked(layout).root)
    with nsenter.Sandbox(root=layout, overlay=True) as box:
        run(box, "echo > /data/old; rm /data/setuid")
    assert (root / "data/old").read_text() == "new\n"
    assert (root / "data/setuid").exists()


def test_what_could_not_be_unpacked_leaves_nothing(
    layout: str, cache: Path, tmp_path: Path
) -> None:
    broken = oci_layouts.write(tmp_path / "broken", [b"no archive"], {})
    with pytest.raises(nsenter.BootstrapError, match="umoci unpack"):
        oci_image.unpacked(broken)
    assert [*(cache / "nsenter/images").iterdir()] == []


def test_two_at_once_unpack_it_into_one(
    layout: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is done first."""
    before = oci_image._run
    has_begun: list[Any] = []

    def slow(*argv: str) -> str:
        said = before(*argv)
        if argv[0] == "umoci" and not has_begun:
            has_begun.append(True)
            oci_image.unpacked(layout)
        return said

    monkeypatch.setattr(oci_image, "_run", slow)
    assert oci_image.unpacked(layout) == oci_image.unpacked(layout)
    assert len([*(cache / "nsenter/images").iterdir()]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away: run as root")
def test_a_cache_of_another_user_is_refused(layout: str, cache: Path) -> None:
    (cache / "nsenter/images").mkdir(parents=True)
    os.chown(cache / "nsenter/images", 1000, 1000)
    with pytest.raises(PermissionError, match="belongs to user 1000"):
        oci_image.unpacked(layout)


# --- hostile images -------------------------------------------------------------------------------

ESCAPES = {
    "a name that goes up": [oci_layouts.file("../../../../escaped", b"x")],
    "an absolute name": [oci_layouts.file("/escaped", b"x")],
    "a link out, and a file through it": [
        oci_layouts.special("way", tarfile.SYMTYPE, "../../../.."),
        oci_layouts.file("way/escaped", b"x"),
    ],
    "a hard link out": [oci_layouts.special("gift", tarfile.LNKTYPE, "../../../../secret")],
}


@pytest.mark.parametrize("entries", ESCAPES.values(), ids=ESCAPES)
def test_an_image_does_not_leave_its_root(
    entries: list[oci_layouts.Entry], cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    hostile = oci_layouts.write(tmp_path / "layout", [oci_layouts.layer(entries)], {})
    try:
        root = Path(oci_image.unpacked(hostile).root)
    except nsenter.BootstrapError:
        root = None  # type: ignore[assignment]
    assert not Path("/escaped").exists()
    found = [path for path in tmp_path.rglob("escaped") if root not in path.parents]
    assert found == []
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_variables_that_are_none_are_refused(tmp_path: Path, cache: Path) -> None:
    for config in (
        '{"process": {"env": ["A\\u0000=1"]}}',
        '{"process": {}}',
        "[",
        "[]",
        '{"a": 1}',
    ):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(nsenter.BootstrapError, match="it is not a configuration"):
            oci_image._environment(str(tmp_path))
    (tmp_path / "config.json").write_text('{"process": {"env": ["A=1=2", "B", "=C"]}}')
    assert oci_image._environment(str(tmp_path)) == {"A": "1=2"}


# --- errors ---------------------------------------------------------------------------------------


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/no/such")
    with pytest.raises(nsenter.BootstrapError, match="apt-get install skopeo umoci") as caught:
        oci_image.unpacked("oci:somewhere:tag")
    assert isinstance(caught.value, FileNotFoundError)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    needs("skopeo", package="skopeo")
    with pytest.raises(nsenter.BootstrapError, match=r"skopeo inspect oci:.*missing"):
        nsenter.Sandbox(root=f"oci:{tmp_path}/missing:1").open()


def test_what_is_a_name_and_what_is_a_directory() -> None:
    names = ("oci:a:b", "docker://debian", "docker-archive:x.tar", "containers-storage:x")
    assert all(map(oci_image.is_reference, names))
    assert not any(
        map(oci_image.is_reference, ("/a/oci:b", "oci", "./docker://x", "x:y", b"oci:a"))
    )


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    for overlay in (False, True):
        with pytest.raises(OSError, match="missing"):
            nsenter.Sandbox(root=tmp_path / "missing", overlay=overlay).open()


def test_arguments_that_do_not_fit_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="require a workspace or a root"):
        nsenter.Sandbox(overlay=True)
    with nsenter.Sandbox(root=folder) as box, pytest.raises(ValueError, match="overlay=True"):
        box.reset()
    for root in ("tmpfs", "", 1):
        with pytest.raises(ValueError, match="root must be a directory or the name of an image"):
            nsenter.Sandbox(root=root)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="system must be True or False"):
        presets.sandbox(system=1)  # type: ignore[arg-type]


# --- a directory ----------------------------------------------------------------------------------


def test_a_directory_is_the_root(folder: Path) -> None:
    with nsenter.Sandbox(root=folder) as box:
        assert run(box, "ls /; ! touch /x").split() == ["bin", "dev", "proc", "tmp"]


def test_a_directory_with_an_overlay_stays_what_it_is(folder: Path) -> None:
    with nsenter.Sandbox(root=folder, overlay=True) as box:
        assert run(box, "mkdir /etc; echo x > /etc/y; rm /bin/env; cat /etc/y") == "x\n"
    assert sorted(path.name for path in folder.iterdir()) == ["bin"]
    assert (folder / "bin/env").is_symlink()


def test_a_root_copies_if_there_is_no_overlay(folder: Path) -> None:
    root = Root(folder, presets.sandbox(system=False), overlay="copy")
    root.open()
    try:
        assert root._layer is not None
        assert root._layer.backend == "copy"
        options = presets.sandbox(system=False)
        options = options.replace(**root.changes(options))
        said = nsenter.check_output(["/bin/sh", "-c", "touch /x; ls /"], options, text=True)
        assert said.split() == ["bin", "dev", "proc", "tmp", "x"]
    finally:
        root.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="it starts as root: run as root")
def test_all_of_this_works_for_an_ordinary_user() -> None:
    launching.run_tests_as_user(__file__, "not ordinary_user")
