"""The standard hook points, as a host puts them on its surface."""

from __future__ import annotations

import pytest

from jackfield import Event, Surface, standard
from jackfield_sdk import hooks
from jackfield_sdk.hooks.catalogue import STANDARD


def test_a_host_takes_all_of_them_or_those_of_some_subjects() -> None:
    assert len(standard.filters()) + len(standard.events()) == sum(h.source == "host" for h in STANDARD.values())
    assert {hook.name.partition(".")[0] for hook in standard.filters("booking", "sale")} == {"booking", "sale"}
    assert [(e.name, e.payload) for e in standard.events("sale.created", "user.login")] == [
        ("user.login", hooks.Login), ("sale.created", hooks.Sale),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["bookings", "plugin", "plugin.installed", "booking.created", ""])
def test_what_is_not_among_them_is_said_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="subjects are booking"):
        standard.filters(name)


def test_what_the_platform_sends_is_on_every_surface_and_is_no_hosts_to_declare() -> None:
    surface = Surface(filters=standard.filters(), events=standard.events())
    assert set(STANDARD) <= {*surface.filter_index, *surface.event_index}
    assert "plugin.installed" in Surface().event_index
    with pytest.raises(ValueError, match="declared twice"):
        Surface(events=[Event("plugin.installed")])
