"""The plan: what must change so that what is wanted holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from resolvelib import BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver

from jackfield.resolution.errors import DependencyConflictError, DependencyCycleError, HasDependantsError
from jackfield.resolution.explanation import explain
from jackfield.resolution.models import Candidate, Install, Plan, Step, Uninstall, Want
from jackfield.resolution.provider import Provider, Requirement
from jackfield.resolution.ranges import VersionRange

__all__ = ["plan"]

_MAX_ROUNDS = 2_000


def plan(
    want: Iterable[Want],
    have: Iterable[Candidate],
    catalogue: Mapping[str, Sequence[Candidate]],
    *,
    platform: str,
) -> Plan:
    """What to do, in order.

    Args:
        have: What is installed.
        catalogue: Slug → releases, of every plugin that could come into it.
        platform: Version of this platform.

    Raises:
        DependencyConflictError: Requirements exclude one another.
        DependencyMissingError: Something needed is not in the catalogue.
        DependencyCycleError: What should be installed needs itself, by way of others.
        HasDependantsError: What should be removed is needed.
        RangeInvalidError: A version or a range cannot be read.
    """
    wishes = list(want)
    before = {candidate.slug: candidate for candidate in have}
    goes = _removed([wish for wish in wishes if isinstance(wish, Uninstall)], before)
    stays = {slug: candidate for slug, candidate in before.items() if slug not in goes}
    installs = [wish for wish in wishes if isinstance(wish, Install)]
    after = _resolve(installs, stays, catalogue, platform) if installs else stays
    return Plan(
        steps=(*_removals(goes, before), *_additions(installs, stays, after)),
        needs={slug: tuple(_needs(after[slug], after)) for slug in sorted(after)},
    )


# -- removing --------------------------------------------------------------------------------------------------------


def _removed(wishes: Sequence[Uninstall], before: Mapping[str, Candidate]) -> dict[str, str]:
    """What goes, and why."""
    goes = {wish.slug: "You asked for it." for wish in wishes if wish.slug in before}
    closed = {wish.slug for wish in wishes if not wish.with_dependants}
    blocked: dict[str, list[str]] = {}
    waiting = list(goes)
    while waiting:
        slug = waiting.pop()
        for candidate in before.values():
            if candidate.slug in goes or slug not in _needs(candidate, before):
                continue
            if slug in closed:
                blocked.setdefault(slug, []).append(candidate.slug)
            else:
                goes[candidate.slug] = f"It needs {slug}."
                waiting.append(candidate.slug)
    # Something found later may take a dependant away by itself.
    blocked = {slug: names for slug in blocked if (names := sorted(set(blocked[slug]) - goes.keys()))}
    if blocked:
        raise HasDependantsError(dict(sorted(blocked.items())))
    return goes


def _removals(goes: Mapping[str, str], before: Mapping[str, Candidate]) -> list[Step]:
    # A circle that was installed somehow must still be removable, so order is best effort here.
    order = _ordered({slug: before[slug] for slug in goes}, is_strict=False)
    return [Step("uninstall", slug, before[slug].version, None, goes[slug]) for slug in reversed(order)]


# -- adding ----------------------------------------------------------------------------------------------------------


def _resolve(
    installs: Sequence[Install],
    stays: Mapping[str, Candidate],
    catalogue: Mapping[str, Sequence[Candidate]],
    platform: str,
) -> dict[str, Candidate]:
    """Everything that will be installed."""
    wanted = frozenset(wish.slug for wish in installs)
    requirements = [Requirement(wish.slug, VersionRange(wish.versions), "you asked for it") for wish in installs]
    requirements += [Requirement(slug, VersionRange("*"), "it is installed") for slug in sorted(stays.keys() - wanted)]
    present = frozenset(stays) | wanted
    while True:
        provider = Provider(stays, catalogue, wanted, present, platform)
        try:
            result = Resolver(provider, BaseReporter()).resolve(requirements, max_rounds=_MAX_ROUNDS)
        except ResolutionImpossible as error:  # pyright: ignore[reportUnknownVariableType]  # generic, and caught bare
            causes = cast("Sequence[Any]", error.causes)  # pyright: ignore[reportUnknownMemberType]  # as above
            raise explain(causes, provider, catalogue) from error
        except ResolutionTooDeep as error:
            raise DependencyConflictError(
                min(wanted), [f"No set of releases was found within {_MAX_ROUNDS} attempts."]
            ) from error
        # Something that was not there before may be an optional need of others: then its version matters to them.
        found = frozenset(result.mapping)
        if found <= present:
            return _reachable(wanted | stays.keys(), result.mapping)
        present |= found


def _reachable(roots: Iterable[str], found: Mapping[str, Candidate]) -> dict[str, Candidate]:
    """What is asked for and what that needs: an optional need alone brings nothing in."""
    reached: dict[str, Candidate] = {}
    waiting = list(roots)
    while waiting:
        slug = waiting.pop()
        if slug not in reached:
            reached[slug] = found[slug]
            waiting.extend(_needs(found[slug], found))
    return reached


def _additions(
    installs: Sequence[Install], stays: Mapping[str, Candidate], after: Mapping[str, Candidate]
) -> list[Step]:
    changed = {slug: candidate for slug, candidate in after.items() if stays.get(slug) is not candidate}
    asked = {wish.slug for wish in installs}
    steps: list[Step] = []
    for slug in _ordered(changed, is_strict=True):
        old = stays.get(slug)
        because = "You asked for it." if slug in asked else _because(slug, after)
        steps.append(
            Step(
                "install" if old is None else "update", slug, after[slug].version, None if old is None else old.version,
                because,
            )
        )  # fmt: skip
    return steps


def _because(slug: str, after: Mapping[str, Candidate]) -> str:
    needs = [
        f"{candidate} needs {need.slug} {VersionRange(need.versions)}"
        for candidate in sorted(after.values(), key=str)
        for need in candidate.requires
        if need.slug == slug
    ]
    return "; ".join(needs) + "."


def _needs(candidate: Candidate, among: Mapping[str, Candidate]) -> list[str]:
    return sorted({need.slug for need in candidate.requires if not need.is_optional and need.slug in among})


def _ordered(candidates: Mapping[str, Candidate], *, is_strict: bool) -> list[str]:
    """Slugs, what is needed first. Optional needs are honoured as long as they lead into no circle."""
    firm = {slug: set(_needs(candidates[slug], candidates)) for slug in sorted(candidates)}
    soft = {slug: {need.slug for need in candidates[slug].requires} & candidates.keys() for slug in firm}
    for graph in (soft, firm):
        try:
            return _sorted(graph)
        except CycleError as error:
            # graphlib lists a circle from the needed to the needing.
            cycle = [str(slug) for slug in reversed(error.args[1])]
            if is_strict and graph is firm:
                raise DependencyCycleError(_from_smallest(cycle)) from error
    return sorted(candidates)


def _sorted(graph: Mapping[str, set[str]]) -> list[str]:
    """A topological order that depends on nothing but the graph."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return order


def _from_smallest(cycle: list[str]) -> list[str]:
    """`b → c → a → b` as `a → b → c → a`: the same circle always reads the same."""
    ring = cycle[:-1]
    start = ring.index(min(ring))
    return [*ring[start:], *ring[:start], ring[start]]
