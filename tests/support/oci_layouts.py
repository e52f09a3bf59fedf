"""OCI image layouts, made by hand: directories for skopeo's transport "oci"."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_OCI = "application/vnd.oci.image"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

Entry = tuple[tarfile.TarInfo, bytes]


def file(name: str, content: bytes = b"", mode: int = 0o644) -> Entry:
    """A regular file of a layer."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    return entry, content


def special(name: str, type: bytes, link: str = "", mode: int = 0o755, rdev: int = 0) -> Entry:
    """Anything else: a directory, a link, a device."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = type, link, mode
    entry.devmajor, entry.devminor = rdev >> 8, rdev & 0xFF
    return entry, b""


def folder(name: str) -> Entry:
    return special(name, tarfile.DIRTYPE)


def layer(entries: Iterable[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry, content in entries:
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write(place: Path, layers: Iterable[bytes], config: dict[str, Any], tag: str = "1") -> str:
    """Write a layout with one image; return its name for skopeo."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"{_OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layers = [*layers]
    image = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers],
        },
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": add(json.dumps(image).encode(), "config.v1+json"),
        "layers": [add(gzip.compress(data, 1, mtime=0), "layer.v1.tar+gzip") for data in layers],
    }
    described = add(json.dumps(manifest).encode(), "manifest.v1+json")
    described["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{place}:{tag}"
