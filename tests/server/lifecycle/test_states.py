"""The state machine is a table: complete, without dead ends, and nothing happens that it does not list."""

from __future__ import annotations

import pytest

from jackfield.lifecycle.errors import NotNowError
from jackfield.lifecycle.states import MEANINGS, TRANSITIONS, Event, State, allowed, move


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_meaning(state: State) -> None:
    assert len(MEANINGS[state]) > 30


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_reached_and_left(state: State) -> None:
    assert allowed(state)
    assert state in TRANSITIONS.values()


@pytest.mark.parametrize("event", Event)
def test_every_event_happens_somewhere(event: Event) -> None:
    assert any(event is used for _, used in TRANSITIONS)


@pytest.mark.parametrize("state", State)
def test_from_every_state_there_is_a_way_to_be_gone(state: State) -> None:
    reached, edge = {state}, {state}
    while edge:
        edge = {after for (before, _), after in TRANSITIONS.items() if before in edge} - reached
        reached |= edge
    assert State.GONE in reached


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_a_move_is_in_the_table_or_is_refused(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert move(state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(NotNowError) as refused:
        move(state, event)
    assert refused.value.code == "state-conflict"
    assert refused.value.data == {"state": state.value, "event": event.value}


def test_only_one_way_leads_to_being_active() -> None:
    assert [move for move, after in TRANSITIONS.items() if after is State.ACTIVE] == [
        (State.ACTIVATING, Event.ACTIVATED)
    ]
