"""The doctor: clean where all layers are on, and never silent about one that is off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jackfield.isolation import doctor
from jackfield_sandbox.layers import LEVELS, Layer

STRICT = pytest.mark.skipif(os.geteuid() != 0, reason="strict takes root")
AVAILABLE = ["strict", "unprivileged"] if os.geteuid() == 0 else ["unprivileged"]


@pytest.mark.parametrize("level", AVAILABLE)
async def test_every_attack_is_stopped_and_every_need_is_met(level: str, cache: Path) -> None:
    report = await doctor.examine(level, cache)
    assert [f"{hole.name}: {hole.says}" for hole in report.holes] == []
    names = {finding.name for finding in report.findings}
    assert sum(name.startswith("attack:") for name in names) >= 50
    assert {"asyncio.run", "four threads", "the usual library", "imports after lock-down"} <= names


@STRICT
@pytest.mark.parametrize("layer", list(LEVELS["strict"]), ids=lambda layer: str(layer.name))
async def test_a_layer_that_is_off_is_named(layer: Layer, cache: Path) -> None:
    # Without a mount namespace there can be no empty root either.
    without = layer | Layer.EMPTY_ROOT if layer is Layer.NAMESPACES else layer
    report = await doctor.examine("strict", cache, without=without)
    assert not report.is_clean
    assert doctor.layer_names(layer)[0] in {hole.layer for hole in report.holes}
    assert any("HOLE" in hole.says for hole in report.holes)


async def test_no_isolation_is_never_clean(cache: Path) -> None:
    report = await doctor.examine("none", cache)
    assert not report.is_clean


@STRICT
async def test_the_matrix_shows_what_only_seccomp_stops(cache: Path) -> None:
    columns = await doctor.matrix("strict", cache)
    assert "OPEN" not in columns["all"].values()
    assert columns["without seccomp"]["userfaultfd"] == "OPEN"
    assert columns["without descriptors"]["use an inherited descriptor"] == "OPEN"
    assert columns["without rlimits"]["allocate 600 MB"] == "OPEN"
