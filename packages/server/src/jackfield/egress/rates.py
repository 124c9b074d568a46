"""How many requests an installation sends, within a minute and at the same time, on this node."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from jackfield.egress.errors import EgressBusyError, TooManyRequestsError
from jackfield.quotas.windows import WINDOW_S, used, wait_s

__all__ = ["Rates"]

_KNOWN = 10_000


class _Count:
    __slots__ = ("before", "current", "minute", "running")

    def __init__(self) -> None:
        self.minute = 0
        self.current = self.before = self.running = 0


class Rates:
    """Counts.

    Args:
        per_minute: Requests of one installation.
        at_once: Of one installation.
        at_once_of_tenant: Of all of one tenant's.
        at_once_here: Of all.
    """

    def __init__(
        self,
        per_minute: int,
        at_once: int,
        at_once_of_tenant: int,
        at_once_here: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_minute = per_minute
        self._at_once = at_once
        self._at_once_of_tenant = at_once_of_tenant
        self._at_once_here = at_once_here
        self._now = now
        self._running = 0
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()
        self._of_tenants: dict[str, int] = {}

    def enter(self, tenant_id: str, installation_id: str) -> None:
        """Count a request that begins; `leave` when it has ended.

        Raises:
            TooManyRequestsError, EgressBusyError: It may not.
        """
        owner = tenant_id, installation_id
        count = self._counts.get(owner)
        if count is None:
            count = self._counts[owner] = _Count()
            self._forget()
        else:
            self._counts.move_to_end(owner)
        now = self._now()
        minute = int(now // WINDOW_S)
        if minute != count.minute:
            count.before = count.current if minute == count.minute + 1 else 0
            count.current, count.minute = 0, minute
        if used(count.current, count.before, now) >= self._per_minute:
            raise TooManyRequestsError(
                f"the plugin has sent {self._per_minute} requests within a minute",
                retry_after_s=round(wait_s(count.current, count.before, now, self._per_minute), 1),
            )
        if count.running >= self._at_once:
            raise EgressBusyError(f"the plugin has {self._at_once} requests under way")
        of_tenant = self._of_tenants.get(tenant_id, 0)
        if of_tenant >= self._at_once_of_tenant:
            raise EgressBusyError(f"the plugins of the tenant have {self._at_once_of_tenant} requests under way")
        if self._running >= self._at_once_here:
            raise EgressBusyError("the node has too many requests under way")
        count.current += 1
        count.running += 1
        self._of_tenants[tenant_id] = of_tenant + 1
        self._running += 1

    def leave(self, tenant_id: str, installation_id: str) -> None:
        """A request has ended."""
        self._counts[tenant_id, installation_id].running -= 1
        self._running -= 1
        left = self._of_tenants[tenant_id] - 1
        if left:
            self._of_tenants[tenant_id] = left
        else:
            del self._of_tenants[tenant_id]

    def _forget(self) -> None:
        # Whoever has one under way stays.
        while len(self._counts) > _KNOWN:
            owner, count = next(iter(self._counts.items()))
            if count.running:
                self._counts.move_to_end(owner)
                return
            del self._counts[owner]
