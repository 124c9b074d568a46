"""Everything that is needed is pinned with hashes, in one file that setup installs from."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.committed import ROOT

LOCK = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
PROJECTS: list[dict[str, Any]] = [
    tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted([*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("examples/*/pyproject.toml")])
]
OURS = {str(project["project"]["name"]) for project in PROJECTS}


def needed() -> set[str]:
    """Names of what the packages and the tools ask for, our own left out."""
    lines = (ROOT / "requirements" / "dev.in").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if line and not line.startswith("#")]
    for project in PROJECTS:
        asked += project["project"]["dependencies"] + project["build-system"]["requires"]
    return {canonicalize_name(Requirement(line).name) for line in asked} - OURS


def test_all_that_is_needed_is_pinned() -> None:
    pinned = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", LOCK, re.MULTILINE)}
    assert needed() <= pinned


def test_every_pin_has_a_hash() -> None:
    logical = [line for line in LOCK.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]
    assert logical
    assert all("--hash=sha256:" in line for line in logical)


def test_our_packages_carry_one_version_and_pin_one_another_exactly() -> None:
    (version,) = {project["project"]["version"] for project in PROJECTS}
    for project in PROJECTS:
        asked = [Requirement(line) for line in project["project"]["dependencies"]]
        assert {str(requirement.specifier) for requirement in asked if requirement.name in OURS} <= {f"=={version}"}
