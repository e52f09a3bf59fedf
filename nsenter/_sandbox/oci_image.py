# SPDX-License-Identifier: Apache-2.0
"""OCI images as roots: fetched by skopeo(1), unpacked by umoci(1), and kept in the user's cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from errno import EEXIST, EIO, ENOENT, ENOTEMPTY, EPERM

from nsenter._host.printable import printable
from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["UnpackedImage", "is_reference", "unpacked"]

# What skopeo calls transports (containers-transports(5)).
_TRANSPORTS = (
    *("oci", "oci-archive", "docker", "docker-archive", "docker-daemon", "dir"),
    "containers-storage",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_CONFIG = 1 << 20
_SECONDS = 1800
_PACKAGES = "install skopeo and umoci, on Debian by: apt-get install skopeo umoci"
_TAG = "image"


class UnpackedImage(Value):
    """An image that is unpacked.

    Args:
        root: the directory that is its root.
        environment: the variables that its configuration sets.
    """

    root: str
    environment: Mapping[str, str]


def is_reference(text: object) -> bool:
    """Return whether a text names an image, as containers-transports(5) says, and no directory."""
    return isinstance(text, str) and text.partition(":")[0] in _TRANSPORTS and ":" in text


def unpacked(reference: str, cache: str | None = None) -> UnpackedImage:
    """Return an image; fetch and unpack it if the cache does not have it.

    Args:
        reference: its name, such as "oci:directory:tag" or "docker://debian:stable". If a digest is
            part of the name ("docker://debian@sha256:..."), an image in the cache is used without
            asking the registry.
        cache: the directory of the cache. None means nsenter/images in the user's cache directory.

    Raises:
        BootstrapError: skopeo or umoci is not installed, or has failed.
        OSError: the cache cannot be written, or belongs to another user.
    """
    folder = _cache(cache)
    place = os.path.join(folder, _digest(reference).replace(":", "-"))
    if not os.path.isdir(place):
        _unpack(reference, folder, place)
    return UnpackedImage(os.path.join(place, "rootfs"), _environment(place))


def _digest(reference: str) -> str:
    """Return the digest of an image: the one in its name, or the one that skopeo finds."""
    name, at, given = reference.rpartition("@")
    if name and at and _DIGEST.fullmatch(given):
        return given
    said = _run("skopeo", "inspect", "--format", "{{.Digest}}", reference).strip()
    if not _DIGEST.fullmatch(said):
        raise _failed("skopeo inspect", reference, f"no digest: {printable(said)[:200]!r}")
    return said


def _cache(given: str | None) -> str:
    """Return the directory of the cache, which nobody but this user may enter.

    Files of an image keep their permissions, setuid bits among them.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.join(home, "nsenter", "images") if given is None else given
    os.makedirs(folder, mode=0o700, exist_ok=True)
    found = os.stat(folder)
    if found.st_uid != os.geteuid():
        why = f"the cache of images belongs to user {found.st_uid}: set XDG_CACHE_HOME"
        raise PermissionError(EPERM, why, folder)
    os.chmod(folder, 0o700)
    return folder


def _unpack(reference: str, folder: str, place: str) -> None:
    """Unpack an image beside the others, and give it its name when it is complete."""
    made = tempfile.mkdtemp(prefix="new-", dir=folder)
    try:
        layout, bundle = os.path.join(made, "layout"), os.path.join(made, "bundle")
        _run("skopeo", "copy", "--quiet", reference, f"oci:{layout}:{_TAG}")
        _run("umoci", "unpack", "--rootless", "--image", f"{layout}:{_TAG}", bundle)
        if not stat.S_ISDIR(os.lstat(os.path.join(bundle, "rootfs")).st_mode):
            raise _failed("umoci unpack", reference, "its root is not a directory")
        try:
            os.rename(bundle, place)
        except OSError as error:
            if error.errno not in (ENOTEMPTY, EEXIST):  # another process was faster
                raise
    finally:
        _remove(made)


def _remove(folder: str) -> None:
    """Remove a tree, also if its directories may not be written."""
    for path, folders, _ in os.walk(folder):
        for name in folders:
            inner = os.path.join(path, name)
            with suppress(OSError):
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise BootstrapError("launcher", "execve", argv[0], ENOENT, _PACKAGES) from None
    if done.returncode:
        raise _failed(" ".join(argv[:2]), argv[-1], _last_line(done.stderr))
    return done.stdout


def _failed(operation: str, subject: str, why: str) -> BootstrapError:
    return BootstrapError("launcher", operation, subject, EIO, why)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return printable(lines[-1])[:500] if lines else "it said nothing"


def _environment(place: str) -> dict[str, str]:
    """Return the variables in the configuration of a bundle: the image's author chose them."""
    path = os.path.join(place, "config.json")
    with open(path, "rb") as file:
        text = file.read(_MOST_CONFIG + 1)
    try:
        if len(text) > _MOST_CONFIG:
            raise ValueError("it is too large")
        words = json.loads(text)["process"]["env"]
        return dict(_variables(words))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _failed("read", path, f"it is not a configuration: {error}") from None


def _variables(words: object) -> Iterator[tuple[str, str]]:
    if not isinstance(words, list):
        raise TypeError("process.env must be a list")
    for word in words:
        if not isinstance(word, str) or "\0" in word:
            raise TypeError("process.env must be a list of strings without NUL")
        name, equals, value = word.partition("=")
        if name and equals:
            yield name, value
