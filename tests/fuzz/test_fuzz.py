"""Any bytes at all: what reads a stranger's package, manifest or message keeps its promises (see `targets`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semantic_version import Version

from jackfield.registry.intake import Intake
from jackfield.registry.store import Store
from jackfield_sdk.errors import PackageError
from jackfield_sdk.package import is_version
from tests.fuzz.drafts import Draft
from tests.fuzz.strategies import bent_bytes, bent_manifests, bent_messages, drafts, streams, versions
from tests.fuzz.targets import TARGETS, bounded, corpus_of, seeds_of
from tests.sdk.crafted import KEY

Check = Callable[[bytes], object]


def _both_ways(data: bytes) -> None:
    bounded("to_node", data)
    bounded("to_guest", data)


EXPLORED: dict[str, tuple[st.SearchStrategy[bytes], Check, int]] = {
    **{f"bytes of {name}": (bent_bytes(name), lambda data, name=name: bounded(name, data), 300) for name in TARGETS},
    "packages, step by step": (drafts().map(lambda draft: draft.build()), lambda data: bounded("package", data), 400),
    "manifests": (bent_manifests(), lambda data: bounded("manifest", data), 200),
    "messages": (bent_messages(), _both_ways, 600),
    "streams of frames": (streams(), lambda data: bounded("frames", data), 300),
}
"""What is made, what is asked of it, and how often in a short run."""


def explore(name: str, times: int) -> None:
    strategy, check, examples = EXPLORED[name]

    @settings(max_examples=examples * times, suppress_health_check=list(HealthCheck), deadline=None)
    @given(strategy)
    def run(data: bytes) -> None:
        check(data)

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_that_was_kept_is_still_dealt_with(name: str) -> None:
    kept = corpus_of(name)
    assert kept
    for path in kept:
        bounded(name, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_begins_with_is_good(name: str) -> None:
    for seed in seeds_of(name):
        assert bounded(name, seed).startswith("accepted")


@pytest.mark.parametrize("name", EXPLORED)
def test_a_short_search_finds_nothing(name: str) -> None:
    explore(name, 1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", EXPLORED)
def test_a_long_search_finds_nothing(name: str) -> None:
    explore(name, 100)


def test_taking_a_package_in_writes_nothing_outside_its_workspace(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.workspace().discard()
    before = sorted(tmp_path.rglob("*"))

    @settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
    @given(drafts())
    def run(draft: Draft) -> None:
        workspace = store.workspace()
        intake = Intake(workspace, KEY.verify, 1024 * 1024)
        try:
            intake.feed(draft.build())
            intake.finish()
        except PackageError:
            pass
        finally:
            intake.close()
        outside = [path for path in tmp_path.rglob("*") if not path.is_relative_to(workspace.folder)]
        assert sorted(outside) == before
        assert all(path.is_dir() or path.is_file() for path in workspace.folder.rglob("*"))
        assert not any(path.is_symlink() for path in workspace.folder.rglob("*"))
        names = {str(path.relative_to(workspace.folder)) for path in workspace.folder.rglob("*")}
        assert names == {"spool", "release", "release/package.jfp"}
        workspace.discard()
        assert sorted(tmp_path.rglob("*")) == before

    run()


@settings(max_examples=300)
@given(versions())
def test_what_a_package_may_have_as_its_version_can_be_compared(text: str) -> None:
    if is_version(text):
        assert str(Version(text)) == text
