"""What may lie in a package: paths, kinds of file, sizes. The writer and the reader ask the same questions."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

from jackfield_sdk.package.codes import refusal

__all__ = [
    "MAX_FILES",
    "MAX_FILE_BYTES",
    "MAX_LIST_BYTES",
    "MAX_PATH_BYTES",
    "MAX_SIGNATURE_BYTES",
    "MAX_TOTAL_BYTES",
    "check_content",
    "check_path",
    "check_paths",
    "code_path",
    "is_native",
]

MAX_FILES = 5_000
MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_TOTAL_BYTES = 64 * 1024 * 1024
"""Of the whole inflated stream, headers and padding included."""
MAX_LIST_BYTES = 2 * 1024 * 1024
MAX_SIGNATURE_BYTES = 1024
MAX_PATH_BYTES = 255
MAX_PATH_DEPTH = 16

_ROOTS = ("src", "vendor", "code")

_ENDINGS = frozenset({
    "cfg", "css", "csv", "dat", "geojson", "gif", "graphql", "htm", "html", "ico", "ics", "ini", "j2", "jinja",
    "jinja2", "jpeg", "jpg", "json", "jsonl", "lark", "md", "mo", "mustache", "png", "po", "pot", "proto", "py", "pyi",
    "rst", "sql", "svg", "template", "tmpl", "toml", "tsv", "txt", "typed", "vcf", "webp", "xml", "xsd", "xsl", "yaml",
    "yml",
})  # fmt: skip
_BARE_NAMES = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS|METADATA)([.-][A-Za-z0-9.-]+)?")
# Written out although the list above leaves them out: `LICENSE.so` must not pass as a licence.
_NATIVE_ENDINGS = frozenset({
    "a", "com", "dll", "dylib", "exe", "ko", "lib", "o", "obj", "pyd", "so", "sys", "wasm",
})  # fmt: skip
_OTHER_ENDINGS = frozenset({
    "bat", "egg", "gz", "jar", "pickle", "pkl", "pth", "pyc", "pyo", "sh", "tar", "whl", "zip",
})  # fmt: skip
_NOT_PLAIN = re.compile(r"^\.{0,2}$|[/\\:*?\"<>|]")
# Windows opens a device for any of these, whatever the ending; somebody unpacks a package there to look into it.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9])(\..*)?", re.DOTALL)
_STARTUP = frozenset({"sitecustomize", "usercustomize"})
# A plugin that brings its own SDK would answer the platform in a language that nobody has checked.
_RESERVED_MODULES = frozenset({"jackfield", "jackfield_sdk", "jackfield_sandbox", "msgspec"})

_NATIVE_STARTS = (
    b"\x7fELF", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf", b"\xbe\xba\xfe\xca", b"\xbf\xba\xfe\xca",  # Mach-O for several machines
    b"!<arch>\n", b"!<thin>\n", b"\0asm", b"BC\xc0\xde", b"\xde\xc0\x17\x0b",
)  # fmt: skip


def code_path(source: str) -> str:
    """Where the compiled form of a `.py` file lies: `src/plugin.py` → `code/src/plugin.pyc`."""
    return f"code/{source.removesuffix('.py')}.pyc"


def check_path(path: str) -> None:
    """Whether a file of this name may be in a package at all.

    Raises:
        PackageError: `package-path-invalid` or `package-file-refused`.
    """
    _check_form(path)
    if path == "manifest.json":
        return
    root, *inner = path.split("/")
    if root not in _ROOTS or not inner:
        raise refusal("package-path-invalid", f"{path!r} is outside src/, vendor/ and code/")
    if root == "code":
        if len(inner) < 2 or inner[0] not in ("src", "vendor") or not path.endswith(".pyc"):
            raise refusal("package-path-invalid", f"{path!r}: code/ holds the compiled form of src/ and vendor/ only")
        inner = inner[1:]
    for segment in inner:
        stem = _fold(segment).partition(".")[0]
        if stem in _STARTUP:
            raise refusal("package-file-refused", f"{path!r} would run when an interpreter starts")
        if stem == "__pycache__":
            raise refusal("package-file-refused", f"{path!r} is a cache")
    if _fold(inner[0]).partition(".")[0] in _RESERVED_MODULES:
        raise refusal("package-file-refused", f"{path!r} would take the place of the platform's own module")
    if root != "code":
        _check_kind(path, inner[-1])


def _check_form(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise refusal("package-path-invalid", "a path has a lone surrogate") from error
    if not 0 < size <= MAX_PATH_BYTES:
        raise refusal("package-path-invalid", f"a path has {size} bytes; 1 to {MAX_PATH_BYTES} are allowed")
    # Not printable are control and format characters (they hide or reverse text), line ends and odd spaces.
    if not path.isprintable():
        raise refusal("package-path-invalid", f"{path!r} has a character that is not allowed")
    if unicodedata.normalize("NFC", path) != path:
        raise refusal("package-path-invalid", f"{path!r} is not in Unicode form NFC")
    segments = path.split("/")
    if len(segments) > MAX_PATH_DEPTH:
        raise refusal("package-path-invalid", f"{path!r} is deeper than {MAX_PATH_DEPTH} levels")
    for segment in segments:
        # Folded as well: `．．` and `℀` are harmless here and something else where names are simplified.
        if _NOT_PLAIN.search(segment) or _NOT_PLAIN.search(_fold(segment)):
            raise refusal("package-path-invalid", f"{path!r} is not a plain relative path")
        if _DEVICE.fullmatch(_fold(segment)):
            raise refusal("package-path-invalid", f"{path!r} has the name of a device")
        if segment.startswith("."):
            raise refusal("package-file-refused", f"{path!r} is hidden")
        if segment[-1] in ". " or segment[0] == " ":
            raise refusal("package-path-invalid", f"{path!r} begins or ends with a space, or ends with a dot")


def _check_kind(path: str, name: str) -> None:
    endings = _fold(name).split(".")[1:]
    if any(ending in _NATIVE_ENDINGS for ending in endings):
        raise refusal("package-file-refused", f"{path!r} looks like native code")
    ending = endings[-1] if endings else ""
    if ending not in _OTHER_ENDINGS and (ending in _ENDINGS or _BARE_NAMES.fullmatch(name)):
        return
    raise refusal("package-file-refused", f"{path!r}: files of this kind are not allowed")


def is_native(data: bytes) -> bool:
    """Whether the bytes begin like an executable, a shared library or an object archive."""
    if data.startswith(_NATIVE_STARTS):
        return True
    if data[:2] == b"MZ" and len(data) >= 64:  # a table of countries may begin with MZ, so follow the pointer
        at = int.from_bytes(data[60:64], "little")
        return data[at : at + 4] == b"PE\0\0"
    return False


def check_content(path: str, data: bytes) -> None:
    """Whether these bytes may be in a package.

    Raises:
        PackageError: `package-file-refused` for native code, `package-too-large`.
    """
    if len(data) > MAX_FILE_BYTES:
        raise refusal("package-too-large", f"{path!r} is larger than {MAX_FILE_BYTES} bytes")
    if is_native(data):
        raise refusal("package-file-refused", f"{path!r} is native code")


def check_paths(paths: Iterable[str]) -> None:
    """Whether these files can lie beside one another, on any file system and in one module namespace.

    Raises:
        PackageError: `package-path-collision`, `package-code-unpaired`, `package-too-many-files`,
            `package-list-invalid` (there is no manifest), and all that `check_path` raises.
    """
    names = list(paths)
    if len(names) > MAX_FILES:
        raise refusal("package-too-many-files", f"{len(names)} files; {MAX_FILES} are allowed")
    taken: dict[str, tuple[str, bool]] = {}
    for path in names:
        check_path(path)
        _claim(taken, path)
    if "manifest.json" not in names:
        raise refusal("package-list-invalid", "there is no manifest.json")
    _check_modules(names)
    wanted = {code_path(path) for path in names if path.endswith(".py")}
    present = {path for path in names if path.startswith("code/")}
    if odd := sorted(wanted ^ present):
        what = "has no source" if odd[0] in present else "is missing"
        raise refusal("package-code-unpaired", f"{odd[0]!r} {what}")


def _check_modules(names: Iterable[str]) -> None:
    """`src/` and `vendor/` become one namespace: no file of one hides a file of the other, no module is there twice."""
    inner: dict[str, str] = {}
    modules: dict[str, str] = {}
    for path in names:
        root, _, rest = path.partition("/")
        if root not in ("src", "vendor"):
            continue
        claims = [inner.setdefault(_fold(rest), path)]
        if path.endswith(".py"):
            # `a.py`, `a/__init__.py`: whoever reads one may run the other. `a.b.py` is loaded as `a/b.py` is.
            name = _fold(rest.removesuffix(".py").removesuffix("/__init__")).replace("/", ".")
            claims.append(modules.setdefault(name, path))
        if other := next((other for other in claims if other != path), None):
            raise refusal("package-path-collision", f"{path!r} and {other!r} would be the same once loaded")


def _claim(taken: dict[str, tuple[str, bool]], path: str) -> None:
    """Remember a file and its folders, by what a file system that folds case would call them."""
    parts = path.split("/")
    folded = [_fold(part) for part in parts]
    for depth in range(1, len(parts) + 1):
        here, is_file = "/".join(parts[:depth]), depth == len(parts)
        key = "/".join(folded[:depth])
        known = taken.get(key)
        if known is None:
            taken[key] = (here, is_file)
        elif is_file or known != (here, False):
            raise refusal("package-path-collision", f"{path!r} collides with {known[0]!r}")


@functools.lru_cache(maxsize=8192)
def _fold(text: str) -> str:
    # Compatibility form, not just canonical: it is what Python does to the name in an `import` statement.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
