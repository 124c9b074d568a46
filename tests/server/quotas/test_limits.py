"""What one call may use: lowered by the manifest, raised by an operator alone, never above the ceiling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.quotas import LIMIT_NAMES, LimitBook, effective
from jackfield.settings import CeilingSettings, LimitSettings
from jackfield_sdk.manifest import Limits
from tests.server.quotas.nodes import installation

DEFAULTS, CEILINGS = LimitSettings(memory_mb=128, cpu_ms=5_000), CeilingSettings(memory_mb=512)
sizes = st.none() | st.integers(16, 4096)


@given(sizes, sizes, sizes)
def test_only_an_operator_raises_and_only_up_to_the_ceiling(
    asked: int | None, of_plugin: int | None, of_installation: int | None
) -> None:
    overrides = [{} if value is None else {"memory_mb": value} for value in (of_installation, of_plugin)]
    found = effective(DEFAULTS, CEILINGS, Limits(memory_mb=asked), *overrides).memory_mb
    said = next((value for value in (of_installation, of_plugin) if value is not None), None)
    if said is None:
        assert found == min(128, asked or 128)
    else:
        assert found == min(said, 512)


def test_every_limit_but_that_of_descriptors_can_be_set() -> None:
    assert set(LIMIT_NAMES) == set(LimitSettings.model_fields) - {"descriptors"}


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_every_limit_that_a_manifest_names_is_lowered_by_it(name: str) -> None:
    if name not in Limits.__struct_fields__:
        return
    default: int = getattr(DEFAULTS, name)
    less, more = max(1, default // 2), default * 2
    asked: dict[str, Any] = {name: less}
    assert getattr(effective(DEFAULTS, CEILINGS, Limits(**asked)), name) == less
    assert getattr(effective(DEFAULTS, CEILINGS, Limits(**{name: more})), name) == default


def test_a_manifest_may_ask_for_no_host_calls_at_all() -> None:
    assert effective(DEFAULTS, CEILINGS, Limits(host_calls=0)).host_calls == 0


def test_a_change_counts_from_the_next_call_and_names_whose_isolates_are_out_of_date() -> None:
    book = LimitBook(DEFAULTS, CEILINGS)
    one, other = installation("inst_a", slug="big"), installation("inst_b", slug="small")
    assert book.limits_of(one) is DEFAULTS
    assert book.limits_of(other) is DEFAULTS
    assert book.set_plugin("big", {"memory_mb": 256}) == ["inst_a"]
    assert (book.limits_of(one).memory_mb, book.limits_of(other).memory_mb) == (256, 128)
    assert book.set_installation("inst_a", {"memory_mb": 64}) == ["inst_a"]
    assert book.limits_of(one).memory_mb == 64
    book.set_installation("inst_a", None)
    assert book.limits_of(one).memory_mb == 256
    book.set_plugin("big", None)
    assert book.limits_of(one).memory_mb == 128


def test_another_release_of_an_installation_has_the_limits_of_its_own_manifest() -> None:
    book = LimitBook(DEFAULTS, CEILINGS)
    assert book.limits_of(installation(cpu_ms=1_000)).cpu_ms == 1_000
    assert book.limits_of(installation(cpu_ms=2_000)).cpu_ms == 2_000
