"""The package store: `store/<digest[:2]>/<digest>/`, read-only, whole or not there at all. Everything here blocks."""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import os
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from jackfield.registry.errors import StoreUnavailableError

__all__ = ["Contents", "Store", "Workspace"]

_PACKAGE = "package.jfp"
_IMAGE = "image"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of one release."""

    package: bytes
    image: bytes
    manifest: bytes


class Workspace:
    """A folder for one upload. It is locked while it is used, so that another process can tell it from a leftover.

    Attributes:
        spool: File for contents on their way.
        release: What becomes the release's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.spool = folder / "spool"
        self.release = folder / "release"
        self.release.mkdir()

    @property
    def package(self) -> Path:
        """Where the uploaded file goes."""
        return self.release / _PACKAGE

    def complete(self, image: bytes, manifest: bytes) -> None:
        """Add what was made from the package."""
        (self.release / _IMAGE).write_bytes(image)
        (self.release / _MANIFEST).write_bytes(manifest)

    def discard(self) -> None:
        """Remove it with all that is left in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


class Store:
    """Keeps packages and their code images by the package's digest.

    Args:
        root: Made when it is not there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"

    def image_path(self, digest: str) -> Path:
        return self._folder(digest) / _IMAGE

    def package_path(self, digest: str) -> Path:
        return self._folder(digest) / _PACKAGE

    def has(self, digest: str) -> bool:
        """Whether the release is here."""
        return self.image_path(digest).exists()

    def contents(self, digest: str) -> Contents:
        """The release's files.

        Raises:
            StoreUnavailableError: The disk refuses.
        """
        folder = self._folder(digest)
        with translated():
            return Contents(*((folder / name).read_bytes() for name in (_PACKAGE, _IMAGE, _MANIFEST)))

    def take(self, digest: str, contents: Contents) -> None:
        """Have a release that another node took in.

        Raises:
            StoreUnavailableError: The disk refuses.
        """
        workspace = self.workspace()
        try:
            with translated():
                workspace.package.write_bytes(contents.package)
                workspace.complete(contents.image, contents.manifest)
            self.adopt(workspace, digest)
        finally:
            workspace.discard()

    def workspace(self) -> Workspace:
        """A new workspace.

        Raises:
            StoreUnavailableError: The disk refuses.
        """
        with translated():
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            while True:
                folder = Path(tempfile.mkdtemp(dir=self._incoming))
                # Between making and locking it, a sweep may take it for a leftover.
                with contextlib.suppress(FileNotFoundError):
                    return Workspace(folder)

    def adopt(self, workspace: Workspace, digest: str) -> None:
        """Make a workspace's release the one of this digest.

        The files are on the disk before the name is: a crash leaves the whole release or none. A folder of the same
        content that is there already (a crash came before the database was told) is left; a different one is replaced.

        Raises:
            StoreUnavailableError: The disk refuses.
        """
        target = self._folder(digest)
        with translated():
            for path in workspace.release.iterdir():
                path.chmod(0o444)
                _sync(path)
            _sync(workspace.release)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                if _is_same(workspace.release, target):
                    return
                target.chmod(0o755)  # a folder that may not be written may not be moved
                target.rename(workspace.folder / "replaced")
            workspace.release.rename(target)
            target.chmod(0o555)
            for path in (target, target.parent, self._root):
                _sync(path)

    def remove(self, digest: str) -> None:
        """Forget a package that nothing names any more. What runs from it goes on: files stay while they are open."""
        target = self._folder(digest)
        with translated(), contextlib.suppress(FileNotFoundError):
            target.chmod(0o755)
            doomed = Path(tempfile.mkdtemp(dir=self._incoming))  # a crash leaves it to the next sweep
            target.rename(doomed / "removed")
            shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self) -> int:
        """Remove the workspaces that processes left behind when they died; the number of them."""
        count = 0
        for folder in self._incoming.glob("*"):
            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
                finally:
                    os.close(descriptor)
        return count

    def _folder(self, digest: str) -> Path:
        return self._root / digest[:2] / digest


@contextlib.contextmanager
def translated() -> Generator[None]:
    """What the disk says, as an error of ours."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(f"The package store cannot be written: {error.strerror}.") from error


def _is_same(left: Path, right: Path) -> bool:
    names = [path.name for path in left.iterdir()]
    _, different, unreadable = filecmp.cmpfiles(left, right, names, shallow=False)
    return not different and not unreadable


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
