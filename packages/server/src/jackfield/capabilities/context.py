"""On whose behalf a capability is used. Made by the platform for each call; nothing in it comes from the isolate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jackfield.capabilities.origin import Origin
from jackfield.capabilities.rights import Rights
from jackfield.capabilities.row_filters import RowFilter
from jackfield.capabilities.tally import Tally
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.wire import Caller, Delivery

if TYPE_CHECKING:
    from jackfield.capabilities.work import Work

__all__ = ["CapabilityContext", "Staging"]


@dataclass(frozen=True, slots=True)
class Staging:
    """A copy of an installation's data, on its way from one release to another.

    Attributes:
        copy_id: In place of the installation's id, for rows and storage.
        other: The release at the other end of the way: where the data comes from, or is to go back to.
    """

    copy_id: str
    other: Manifest


@dataclass(frozen=True, slots=True)
class CapabilityContext:
    """One call of one installation.

    Attributes:
        manifest: Of the release that runs, which says what tables and events there are.
        grants: Permissions that the tenant gave, when the call began. What it may do now, `rights` says.
        caller: The member on whose behalf it runs, if any.
        config: Effective configuration, without secrets.
        tally: What the call uses; it and `rights` are the things here that change.
        grant_filters: Grant → the rows of its entity that the tenant narrowed it to.
        chain: Calls of other plugins that led to this one, the first one first. It may do what all of them may.
        origin: How it came about through other plugins; None when it did not.
        deadline: When it has to have ended, in seconds since 1970 by the node's clock; 0 when nobody said.
        locale: Language tag of whoever it runs for.
        handler: What runs, as `kind name`; for what is told of the call.
        staging: While its data is moved to another release: the copy that this call works on.
        is_dry_run: It is tried out, and must leave nothing behind: only what reads is let through.
        work: Where what it writes waits for its end, when it is the handler of a delivery.
        is_settled: Its grants cannot change while it runs: it is a step of an operation that holds the plugin.
    """

    tenant_id: str
    installation_id: str
    slug: str
    manifest: Manifest
    grants: frozenset[str]
    caller: Caller | None = None
    invocation_id: str = ""
    delivery: Delivery | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tally: Tally = field(default_factory=Tally, compare=False)
    grant_filters: Mapping[str, RowFilter] = field(default_factory=dict[str, RowFilter])
    chain: tuple[CapabilityContext, ...] = ()
    is_settled: bool = False
    staging: Staging | None = None
    origin: Origin | None = None
    deadline: float = 0.0
    locale: str = "en"
    handler: str = ""
    is_dry_run: bool = False
    work: Work | None = None
    _rights: Rights | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def data_id(self) -> str:
        """Under which id its rows and storage are."""
        return self.installation_id if self.staging is None else self.staging.copy_id

    @property
    def rights(self) -> Rights:
        """What this call may do now."""
        rights = self._rights
        if rights is None:
            rights = Rights(self)
            object.__setattr__(self, "_rights", rights)
        return rights
