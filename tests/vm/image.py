# SPDX-License-Identifier: Apache-2.0
"""The guest's two disks: a root file system, kept while nothing in it changes, and the checkout.

The checkout's disk is a tar archive, which the guest unpacks over its root: it is made anew for
each run, in a tenth of a second.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path

import contents
from contents import Files

GUEST = Path(__file__).resolve().parent / "guest"  # the guest's own few files
FREE = 512 << 20  # for what the tests write
# The kernel names disks in the order in which it comes to them, so the root is told by an id.
ROOT_ID = "6e73656e-01"
START = 1 << 20  # of the root's file system in the image
_SECTOR = 512
FOLDERS = (
    "dev proc sys run tmp mnt root home/user etc usr/bin usr/sbin usr/lib usr/lib64 var/tmp".split()
)


def root(cache: Path, modules: Path) -> Path:
    """An ext4 image of the system's files; one that was made before, where they are the same."""
    files = contents.system(modules)
    files |= {
        str(Path("/", path.relative_to(GUEST))): path for path in GUEST.rglob("*") if path.is_file()
    }
    image = cache / f"root-{_key(files)}.ext4"
    if not image.exists():
        for old in cache.glob("root-*.ext4"):
            old.unlink()
        _make(files, image)
    return image


def checkout(folder: Path, command: str) -> Path:
    """A tar archive, in `folder`, of the checkout and of the shell command that the guest runs."""
    script, path = folder / "command", folder / "checkout.tar"
    script.write_text(f"{command}\n")
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, source in {**contents.checkout(), "command": script}.items():
            archive.add(source, name, recursive=False)
    return path


def _key(files: Files) -> str:
    digest = hashlib.sha256()
    for name, source in sorted(files.items()):
        facts = source.stat()
        digest.update(f"{name}\0{source}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:16]


def _make(files: Files, image: Path) -> None:
    mke2fs = contents.program("mke2fs", "e2fsprogs")
    with tempfile.TemporaryDirectory(dir=image.parent) as scratch:
        tree, unfinished = Path(scratch, "tree"), Path(scratch, "image")
        size = _stage(files, tree) * 5 // 4 + FREE
        options = f"root_owner=0:0,offset={START}"
        subprocess.run(
            [
                *(mke2fs, "-q", "-t", "ext4", "-O", "^has_journal", "-E", options),
                *("-d", tree, unfinished, f"{size >> 10}k"),
            ],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with unfinished.open("r+b") as file:
            file.truncate(START + size)
            file.write(_partition_table(size))
        unfinished.rename(image)


def _partition_table(size: int) -> bytes:
    """A master boot record with one partition, so that the kernel finds it by ROOT_ID."""
    signature = int(ROOT_ID.partition("-")[0], 16)
    linux = 0x83
    entry = struct.pack("<B3xB3xII", 0, linux, START // _SECTOR, size // _SECTOR)
    return struct.pack("<440xI2x16s48xH", signature, entry, 0xAA55)


def _stage(files: Files, tree: Path) -> int:
    """Copy the files to their places below `tree`; how many bytes they are."""
    for folder in FOLDERS:
        (tree / folder).mkdir(parents=True)
    for name in contents.MERGED:
        (tree / name).symlink_to(f"usr/{name}")
    size = 0
    for name, source in files.items():
        target = tree / name[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.suffix == ".xz":  # a module of a newer kernel
            target.with_suffix("").write_bytes(lzma.decompress(source.read_bytes()))
        else:
            shutil.copy2(source, target)
            size += source.stat().st_size
    _link_applets(tree)
    return size


def _link_applets(tree: Path) -> None:
    """busybox is every program that is not there for real."""
    busybox = tree / "usr/bin/busybox"
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for name in names.stdout.split():
        if not (tree / "usr/bin" / name).exists():
            (tree / "usr/bin" / name).symlink_to("busybox")
