"""The package file: one release of a plugin, signed, read strictly.

A package is a gzip stream with a plain `ustar` archive in it: `jackfield.list`, `jackfield.sig`, then exactly the
listed files, in the list's order. The list names every file with its SHA-256 and size; the signature covers the list.
`PackageReader` is fed chunks as they arrive and hands out a file only when signature, order, size and hash hold;
everything else is a `PackageError` whose `code` is one of `CODES`. `write_package` makes the file, with the same rules,
and the same bytes for the same input.
"""

from __future__ import annotations

from jackfield_sdk.package.codes import CODES
from jackfield_sdk.package.listing import (
    FORMAT,
    ListedFile,
    PackageList,
    is_version,
)
from jackfield_sdk.package.presentation import PRESENTATION, first_difference, with_presentation
from jackfield_sdk.package.reader import Package, PackageFile, PackageReader, read_package
from jackfield_sdk.package.rules import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_LIST_BYTES,
    MAX_PATH_BYTES,
    MAX_TOTAL_BYTES,
    check_content,
    check_path,
    check_paths,
    code_path,
    is_native,
)
from jackfield_sdk.package.signing import Signature, Signer, Verify, key_id_of, key_proof_message, signed_message
from jackfield_sdk.package.writer import WrittenPackage, write_package

__all__ = [
    "CODES",
    "FORMAT",
    "MAX_FILES",
    "MAX_FILE_BYTES",
    "MAX_LIST_BYTES",
    "MAX_PATH_BYTES",
    "MAX_TOTAL_BYTES",
    "PRESENTATION",
    "ListedFile",
    "Package",
    "PackageFile",
    "PackageList",
    "PackageReader",
    "Signature",
    "Signer",
    "Verify",
    "WrittenPackage",
    "check_content",
    "check_path",
    "check_paths",
    "code_path",
    "first_difference",
    "is_native",
    "is_version",
    "key_id_of",
    "key_proof_message",
    "read_package",
    "signed_message",
    "with_presentation",
    "write_package",
]
