# SPDX-License-Identifier: Apache-2.0
"""An OCI image of one layer, as a tar archive of its layout, made by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

NAME = "interop.test/busybox:1"
_OCI = "application/vnd.oci.image"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class _Blobs:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, data: bytes, media_type: str) -> dict[str, Any]:
        """The descriptor of a blob."""
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def add_json(self, value: object, media_type: str) -> dict[str, Any]:
        return self.add(json.dumps(value).encode(), media_type)


def write(archive: Path, root: Path, config: dict[str, Any]) -> None:
    """Write the image NAME: its only layer is the folder `root`, and `config` how it is run."""
    blobs = _Blobs()
    layer = _layer(root)
    compressed = gzip.compress(layer, compresslevel=1, mtime=0)
    layers = [blobs.add(compressed, f"{_OCI}.layer.v1.tar+gzip")]
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    image = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": blobs.add_json(image, f"{_OCI}.config.v1+json"),
        "layers": layers,
    }
    described = blobs.add_json(manifest, f"{_OCI}.manifest.v1+json")
    described["annotations"] = {"io.containerd.image.name": NAME}
    index = {"schemaVersion": 2, "manifests": [described]}
    _write_tar(
        archive,
        {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **blobs.files,
        },
    )


def _layer(root: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(root, arcname=".")
    return buffer.getvalue()


def _write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
