"""Write the fuzzer's seeds into a folder: every vector, good and malformed."""

import json
import sys
from pathlib import Path

VECTORS = Path(__file__).parent.parent / "vectors"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, key in (("captured", "blobs"), ("golden", "vectors"), ("malformed", "messages")):
        for vector in json.loads((VECTORS / f"{name}.json").read_text())[key]:
            if "hex" in vector:
                seed = bytes.fromhex(vector["hex"])
                (folder / f"{name}-{vector['name']}").write_bytes(seed)
    (folder / "launch").write_bytes(_launch())
    (folder / "mount-sources").write_bytes(_of_runc_1_1())


def _launch() -> bytes:
    """The second message, with one attribute of each kind of the tail's (csrc/message/launch.h)."""
    attributes = {
        62_109: b"tmpfs\0",
        62_111: b"bind\0/a\0/b\0wdm\0tmpfs\0/c\0mode=755,size=9\0\0proc\0/p\0\0\0dev\0/d\0\0m\0"
        b"file\0/f\0text\0\0tree\0/t\0"
        b"7\0w\0sysfs\0/s\0\0\0",
        62_114: (7).to_bytes(4, "little"),
        62_115: b"nofile:7:1024:4096,core:4:0:0\0",
        62_117: bytes((1, 0, 0, 0, 0, 0, 0, 0)),
        62_120: (5).to_bytes(4, "little"),
        62_121: b"0:CAP_CHOWN,5:CAP_KILL\0",
        62_123: b"/usr\0rx\0/tmp\0rwx\0bind\080\0connect\0none\0scope\0as\0paths\0any\0",
        62_124: bytes((6, 0, 0, 0, 0, 0, 0xFF, 0x7F)),
    }
    return _message(62_100, attributes)


def _of_runc_1_1() -> bytes:
    """Clone flags for a new mount namespace, and mount sources, one of them empty."""
    return _message(62_000, {27_281: (0x20000).to_bytes(4, "little"), 27_290: b"/a\0\0/b/c\0"})


def _message(kind: int, attributes: dict[int, bytes]) -> bytes:
    body = b"".join(
        (len(value) + 4).to_bytes(2, "little") + type.to_bytes(2, "little") + value
        + bytes(-len(value) % 4)
        for type, value in attributes.items()
    )  # fmt: skip
    header = (len(body) + 16).to_bytes(4, "little") + kind.to_bytes(2, "little")
    return header + bytes(10) + body


if __name__ == "__main__":
    main(Path(sys.argv[1]))
