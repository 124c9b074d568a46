"""The kernel layers around plugin code: sealing, the zygote, code images, one-shot sealed runs.

A package of its own because both sides need it: the author's `pack` imports a plugin in a sealed process, and the
platform runs it in one. Nothing here knows of tenants, grants or databases.
"""

from __future__ import annotations

from jackfield_sandbox.image import Image, ImageError, build
from jackfield_sandbox.launch import best_level, start_zygote
from jackfield_sandbox.layers import LEVELS, Layer, Level, layers_of

__all__ = ["LEVELS", "Image", "ImageError", "Layer", "Level", "best_level", "build", "layers_of", "start_zygote"]
