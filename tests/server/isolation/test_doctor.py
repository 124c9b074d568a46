"""The doctor: clean where all layers are on, and never silent about one that is off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from jackfield.isolation import doctor
from jackfield_sandbox.layers import LEVELS, Layer

NOBODY = 65534
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


def _as_nobody(command: list[str], home: str) -> subprocess.CompletedProcess[str]:
    os.chown(home, NOBODY, NOBODY)
    environment = {
        "HOME": home, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, cwd="/", env=environment,
        user=NOBODY, group=NOBODY, extra_groups=[],
    )  # fmt: skip


def _interpreter_for_everybody(home: str) -> str | None:
    """A Python of our version that any user may run and that finds the platform; one in root's home is not."""
    probe = "import sys, jackfield.isolation.doctor; print(*sys.version_info[:2])"
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            done = _as_nobody([candidate, "-c", probe], home)
        except OSError:
            continue
        if done.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            return candidate
    return None


@STRICT
def test_an_ordinary_user_gets_a_clean_report() -> None:
    with tempfile.TemporaryDirectory() as home:
        interpreter = _interpreter_for_everybody(home)
        if interpreter is None:
            pytest.skip("no Python of this version that an ordinary user may run, or a checkout only root may read")
        done = _as_nobody([interpreter, "-m", "jackfield", "doctor", "--json"], home)
    report = json.loads(done.stdout or "{}")
    assert report.get("clean") is True, done.stderr[-500:] or [f for f in report["findings"] if not f["ok"]]
    assert report["level"] == "unprivileged"
