"""Which files belong to the project."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def committed_files(root: Path = ROOT, *patterns: str) -> list[Path]:
    """Every file below `root` that is, or would be, committed: what git tracks and what it does not ignore.

    Args:
        root: a git checkout.
        patterns: git's own globs (`*.md` matches at any depth); none means all.
    """
    # safe.directory: in a container the checkout often belongs to another user than the one who asks.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run([*command, "--", *patterns], cwd=root, check=True, capture_output=True, text=True).stdout
    paths = (root / name for name in listing.split("\0") if name)
    return sorted({path for path in paths if path.is_file() and not path.is_symlink()})
