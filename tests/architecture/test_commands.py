"""The commands that README and CI promise exist, and `make help` tells of each."""

from __future__ import annotations

import re
import subprocess

from tools.committed import ROOT

PROMISED = {"setup", "demo", "serve", "test", "check", "bench", "soak", "help"}


def listed() -> set[str]:
    run = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(re.findall(r"^make ([a-z-]+) +\S", run.stdout, re.MULTILINE))


def test_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert listed() == set(phony.group(1).split())
    assert listed() >= PROMISED


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text(encoding="utf-8").splitlines()
