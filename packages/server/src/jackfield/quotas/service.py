"""`Quotas`: lets calls in or not, and keeps all nodes agreed on what was used.

A call is counted in memory (`ledger`). Twice a second, each node adds what it counted to the shared windows and reads
back what all nodes used, in one statement. So nodes hold one limit together, to within what comes between two
exchanges; a node that is killed loses no more than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, cast

import structlog

from jackfield.clock import Clock, SystemClock
from jackfield.db import DATABASE_FAILURES, Database
from jackfield.ids import new_id
from jackfield.quotas import repository
from jackfield.quotas.errors import QuotaExceededError
from jackfield.quotas.interfaces import Call, Ended, Installed, Origin
from jackfield.quotas.ledger import QUOTAS, RATES, Account, Key, Quota, QuotaFailure, Spent
from jackfield.quotas.limits import LimitBook
from jackfield.quotas.plans import Policy, Space, policy_of
from jackfield.quotas.windows import WINDOW_S
from jackfield.records import audit
from jackfield.settings import LimitSettings, PlanSettings, Settings

__all__ = ["Quotas", "exceeded"]

_log = structlog.get_logger("jackfield.quotas")

_DEAD_AFTER_S = 10.0
"""When a node has not told for so long what it has at work, it has nothing at work."""
_IDLE_TURNS = 4
"""A node that has used nothing looks once in so many turns. New rules come as a notice and are not waited for."""
_SWEEP_S = 60.0
_SLICE = 200
"""Accounts that are gone through before others have a turn: all of this runs beside the calls."""
_AUDIT_EVERY_S = 3600.0
"""The trail is kept for ever; whoever lives at their limit must not fill it."""
_WAYS_OUT = frozenset({"on_deactivate", "on_uninstall"})
"""Taking a plugin from work is always possible, above all when it has used everything up."""


class Quotas:
    """One per node; the `Admission` and the `LimitSource` of `invocation`.

    Args:
        node_id: Names this node to the others; made when absent.
    """

    def __init__(
        self, database: Database, settings: Settings, clock: Clock | None = None, *, node_id: str | None = None
    ) -> None:
        self.book = LimitBook(settings.limits, settings.ceilings)
        self._database = database
        self._clock = clock or SystemClock()
        self._monotonic = self._clock.monotonic
        self._node_id = node_id or new_id("node")
        self._own_plans = dict(settings.plans)
        self._default_plan = settings.default_plan
        self._warn_from = settings.quota_warning
        self._interval_s = settings.quota_sync_s
        self._plans: dict[str, PlanSettings] = dict(settings.plans)
        self._overrides: dict[str, dict[str, Any]] = {}
        self._usual: dict[str, Policy] = {}
        self._policies: dict[str, Policy] = {}
        self._tenants: dict[str, Account] = {}
        self._pairs: dict[str, tuple[Account, Account]] = {}
        self._plugins: dict[str, dict[str, Account]] = {}
        self._dirty: list[Account] = []
        self._unsent: list[Spent] = []
        self._unknown: set[str] = set()
        self._offset = 0.0
        self._revision = 0
        self._swept_at = self._told_at = 0.0
        self._audited: dict[tuple[Key, str], float] = {}
        self._exceeded: list[tuple[Key, str]] = []
        self._touched: list[Account] = []
        self._crowded: set[Account] = set()
        self._elsewhere: dict[Key, int] = {}
        self._syncing = asyncio.Lock()
        self._has_started = False
        self._retire: Callable[[str], Awaitable[None]] | None = None
        self._set_clock()

    # -- on the way of every call --------------------------------------------------------------------------------------

    def admit(self, invocation: Call) -> QuotaFailure | None:
        """Let a call in, and count it; or say why not."""
        installation = invocation.installation
        tenant, plugin = self._pairs.get(installation.id) or self._open(installation.tenant_id, installation.id)
        now = self._monotonic() + self._offset
        if now >= tenant.due:
            tenant.roll(now)
        if now >= plugin.due:
            plugin.roll(now)
        if (
            tenant.calls >= tenant.calls_cap
            or plugin.calls >= plugin.calls_cap
            or tenant.running >= tenant.room
            or plugin.running >= plugin.room
            or tenant.is_spent
            or plugin.is_spent
        ) and (failure := self._refusal(invocation, tenant, plugin, now)) is not None:
            return failure
        tenant.calls += 1
        plugin.calls += 1
        tenant.running += 1
        plugin.running += 1
        if not (tenant.is_dirty and plugin.is_dirty):
            self._mark(tenant, plugin)
        return None

    def settle(self, invocation: Call, outcome: Ended) -> None:
        """A call that was let in has ended, at this cost."""
        tenant, plugin = self._pairs[invocation.installation.id]
        cpu_us, host_calls = round(outcome.cpu_ms * 1000), outcome.host_calls
        tenant.end(cpu_us, host_calls)
        plugin.end(cpu_us, host_calls)
        if invocation.origin is not None:
            self._charge_callers(invocation.origin, cpu_us, host_calls)
        if not (tenant.is_dirty and plugin.is_dirty):
            self._mark(tenant, plugin)

    def charge(self, tenant_id: str, installation_id: str, *, egress_bytes: int) -> None:
        """Count bytes that a plugin sends out, or has sent.

        What is under way is let through to its end; the next one is refused.

        Raises:
            QuotaExceededError: The minute's bytes were used up before.
        """
        tenant, plugin = self._pairs.get(installation_id) or self._open(tenant_id, installation_id)
        now = self._monotonic() + self._offset
        for account in (tenant, plugin):
            account.roll(now)
            if (failure := account.refusal_of_egress(now)) is not None:
                self._note(account, failure)
                raise exceeded(failure)
        tenant.send(egress_bytes)
        plugin.send(egress_bytes)
        self._mark(tenant, plugin)

    def limits_of(self, installation: Installed) -> LimitSettings:
        """What one call of an installation may use now."""
        return self.book.limits_of(installation)

    def space_of(self, tenant_id: str) -> Space:
        """What a tenant's installations may keep."""
        return self._policy(tenant_id).space

    def warning_of(self, tenant_id: str) -> str | None:
        """Quotas of a tenant that are nearly used up, for a header; None when all is well."""
        account = self._tenants.get(tenant_id)
        if account is None or not account.warnings:
            return None
        return ", ".join(name for at, name in enumerate(RATES) if account.warnings >> at & 1)

    # -- a tenant's allowance ------------------------------------------------------------------------------------------

    async def prepare(self, tenant_id: str) -> None:
        """Know a tenant's plan and what it used, before its first call on this node."""
        if tenant_id in self._policies and tenant_id in self._tenants:
            return
        minute = int(self._now() // WINDOW_S)
        async with self._database.read(None) as session:
            plans = await repository.plans_of(session, [tenant_id])
            spent = await repository.windows_of(session, [tenant_id], (minute - 1, minute))
        self._learn_plans([tenant_id], plans)
        self._account(tenant_id).roll(self._now())
        for one in spent:
            account = self._account_of(one.key)
            account.roll(self._now())
            account.learn(one.minute, one.used)
            account.is_stale = False

    async def policy(self, tenant_id: str) -> Policy:
        """What a tenant is allowed now, fresh from the database."""
        await self.refresh_rules()
        async with self._database.read(None) as session:
            plans = await repository.plans_of(session, [tenant_id])
        self._learn_plans([tenant_id], plans)
        return self._policies[tenant_id]

    def has_plan(self, name: str) -> bool:
        """Whether a tenant can be given this plan."""
        return name in self._plans

    @property
    def plans(self) -> dict[str, PlanSettings]:
        """All plans, by name."""
        return dict(sorted(self._plans.items()))

    @property
    def own_plans(self) -> frozenset[str]:
        """Plans of the settings, which no operator can take away."""
        return frozenset(self._own_plans)

    def override_of(self, tenant_id: str) -> dict[str, Any]:
        """What an operator set for this tenant alone."""
        return dict(self._overrides.get(tenant_id, {}))

    def accounts_of(self, tenant_id: str, installations: Iterable[str]) -> tuple[Account, dict[str, Account]]:
        """The accounts as of now, of the tenant and of these installations."""
        now, tenant = self._now(), self._account(tenant_id)
        plugins = {id: self._account_of((tenant_id, id)) for id in installations}
        for account in (tenant, *plugins.values()):
            account.roll(now)
        return tenant, plugins

    def now(self) -> float:
        """Seconds since 1970, by the clock that quotas count with."""
        return self._now()

    # -- nodes agree ---------------------------------------------------------------------------------------------------

    def on_limits_changed(self, retire: Callable[[str], Awaitable[None]]) -> None:
        """Whom to tell that an installation's isolates run under limits that are out of date."""
        self._retire = retire

    async def start(self) -> None:
        """Learn the rules before the first call."""
        self._set_clock()
        await self.refresh_rules()
        self._has_started = True

    async def run(self) -> None:
        """Exchange with the database until cancelled. `close` ends it tidily."""
        delay_s, idle = self._interval_s, 0
        while True:
            await asyncio.sleep(delay_s)
            idle = 0 if self._has_news() else idle + 1
            if idle % _IDLE_TURNS:
                continue
            try:
                await self.sync()
                delay_s = self._interval_s
            except DATABASE_FAILURES as error:
                # Limits hold on: by what this node knows and counts itself.
                _log.error("quotas-not-shared", error=str(error))
                delay_s, idle = min(delay_s * 2, 10.0), -1

    async def close(self) -> None:
        """Tell the database what was used, and that nothing is at work here any more."""
        if not self._has_started:
            return
        try:
            await self.sync()
            async with self._database.write(None) as session:
                await repository.forget_node(session, self._node_id)
        except DATABASE_FAILURES as error:
            _log.error("quotas-not-shared", error=str(error))

    async def sync(self) -> None:
        """Tell the others what was used here, and learn what was used elsewhere and what operators decided.

        Raises:
            DBAPIError, OSError: The database cannot be written; what is to be told is kept.
        """
        async with self._syncing:
            self._set_clock()
            await self.refresh_rules()
            await self._exchange()
            await self._exchange_running()
            await self._catch_up()
            await self._warn()
            await self._sweep()

    async def refresh_rules(self) -> None:
        """Learn what operators decided since the last time."""
        async with self._database.read(None) as session:
            rules = await repository.rules_since(session, self._revision)
        touched: list[str] = []
        for rule in rules:
            touched += self._apply(rule)
            self._revision = max(self._revision, rule.revision)
        if self._retire is not None:
            for installation_id in touched:
                await self._retire(installation_id)

    def _has_news(self) -> bool:
        """Whether there is something to tell, or somebody at work whom it concerns what others have at work."""
        return bool(self._dirty or self._unsent or self._unknown or self._touched or self._crowded or self._exceeded)

    async def _exchange(self) -> None:
        now, dirty = self._now(), self._dirty
        self._dirty = []
        for at, account in enumerate(dirty):
            if at % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            account.is_dirty = False
            if now >= account.due:
                account.roll(now)
            self._unsent += account.take()
        self._touched = dirty
        if not self._unsent:
            return
        unsent = list(self._unsent)
        async with self._database.write(None) as session:
            sums = await repository.add(session, unsent)
        del self._unsent[: len(unsent)]
        for at, one in enumerate(sums):
            if at % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if (account := self._find(one.key)) is not None:
                account.learn(one.minute, one.used)

    async def _exchange_running(self) -> None:
        """Only crowds are told: a call that is over before the next exchange is nobody's business."""
        now = self._clock.now()
        again = self._now() - self._told_at > _DEAD_AFTER_S / 3
        telling: list[tuple[Account, int]] = []
        for account in {*self._touched, *self._crowded}:
            limit = account.quotas.concurrency
            count = account.running if limit is not None and account.running * 8 >= limit else 0
            if count != account.told_running or (count and again):
                telling.append((account, count))
        if telling:
            until = now + timedelta(seconds=_DEAD_AFTER_S)
            async with self._database.write(None) as session:
                rows = [(account.key, count) for account, count in telling]
                await repository.tell_running(session, self._node_id, rows, until)
            for account, count in telling:
                account.told_running = count
                (self._crowded.add if count else self._crowded.discard)(account)
        if again:
            self._told_at = self._now()
        async with self._database.read(None) as session:
            found = await repository.running_elsewhere(session, self._node_id, now)
        for key in self._elsewhere.keys() | found.keys():
            if (account := self._find(key)) is not None:
                account.hear(found.get(key, 0))
        self._elsewhere = found

    async def _catch_up(self) -> None:
        """Plans of tenants that came as strangers, and the minute before this one of accounts that began anew."""
        unknown, self._unknown = self._unknown, set()
        stale = [account for account in self._touched if account.is_stale]
        if not (unknown or stale):
            return
        minute = int(self._now() // WINDOW_S)
        async with self._database.read(None) as session:
            plans = await repository.plans_of(session, unknown)
            spent = await repository.windows_of(session, (account.key[0] for account in stale), (minute - 1,))
        self._learn_plans(unknown, plans)
        for account in stale:
            account.is_stale = False
        for one in spent:
            if (account := self._find(one.key)) is not None:
                account.learn(one.minute, one.used)

    async def _warn(self) -> None:
        """Once per minute and quota in the log, once per hour in the audit trail."""
        now, entries = self._now(), list[tuple[Key, str, str]]()
        for at, account in enumerate(self._touched):
            if at % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
                now = self._now()
            account.roll(now)
            news = account.warnings & ~account.told
            account.told |= news
            for at, name in enumerate(RATES):
                if news >> at & 1:
                    _log.warning("quota-nearly-used-up", tenant=account.key[0], installation=account.key[1], quota=name)
                    entries.append((account.key, name, "quota.warning"))
        used_up, self._exceeded = self._exceeded, []
        for key, name in used_up:
            _log.warning("quota-exceeded", tenant=key[0], installation=key[1], quota=name)
            entries.append((key, name, "quota.exceed"))
        entries = [one for one in entries if now - self._audited.get((one[0], one[1] + one[2]), 0) > _AUDIT_EVERY_S]
        if not entries:
            return
        async with self._database.write(None) as session:
            for key, name, action in entries:
                audit(session, key[0], "quotas", action, name, after={"scope": key[1] or "tenant", "quota": name})
        for key, name, action in entries:
            self._audited[key, name + action] = now

    async def _sweep(self) -> None:
        """From time to time: forget what nobody uses."""
        now = self._now()
        if now - self._swept_at < _SWEEP_S:
            return
        self._swept_at = now
        async with self._database.write(None) as session:
            await repository.drop_windows(session, int(now // WINDOW_S) - 2, self._clock.now())
        plugins = {id: pair for id, pair in self._pairs.items() if not pair[1].is_idle(now)}
        self._pairs = plugins
        self._plugins = {}
        for id, (_, plugin) in plugins.items():
            self._plugins.setdefault(plugin.key[0], {})[id] = plugin
        alive = {pair[0].key[0] for pair in plugins.values()}
        self._tenants = {
            id: account for id, account in self._tenants.items() if id in alive or not account.is_idle(now)
        }
        self._audited = {key: at for key, at in self._audited.items() if now - at < _AUDIT_EVERY_S}

    # -- inside --------------------------------------------------------------------------------------------------------

    def _refusal(self, call: Call, tenant: Account, plugin: Account, now: float) -> QuotaFailure | None:
        if call.kind == "lifecycle" and call.name in _WAYS_OUT:
            return None
        is_nested = call.origin is not None and bool(call.origin.chain)
        for account in (tenant, plugin):
            if (failure := account.barred) is not None:
                # Said a moment ago; whoever floods shall not have it worked out each time.
                return failure
            account.roll(now)
            failure = account.refusal(now, is_nested=is_nested)
            if failure is not None:
                self._note(account, failure)
                return failure
        return None

    def _charge_callers(self, origin: Origin, cpu_us: int, host_calls: int) -> None:
        """Who has another plugin work pays as well. The tenant pays once: it was the tenant's in both."""
        for caller in origin.chain:
            pair = self._pairs.get(caller.installation_id)
            if pair is not None:
                pair[1].pay(cpu_us, host_calls)
                self._mark(pair[1])

    def _note(self, account: Account, failure: QuotaFailure) -> None:
        account.last_used = self._now()
        bit = 1 << (len(QUOTAS) + QUOTAS.index(cast("Quota", failure.quota)))
        if not account.told & bit:
            account.told |= bit
            self._exceeded.append((account.key, failure.quota))

    def _mark(self, *accounts: Account) -> None:
        for account in accounts:
            if not account.is_dirty:
                account.is_dirty = True
                self._dirty.append(account)

    def _open(self, tenant_id: str, installation_id: str) -> tuple[Account, Account]:
        policy, tenant = self._policy(tenant_id), self._account(tenant_id)
        plugin = Account((tenant_id, installation_id), policy.plugin, self._warn_from)
        plugin.last_used = self._now()
        plugin.hear(self._elsewhere.get(plugin.key, 0))
        pair = self._pairs[installation_id] = (tenant, plugin)
        self._plugins.setdefault(tenant_id, {})[installation_id] = plugin
        return pair

    def _account(self, tenant_id: str) -> Account:
        account = self._tenants.get(tenant_id)
        if account is None:
            account = Account((tenant_id, ""), self._policy(tenant_id).tenant, self._warn_from)
            account.last_used = self._now()
            account.hear(self._elsewhere.get(account.key, 0))
            self._tenants[tenant_id] = account
        return account

    def _account_of(self, key: Key) -> Account:
        if not key[1]:
            return self._account(key[0])
        return (self._pairs.get(key[1]) or self._open(*key))[1]

    def _find(self, key: Key) -> Account | None:
        if not key[1]:
            return self._tenants.get(key[0])
        pair = self._pairs.get(key[1])
        return None if pair is None else pair[1]

    def _policy(self, tenant_id: str) -> Policy:
        policy = self._policies.get(tenant_id)
        if policy is None:
            # A stranger, until the next exchange: the least that anybody is allowed.
            self._unknown.add(tenant_id)
            policy = self._policy_on(self._default_plan, tenant_id)
        return policy

    def _policy_on(self, name: str, tenant_id: str) -> Policy:
        """What a tenant with this plan is allowed; one value for all of them that have nothing of their own."""
        override = self._overrides.get(tenant_id)
        policy = None if override else self._usual.get(name)
        if policy is None:
            plan = self._plans.get(name)
            if plan is None:
                _log.warning("plan-unknown", plan=name, instead=self._default_plan)
                plan = self._plans[self._default_plan]
            policy = policy_of(name, plan, override)
            if not override:
                self._usual[name] = policy
        return policy

    def _learn_plans(self, tenants: Iterable[str], plans: dict[str, str]) -> None:
        changed: dict[str, Policy] = {}
        for tenant_id in tenants:
            policy = self._policy_on(plans.get(tenant_id, self._default_plan), tenant_id)
            before = self._policies.get(tenant_id)
            if before is not policy and before != policy:
                changed[tenant_id] = self._policies[tenant_id] = policy
                if (tenant := self._tenants.get(tenant_id)) is not None:
                    tenant.allow(policy.tenant)
        for tenant_id, allowed in changed.items():
            for plugin in self._plugins.get(tenant_id, {}).values():
                if allowed.plugin != plugin.quotas:
                    plugin.allow(allowed.plugin)

    def _apply(self, rule: repository.Rule) -> list[str]:
        """Take a rule in; installations whose isolates run under limits that are out of date."""
        if rule.kind == "plugin":
            return self.book.set_plugin(rule.subject, rule.value)
        if rule.kind == "installation":
            return self.book.set_installation(rule.subject, rule.value)
        if rule.kind == "plan":
            self._apply_plan(rule.subject, rule.value)
        elif rule.kind == "tenant":
            if rule.value:
                self._overrides[rule.subject] = rule.value
            else:
                self._overrides.pop(rule.subject, None)
            # Its plan may be another one, too.
            self._unknown.add(rule.subject)
        return []

    def _apply_plan(self, name: str, value: dict[str, Any] | None) -> None:
        self._usual.clear()
        if value is not None:
            self._plans[name] = PlanSettings.model_validate(value)
        elif name in self._own_plans:
            self._plans[name] = self._own_plans[name]
        else:
            self._plans.pop(name, None)
        affected = [id for id, policy in self._policies.items() if policy.plan == name]
        self._learn_plans(affected, dict.fromkeys(affected, name))

    def _now(self) -> float:
        return self._monotonic() + self._offset

    def _set_clock(self) -> None:
        # Asked for here instead of on every call: the clock of the day takes longer to read, and can jump.
        offset = self._clock.now().timestamp() - self._monotonic()
        if abs(offset - self._offset) > 1:
            for tenant, plugin in self._pairs.values():
                tenant.due = plugin.due = 0.0
        self._offset = offset


def exceeded(failure: QuotaFailure) -> QuotaExceededError:
    """The error for whoever asked."""
    return QuotaExceededError(
        failure.message, hint=failure.hint, quota=failure.quota, scope=failure.scope, limit=failure.limit,
        used=failure.used, retry_after_s=failure.retry_after_s,
    )  # fmt: skip
