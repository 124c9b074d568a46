"""Code images: one file with all modules of a release, marshalled, and its data files.

An isolate opens no files. It maps an image before it is locked down and imports from the mapping afterwards; isolates
of the same release share the pages. The standard library is an image too, made from the interpreter's own compiled
cache.

Layout: the magic line, four bytes with the header's length, the header (msgpack), the blobs. Offsets count from the
blobs.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import io
import marshal
import struct
import sys
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable, TraversableResources
from types import CodeType, ModuleType
from typing import Any

import msgspec

from jackfield_sdk.transports import PATCHED, patch

__all__ = ["Image", "ImageError", "ImageFinder", "Module", "build", "install", "locate", "module_name", "mount"]

MAGIC = b"JFIMG1\n"
_LENGTH = struct.Struct("<I")
_ROOTS = ("src/", "vendor/")


class ImageError(ValueError):
    """Not an image, or one made by another Python."""


class Module(msgspec.Struct, frozen=True, array_like=True):
    """Where a module's code lies. A namespace package has no code."""

    offset: int
    length: int
    is_package: bool
    path: str


class _Header(msgspec.Struct, frozen=True):
    python: bytes
    modules: dict[str, Module]
    files: dict[str, tuple[int, int]]


def module_name(path: str) -> tuple[str, bool]:
    """`a/b.py` → (`a.b`, False); `a/__init__.py` → (`a`, True)."""
    parts = path.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        return ".".join(parts[:-1]), True
    return ".".join(parts), False


def build(files: Mapping[str, bytes], code: Mapping[str, bytes]) -> bytes:
    """An image from a package's files.

    Args:
        files: Path → contents; what lies under `src/` and `vendor/` can be imported or read as a resource.
        code: Path of a `.py` file → its marshalled code.

    Returns:
        The same bytes for the same input, always.
    """
    blobs = bytearray()
    modules: dict[str, Module] = {}
    resources: dict[str, tuple[int, int]] = {}
    for path in sorted(files):
        root = next((root for root in _ROOTS if path.startswith(root)), None)
        if root is None:
            continue
        inner = path[len(root) :]
        if inner not in resources:
            resources[inner] = (len(blobs), len(files[path]))
            blobs += files[path]
        if path in code:
            name, is_package = module_name(inner)
            if name not in modules:  # `src` sorts before `vendor`: the author's own module wins
                modules[name] = Module(len(blobs), len(code[path]), is_package, inner)
                blobs += code[path]
    for name in list(modules):
        parent = name.rpartition(".")[0]
        while parent and parent not in modules:
            modules[parent] = Module(0, 0, True, parent.replace(".", "/"))
            parent = parent.rpartition(".")[0]
    return pack(modules, resources, blobs)


def pack(modules: dict[str, Module], resources: dict[str, tuple[int, int]], blobs: bytes | bytearray) -> bytes:
    """Put an image together from its parts."""
    header = msgspec.msgpack.encode(_Header(importlib.util.MAGIC_NUMBER, modules, resources), order="deterministic")
    return b"".join((MAGIC, _LENGTH.pack(len(header)), header, blobs))


class Image:
    """Read access to an image in memory.

    Args:
        buffer: The whole image; usually a mapping of its file.
        is_trusted: Read the header when it is asked for first, not now: many a plugin needs one module, whose place is
            known.

    Raises:
        ImageError: Damaged, or made by another Python.
    """

    __slots__ = ("_base", "_header", "_view")

    def __init__(self, buffer: Any, *, is_trusted: bool = False) -> None:
        self._view = memoryview(buffer)
        if bytes(self._view[: len(MAGIC)]) != MAGIC:
            raise ImageError("this is not a code image")
        self._header: _Header | None = None
        self._base = 0
        if not is_trusted:
            self._read_header()

    def _read_header(self) -> _Header:
        start = len(MAGIC) + _LENGTH.size
        try:
            (length,) = _LENGTH.unpack_from(self._view, len(MAGIC))
            header = msgspec.msgpack.decode(self._view[start : start + length], type=_Header)
        except (msgspec.DecodeError, struct.error) as error:
            raise ImageError(f"damaged header: {error}") from error
        if header.python != importlib.util.MAGIC_NUMBER:
            raise ImageError("made by another version of Python")
        self._header = header
        self._base = start + length
        return header

    @property
    def modules(self) -> dict[str, Module]:
        """By their names."""
        return (self._header or self._read_header()).modules

    @property
    def files(self) -> dict[str, tuple[int, int]]:
        """Offset and length of each file, by its path."""
        return (self._header or self._read_header()).files

    def place(self, module: Module) -> tuple[int, int]:
        """Where in the image the code of one of its modules is: offset and length."""
        return self._base + module.offset, module.length

    def code_at(self, offset: int, length: int) -> CodeType:
        """Unmarshalled code from a place."""
        # In a sealed process: hostile code objects can hurt nobody else.
        return marshal.loads(self._view[offset : offset + length])  # noqa: S302  # see above

    def code(self, module: Module) -> CodeType:
        """Unmarshalled code of a module."""
        return self.code_at(*self.place(module))

    def read(self, path: str) -> bytes:
        """Contents of a file.

        Raises:
            FileNotFoundError: There is none of this name.
        """
        if path not in self.files:
            raise FileNotFoundError(path)
        offset, length = self.files[path]
        return bytes(self._view[self._base + offset : self._base + offset + length])

    def names(self, folder: str) -> Iterator[str]:
        """Names directly inside a folder (`""` is the root)."""
        prefix = f"{folder}/" if folder else ""
        seen: set[str] = set()
        for path in self.files:
            if path.startswith(prefix):
                name = path[len(prefix) :].partition("/")[0]
                if name not in seen:
                    seen.add(name)
                    yield name

    def has_file(self, path: str) -> bool:
        """Whether there is a file of this name."""
        return path in self.files


class ImageFinder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports from an image; put it on `sys.meta_path`."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        module = self._image.modules.get(fullname)
        if module is None:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=module.path, is_package=module.is_package)
        spec.has_location = True
        return spec

    def load(self, name: str, offset: int, length: int) -> ModuleType:
        """Import one top-level module the shortest way: each page that the import system writes to is copied."""
        module = ModuleType(name)
        path = f"{name}.py"
        spec = importlib.machinery.ModuleSpec(name, self, origin=path)
        spec.has_location = True
        attributes = module.__dict__
        attributes["__spec__"] = spec
        attributes["__loader__"] = self
        attributes["__file__"] = path
        attributes["__package__"] = ""
        sys.modules[name] = module
        try:
            exec(self._image.code_at(offset, length), attributes)  # noqa: S102  # importing is executing; the process is sealed
        except BaseException:
            del sys.modules[name]
            raise
        return module

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        entry = self._image.modules[module.__name__]
        if entry.length:
            exec(self._image.code(entry), module.__dict__)  # noqa: S102  # importing is executing; the process is sealed
        if module.__name__ in PATCHED:
            # It would open a connection, and there are none.
            patch(module)

    def get_code(self, fullname: str) -> CodeType | None:
        module = self._image.modules[fullname]
        return self._image.code(module) if module.length else None

    def get_source(self, fullname: str) -> str | None:
        module = self._image.modules.get(fullname)
        if module is None or not self._image.has_file(module.path):
            return None
        return importlib.util.decode_source(self._image.read(module.path))

    def is_package(self, fullname: str) -> bool:
        return self._image.modules[fullname].is_package

    def get_data(self, path: str) -> bytes:
        return self._image.read(path)

    def get_resource_reader(self, fullname: str) -> TraversableResources:
        module = self._image.modules[fullname]
        folder = module.path.rpartition("/")[0] if not module.path.endswith("/") else module.path
        return _Resources(_Node(self._image, folder if module.length else module.path))


class _Resources(TraversableResources):
    def __init__(self, root: _Node) -> None:
        self._root = root

    def files(self) -> Traversable:
        return self._root


class _Node(Traversable):
    """A file or folder of the image, as `importlib.resources` walks it."""

    def __init__(self, image: Image, path: str) -> None:
        self._image = image
        self._path = path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def iterdir(self) -> Iterator[_Node]:
        for name in self._image.names(self._path):
            yield self.joinpath(name)

    def joinpath(self, *parts: Any) -> _Node:
        return _Node(self._image, "/".join(part for part in (self._path, *map(str, parts)) if part))

    def __truediv__(self, child: Any) -> _Node:
        return self.joinpath(child)

    def is_file(self) -> bool:
        return self._image.has_file(self._path)

    def is_dir(self) -> bool:
        return not self.is_file() and next(self._image.names(self._path), None) is not None

    def read_bytes(self) -> bytes:
        return self._image.read(self._path)

    def read_text(self, encoding: str | None = None) -> str:
        return self.read_bytes().decode(encoding or "utf-8")

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "b" in mode:
            return io.BytesIO(self.read_bytes())
        return io.StringIO(self.read_text(kwargs.get("encoding")))


def install(image: Image) -> ImageFinder:
    """Make an image's modules importable, before those of images installed earlier."""
    finder = ImageFinder(image)
    sys.meta_path.insert(0, finder)
    return finder


def locate(image: Any, entry: str) -> tuple[int, int]:
    """Offset and length of a module's code when `mount` can load it the shortest way; else zeros.

    That is a module of its own: no package, and in none.
    """
    opened = Image(image)
    module = opened.modules.get(entry)
    if module is None or module.is_package or module.path != f"{entry}.py":
        return 0, 0
    return opened.place(module)


def mount(source: Any, entry: str, offset: int = 0, length: int = 0) -> ImageFinder:
    """In an isolate: make a release's code importable, and import its entry the shortest way.

    Args:
        offset, length: What `locate` says.

    Raises:
        ImportError: This is no image.
    """
    try:
        image = Image(source, is_trusted=bool(length))
        if not length:
            offset, length = locate(source, entry)
    except ImageError as error:
        raise ImportError(f"the code image cannot be read: {error}") from error
    finder = install(image)
    if length and entry not in sys.modules:
        finder.load(entry, offset, length)
    return finder
