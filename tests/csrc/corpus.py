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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
