"""Makes a signed package from a project folder. The plugin's code is compiled and imported sealed, never here."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jackfield_cli.keys import default_key
from jackfield_cli.sources import Project, collect, normalised, read_project
from jackfield_cli.vendoring import vendored
from jackfield_sandbox import image, sealed
from jackfield_sandbox.layers import Level
from jackfield_sdk.errors import ManifestError, PackageError
from jackfield_sdk.manifest import Manifest, parse_manifest
from jackfield_sdk.package import Signer, WrittenPackage, code_path, is_version, with_presentation, write_package

__all__ = ["PackedResult", "pack_project"]

_DESCRIPTION_LENGTH = 20_000


@dataclass(frozen=True, slots=True)
class PackedResult:
    """What was made.

    Attributes:
        digest: SHA-256 of the package, hex.
        size: Of the package, in bytes.
        files: How many files are in it.
        skipped: Files of the project that were left out because packages do not hold their kind.
    """

    path: Path
    slug: str
    version: str
    digest: str
    size: int
    files: int
    key_id: str
    skipped: tuple[str, ...]
    manifest: Manifest


def pack_project(folder: Path, out: Path, *, level: Level | None = None, key: Signer | None = None) -> PackedResult:
    """Make the package of a plugin's folder. The same folder gives the same bytes.

    Args:
        out: The file to write, or a folder for `<slug>-<version>.jfp`.
        level: How strictly to seal; the best that this process may when None.
        key: Who signs; the author's default key when None.

    Raises:
        PackageError: The folder cannot become a package; `code` says why.
    """
    folder = folder.resolve()
    project = read_project(folder)
    own = collect(project)
    if not {f"src/{project.entry}.py", f"src/{project.entry}/__init__.py"} & own.files.keys():
        raise PackageError(
            f"there is no {project.entry}.py in {folder}",
            code="entry-missing",
            hint="It defines `plugin = jf.Plugin(…)`.",
        )
    files = {**own.files, **vendored(project)}
    code = sealed.compile_modules(files, level=level)
    manifest = _manifest(project, files, code, level)
    signer = key or default_key()
    files |= {code_path(path): data for path, data in code.items()}
    target = out / f"{manifest.slug}-{manifest.version}.jfp" if out.is_dir() else out
    written = _write(target, manifest, files, signer)
    return PackedResult(
        target, manifest.slug, manifest.version, written.digest, written.size, len(written.listing.files),
        signer.key_id, own.skipped, manifest,
    )  # fmt: skip


def _manifest(project: Project, files: dict[str, bytes], code: dict[str, bytes], level: Level | None) -> Manifest:
    """What the code declares, checked against the project file and completed with its texts."""
    described = sealed.describe(image.build(files, code), project.entry, project.slug, level=level)
    try:
        manifest = parse_manifest({**described, "entry": project.entry})
    except ManifestError as error:
        raise PackageError(str(error), code="manifest-invalid", hint=error.hint) from error
    if normalised(manifest.slug) != project.slug:
        raise PackageError(
            f"the plugin calls itself {manifest.slug}, pyproject.toml calls it {project.slug}", code="slug-mismatch"
        )
    if manifest.version != project.version:
        raise PackageError(
            f"the plugin says version {manifest.version}, pyproject.toml says {project.version}",
            code="version-mismatch",
            hint="Write the same semantic version in both.",
        )
    if not is_version(manifest.version):
        raise PackageError(f"{manifest.version!r} is not a semantic version", code="manifest-invalid")
    return with_presentation(
        manifest,
        summary=project.summary if len(project.summary) <= 200 else "",
        description=project.description if len(project.description) <= _DESCRIPTION_LENGTH else "",
        licence=project.licence,
    )


def _write(target: Path, manifest: Manifest, files: dict[str, bytes], signer: Signer) -> WrittenPackage:
    """Write beside the target and rename, so that a package is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".packing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            written = write_package(file, manifest, files, signer)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink()
        raise
    return written
