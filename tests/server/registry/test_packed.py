"""What the author's command makes, the registry takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackfield.registry import Registry
from jackfield_cli.pack import pack_project
from tests.sdk.crafted import KEY
from tests.server.registry.uploads import publish

PYPROJECT = """\
[project]
name = "points"
version = "1.0.0"
description = "Points for loyal customers."
readme = "README.md"
license = "MIT"
dependencies = ["jackfield-sdk"]

[tool.jackfield]
entry = "start"
"""

SOURCE = """\
import jackfield_sdk as jf

from texts import GREETING

plugin = jf.Plugin("points", version="1.0.0", name="Points", permissions=["customers:read"], requires={"mail": "^1.2"})

KINDS = {"gold", "silver", "bronze"}


@plugin.config
class Config:
    points_per_dollar: float = 1.0
    key: jf.Secret | None = None


@plugin.function(read_only=True)
def kinds(ctx: jf.Context, prefix: str = "") -> list[str]:
    "The kinds of card that there are."
    return sorted(kind for kind in KINDS if kind in {"gold", "silver", "platinum"} and kind.startswith(prefix))
"""


@pytest.mark.parametrize("level", [None, "unprivileged"])
async def test_a_packed_folder_is_published(registry: Registry, tmp_path: Path, level: str | None) -> None:
    folder = tmp_path / "project"
    (folder / "texts").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "start.py").write_text(SOURCE)
    (folder / "texts" / "__init__.py").write_text("GREETING = 'Hello'\n")
    (folder / "README.md").write_text("# Points\n")
    packed = pack_project(folder, tmp_path / "points.jfp", key=KEY, level=level)

    release = await publish(registry, packed.path.read_bytes())

    assert release.digest == packed.digest
    assert release.manifest == packed.manifest
    assert release.manifest.summary == "Points for loyal customers."
    assert release.manifest.entry == "start"
