"""The states of an installation and the moves between them. Pure: no database, no clock.

Every change of `Installation.state` goes through `move`, so the table below is the whole truth about what can follow
what.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from jackfield.lifecycle.errors import NotNowError

__all__ = ["MEANINGS", "TRANSITIONS", "Event", "State", "allowed", "move"]


class State(StrEnum):
    """Where an installation stands. `MEANINGS` says what each one means to a tenant."""

    GONE = "gone"
    INSTALLING = "installing"
    INACTIVE = "inactive"
    ACTIVATING = "activating"
    ACTIVE = "active"
    DEACTIVATING = "deactivating"
    QUARANTINED = "quarantined"
    UNINSTALLING = "uninstalling"
    UNINSTALLED = "uninstalled"
    INSTALL_FAILED = "install-failed"
    UNINSTALL_FAILED = "uninstall-failed"

    @property
    def is_transitional(self) -> bool:
        """Whether an operation is at work. After a crash none stays so: `Lifecycle.recover` ends the operation."""
        return self in _TRANSITIONAL

    @property
    def is_at_rest(self) -> bool:
        """Whether it is installed and nothing of it runs, so that what it needs may be taken away and given back."""
        return self in (State.INACTIVE, State.QUARANTINED)

    @property
    def is_listed(self) -> bool:
        """Whether a tenant sees it among the installed plugins."""
        return self not in (State.GONE, State.UNINSTALLED)


class Event(StrEnum):
    """What moves an installation on."""

    INSTALL_BEGUN = "install-begun"
    SETTLED = "settled"
    INSTALL_UNDONE = "install-undone"
    INSTALL_UNDONE_KEEPING = "install-undone-keeping"
    INSTALL_REOPENED = "install-reopened"
    INSTALL_UNDO_FAILED = "install-undo-failed"
    ACTIVATION_BEGUN = "activation-begun"
    ACTIVATED = "activated"
    ACTIVATION_FAILED = "activation-failed"
    DEACTIVATION_BEGUN = "deactivation-begun"
    DEACTIVATED = "deactivated"
    QUARANTINED = "quarantined"
    QUARANTINE_STANDS = "quarantine-stands"
    UNINSTALL_BEGUN = "uninstall-begun"
    UNINSTALL_ABANDONED = "uninstall-abandoned"
    UNINSTALL_FAILED = "uninstall-failed"
    REMOVED = "removed"
    REMOVED_KEEPING = "removed-keeping"


_TRANSITIONAL = frozenset({State.INSTALLING, State.ACTIVATING, State.DEACTIVATING, State.UNINSTALLING})

MEANINGS: Mapping[State, str] = {
    State.GONE: "There is no installation and no data of one: it was never installed, or was removed with its data.",
    State.INSTALLING: "Being installed. Its own `on_install` may run; nothing else of it does.",
    State.INACTIVE: "Installed and at rest. Data, configuration and grants are kept; no trigger reaches it. `reason` "
    "says why, unless somebody switched it off.",
    State.ACTIVATING: "About to become active; its `on_activate` runs.",
    State.ACTIVE: "At work: filters, events, functions, routes and widgets reach it. The only state in which they do.",
    State.QUARANTINED: "Taken from work by the platform, because its processes died again and again: see `reason`. "
    "No trigger reaches it; events wait for it. Activating it ends this, best after an update or a change.",
    State.DEACTIVATING: "Triggers no longer reach it; its `on_deactivate` runs.",
    State.UNINSTALLING: "Being removed; its `on_uninstall` runs, then its data goes the way that was asked for.",
    State.UNINSTALLED: "Removed, its data kept. Nothing of it runs or shows; installing it again takes up the data.",
    State.INSTALL_FAILED: "Installing failed, and so did clearing up after it. Nothing of it runs; uninstall it.",
    State.UNINSTALL_FAILED: "Removing its data failed. Nothing of it runs; uninstall it once more.",
}
"""What each state means, in words for an administrator."""

TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.GONE, Event.INSTALL_BEGUN): State.INSTALLING,
    (State.UNINSTALLED, Event.INSTALL_BEGUN): State.INSTALLING,
    (State.INSTALLING, Event.SETTLED): State.INACTIVE,
    (State.INSTALLING, Event.INSTALL_UNDONE): State.GONE,
    (State.INSTALLING, Event.INSTALL_UNDONE_KEEPING): State.UNINSTALLED,
    (State.INSTALLING, Event.INSTALL_UNDO_FAILED): State.INSTALL_FAILED,
    # A dependency that was already at rest goes back when the plugin it was installed for cannot be installed.
    (State.INACTIVE, Event.INSTALL_REOPENED): State.INSTALLING,
    (State.INACTIVE, Event.ACTIVATION_BEGUN): State.ACTIVATING,
    (State.ACTIVATING, Event.ACTIVATED): State.ACTIVE,
    (State.ACTIVATING, Event.ACTIVATION_FAILED): State.INACTIVE,
    (State.ACTIVE, Event.DEACTIVATION_BEGUN): State.DEACTIVATING,
    (State.DEACTIVATING, Event.DEACTIVATED): State.INACTIVE,
    (State.ACTIVE, Event.QUARANTINED): State.QUARANTINED,
    (State.QUARANTINED, Event.ACTIVATION_BEGUN): State.ACTIVATING,
    # Back to where events wait for it, not to where they pass it by.
    (State.ACTIVATING, Event.QUARANTINE_STANDS): State.QUARANTINED,
    (State.QUARANTINED, Event.DEACTIVATION_BEGUN): State.DEACTIVATING,
    (State.QUARANTINED, Event.UNINSTALL_BEGUN): State.UNINSTALLING,
    (State.INACTIVE, Event.UNINSTALL_BEGUN): State.UNINSTALLING,
    (State.DEACTIVATING, Event.UNINSTALL_BEGUN): State.UNINSTALLING,
    (State.INSTALL_FAILED, Event.UNINSTALL_BEGUN): State.UNINSTALLING,
    (State.UNINSTALL_FAILED, Event.UNINSTALL_BEGUN): State.UNINSTALLING,
    (State.UNINSTALLING, Event.UNINSTALL_ABANDONED): State.INACTIVE,
    (State.UNINSTALLING, Event.UNINSTALL_FAILED): State.UNINSTALL_FAILED,
    (State.UNINSTALLING, Event.REMOVED): State.GONE,
    (State.UNINSTALLING, Event.REMOVED_KEEPING): State.UNINSTALLED,
}
"""Which event leads from which state to which; what is not here cannot happen."""


def move(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        NotNowError: The event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise NotNowError(state.value, event.value, MEANINGS[state]) from None


def allowed(state: State) -> frozenset[Event]:
    """The events that can happen in a state."""
    return frozenset(event for (before, event) in TRANSITIONS if before is state)
