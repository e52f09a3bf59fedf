# The cffi module that csrc/build_binding.py describes.
from typing import Any

ffi: Any
lib: Any
