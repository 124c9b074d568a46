"""Is a package what it says? Its source is compiled and imported again, sealed, and compared. All of this blocks."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping

from semantic_version import SimpleSpec  # pyright: ignore[reportMissingTypeStubs]  # it has none

from jackfield.conditions import ConditionInvalidError, check_condition
from jackfield.registry.errors import BytecodeMismatchError, ManifestMismatchError, SealingUnavailableError
from jackfield_sandbox import image, sealed
from jackfield_sandbox.layers import Level
from jackfield_sdk.errors import ManifestError, PackageError
from jackfield_sdk.manifest import Manifest, parse_manifest
from jackfield_sdk.package import Package, code_path, first_difference

__all__ = ["verified_image"]


def verified_image(package: Package, files: Mapping[str, bytes], level: Level | None) -> bytes:
    """The code image of a package whose code and manifest were found to agree.

    Only what was compiled here goes into it. The package's own compiled files are compared when they come from the same
    compiler, and never run.

    Raises:
        PackageError: The source cannot be compiled or imported, or the manifest names a range that cannot be read.
        BytecodeMismatchError: A compiled file is not made from its source.
        ManifestMismatchError: The code declares something else than the signed manifest.
        SealingUnavailableError: There is no sealed process to do it in.
    """
    manifest = package.manifest
    _check_words(manifest)
    _check_conditions(manifest)
    sources = {path: data for path, data in files.items() if path.startswith(("src/", "vendor/"))}
    try:
        compiled = sealed.compile_modules(sources, level=level)
        if package.listing.magic == importlib.util.MAGIC_NUMBER.hex():
            _compare(files, compiled)
        made = image.build(sources, compiled)
        described = sealed.describe(made, manifest.entry, manifest.slug, level=level)
    except OSError as error:
        raise SealingUnavailableError("Packages cannot be checked now: no process can be sealed.") from error
    except PackageError as error:
        if error.code == "sealing-failed":
            raise SealingUnavailableError(f"Packages cannot be checked now: {error}") from error
        raise
    except (UnicodeDecodeError, RecursionError) as error:
        # An import may send anything in the manifest's place: text that is not UTF-8, a nest without end.
        raise PackageError(f"what the code says of itself cannot be read: {error}", code="sealed-crashed") from error
    try:
        # The entry is the packer's word: code does not know the name of the file it is in.
        declared = parse_manifest({**described, "entry": manifest.entry})
    except (ManifestError, TypeError) as error:
        raise PackageError(f"what the code declares is no manifest: {error}", code="manifest-invalid") from error
    if (field := first_difference(manifest, declared)) is not None:
        raise ManifestMismatchError(f"The manifest and the code differ in `{field}`.", field=field)
    return made


def _compare(files: Mapping[str, bytes], compiled: Mapping[str, bytes]) -> None:
    for path, code in sorted(compiled.items()):
        if files.get(code_path(path)) != code:
            raise BytecodeMismatchError(f"The compiled form of {path} is not what it compiles to.", path=path)


def _check_conditions(manifest: Manifest) -> None:
    """A condition that could never be evaluated is the author's to hear of, not the tenant's."""
    for kind in ("filters", "events", "widgets"):
        for index, part in enumerate(getattr(manifest, kind)):
            if part.when is None:
                continue
            try:
                check_condition(part.when)
            except ConditionInvalidError as error:
                raise PackageError(
                    f"{kind}[{index}].when: {error}", code="manifest-invalid", hint=error.hint
                ) from error


def _check_words(manifest: Manifest) -> None:
    """What would only fail later, in a tenant's hands: ranges that nobody can read, names that hide something."""
    for where, text in (
        ("platform", manifest.platform),
        *((f"requires.{n.slug}", n.versions) for n in manifest.requires),
    ):
        try:
            SimpleSpec(",".join(part.strip() for part in text.split(",")) or "*")
        except ValueError as error:
            raise PackageError(
                f"{where}: {text!r} is not a version range", code="range-invalid", hint="Write `>=1.2,<2` or `^1.2`."
            ) from error
    for where, text in _lines(manifest):
        if not text.isprintable():
            raise PackageError(
                f"{where}: it has characters that cannot be seen", code="manifest-invalid", hint="Write it in one line."
            )


def _lines(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Texts that are shown in one line, where a line end would make two statements out of one."""
    yield from ((name, getattr(manifest, name)) for name in ("name", "summary", "author", "licence", "category"))
    yield from (("tags", tag) for tag in manifest.tags)
    yield from (("permission_reasons", reason) for reason in manifest.permission_reasons.values())
    yield from (("widgets", widget.title) for widget in manifest.widgets)
    yield from (("pages", page.title) for page in manifest.pages)
    yield from (("menu", item.label) for item in manifest.menu)
    yield from (("field_types", field.label) for field in manifest.field_types)
