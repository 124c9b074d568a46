"""Every reason for which a package is refused."""

from __future__ import annotations

from jackfield_sdk.errors import PackageError

__all__ = ["CODES", "refusal"]

_REPACK = "Make the package with `jackfield pack`."

CODES = {
    "package-code-unpaired": _REPACK,
    "package-entry-type": "Only ordinary files are allowed: no links, devices or folders, no pax or GNU headers.",
    "package-file-missing": _REPACK,
    "package-file-refused": "Leave the file out: a plugin is Python source and data.",
    "package-file-unlisted": _REPACK,
    "package-format-unsupported": "Make the package with a version of `jackfield pack` that this platform knows.",
    "package-gzip-invalid": "The file was damaged or not made by `jackfield pack`.",
    "package-hash-mismatch": "The file was changed after it was signed.",
    "package-header-invalid": _REPACK,
    "package-list-invalid": _REPACK,
    "package-manifest-mismatch": _REPACK,
    "package-order": _REPACK,
    "package-path-collision": "Give each file a name that differs in more than case or Unicode form.",
    "package-path-invalid": "Use short relative paths without control characters, `..`, `\\` or `:`.",
    "package-size-mismatch": "The file was changed after it was signed.",
    "package-too-large": "Leave out what the plugin does not need.",
    "package-too-many-files": "Leave out what the plugin does not need.",
    "package-trailing-data": _REPACK,
    "package-truncated": "The upload ended early; send it again.",
    "package-unsigned": "Sign the package: `jackfield pack` does.",
    "manifest-invalid": "",
}
"""Code → what to do about it."""


def refusal(code: str, message: str, *, hint: str | None = None) -> PackageError:
    """The error for a rule that is broken."""
    return PackageError(message, code=code, hint=CODES[code] if hint is None else hint)
