# The cffi module that csrc/build_libseccomp.py describes.
from typing import Any

ffi: Any
