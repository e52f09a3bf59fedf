"""Write the header of a memory image that this machine has made, for the fuzzer to start from.

Args: the directory to write to.
"""

import struct
import sys
import tempfile
from pathlib import Path

from nsenter._interpreter import image, image_maker

folder = tempfile.mkdtemp()
image.directories = lambda: iter([folder])
content = Path(image_maker.make(image.PAYLOAD)).read_bytes()
size = struct.unpack_from("=Q", content, 24)[0]
Path(sys.argv[1], "image").write_bytes(content[:size])
