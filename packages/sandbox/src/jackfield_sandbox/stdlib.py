"""The standard library inside an isolate: preloaded where it matters, served from an image otherwise.

Extension modules cannot be loaded after lock-down (mapping executable memory is refused), so the zygote loads them all.
Pure modules that most plugins use are preloaded too (`boot.py`), where their pages are shared; the rest comes from the
image on demand. So do those of the SDK that few plugins use: there is no file to import them from.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import marshal
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jackfield_sdk
from jackfield_sandbox.image import MAGIC, Module, module_name, pack

__all__ = ["cached_image", "forget_random"]

_LEFT_OUT = {
    "test", "idlelib", "tkinter", "turtledemo", "turtle", "lib2to3", "ensurepip", "venv", "pydoc_data", "distutils",
    "curses", "dbm", "sqlite3", "ctypes", "multiprocessing", "unittest", "antigravity", "this", "site-packages",
    "__phello__", "ssl",
}  # fmt: skip
_SDK = Path(jackfield_sdk.__file__).parent
_SDK_LEFT_OUT = {"checks", "package", "testing"}
"""What no isolate has any use for."""

_STANDS_IN = {"jackfield_sdk.transports.tls": "ssl"}
"""Module of the SDK → name that isolates import it by. OpenSSL's record layer is left out of them, see `boot`: TLS is
the platform's to speak. Libraries want the names in it all the same."""


def forget_random() -> None:
    """In the zygote, after the last import. A plugin's first import of `random` comes from the image and seeds itself:
    no two isolates draw the same numbers, and no fork pays for reseeding.

    Raises:
        RuntimeError: A preloaded module holds on to the generator that would be shared.
    """
    random = sys.modules.pop("random", None)
    if random is None:
        return
    shared = random._inst  # there is no public name for it
    for name, module in list(sys.modules.items()):
        # An import that was made to fail has None in its place.
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if getattr(value, "__self__", None) is shared or value is random:
                raise RuntimeError(f"{name}.{key} would give every isolate the same random numbers")


def cached_image(folder: Path) -> Path:
    """Path of the standard library's image, made when it is not there yet.

    Args:
        folder: A directory that only the caller's user may write.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    version = sys.version.encode()
    parts = [MAGIC, importlib.util.MAGIC_NUMBER, version, str(root).encode(), _tzdata_version(), str(_SDK).encode()]
    parts += [path.read_bytes() for path in _sdk_files()]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    target = folder / f"stdlib-{key}.img"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".stdlib-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(_build(root))
            os.fchmod(file.fileno(), 0o444)
        Path(temporary).rename(target)
    return target


def _tzdata_version() -> bytes:
    try:
        import tzdata
    except ImportError:
        return b""
    return tzdata.__version__.encode()


def _build(root: Path) -> bytes:
    blobs = bytearray()
    modules: dict[str, Module] = {}
    resources: dict[str, tuple[int, int]] = {}
    for path in _python_files(root):
        inner = path.relative_to(root).as_posix()
        name, is_package = module_name(inner)
        code = _code_of(path, inner)
        if code is not None:
            modules[name] = Module(len(blobs), len(code), is_package, f"stdlib/{inner}")
            blobs += code
    for path in _sdk_files():
        name, is_package = module_name(path.relative_to(_SDK.parent).as_posix())
        # Under its own path, as the modules that are preloaded: traces leave out what lies there.
        code = marshal.dumps(compile(path.read_bytes(), str(path), "exec", dont_inherit=True))
        name = _STANDS_IN.get(name, name)
        modules[name] = Module(len(blobs), len(code), is_package, f"sdk/{path.relative_to(_SDK.parent)}")
        blobs += code
    for inner, data in _time_zones():
        if inner.endswith(".py"):
            name, is_package = module_name(inner)
            code = marshal.dumps(compile(data, inner, "exec", dont_inherit=True))
            modules[name] = Module(len(blobs), len(code), is_package, inner)
            blobs += code
        else:
            resources[inner] = (len(blobs), len(data))
            blobs += data
    return pack(modules, resources, blobs)


def _python_files(root: Path) -> Iterator[Path]:
    for entry in sorted(root.iterdir()):
        if entry.name in _LEFT_OUT or entry.stem in _LEFT_OUT:
            continue
        if entry.suffix == ".py":
            yield entry
        elif entry.is_dir() and (entry / "__init__.py").exists():
            yield from sorted(p for p in entry.rglob("*.py") if "tests" not in p.parts and "test" not in p.parts)


def _sdk_files() -> Iterator[Path]:
    for path in sorted(_SDK.rglob("*.py")):
        if path.relative_to(_SDK).parts[0] not in _SDK_LEFT_OUT:
            yield path


def _code_of(path: Path, inner: str) -> bytes | None:
    cached = Path(importlib.util.cache_from_source(str(path)))
    with contextlib.suppress(OSError):
        data = cached.read_bytes()
        if data[:4] == importlib.util.MAGIC_NUMBER and len(data) > 16:
            return data[16:]
    try:
        return marshal.dumps(compile(path.read_bytes(), f"stdlib/{inner}", "exec", dont_inherit=True))
    except (SyntaxError, ValueError):  # a few files are examples of wrong code
        return None


def _time_zones() -> Iterator[tuple[str, bytes]]:
    """Files of the `tzdata` package, when it is installed: `zoneinfo` reads them as resources."""
    spec = importlib.util.find_spec("tzdata")
    if spec is None or not spec.submodule_search_locations:
        return
    root = Path(spec.submodule_search_locations[0])
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield f"tzdata/{path.relative_to(root).as_posix()}", path.read_bytes()
