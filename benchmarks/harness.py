"""Rounds, statistics and rows: how a question is measured so that its ratio means something.

We and the peers take turns, round by round, so all see the same machine. Each round gives a statistic of its own and
the median over the rounds counts: one round beside somebody's compiler does not become the result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from math import ceil
from statistics import fmean, median

from benchmarks.peers import Program

__all__ = [
    "Beside", "Effort", "Figure", "Ours", "Question", "Row", "Sampler", "Series", "mean", "measure", "p50", "p99",
]  # fmt: skip

Sampler = Callable[[int], Awaitable[list[float]]]
"""One round: so many figures wanted; seconds, bytes or rates come back, none at all where they cannot be had."""


def percentile(figures: Sequence[float], share: float) -> float:
    """Nearest rank: a figure that was measured, never one between two."""
    ordered = sorted(figures)
    return ordered[ceil(len(ordered) * share) - 1]


def p50(figures: Sequence[float]) -> float:
    """The middle one."""
    return percentile(figures, 0.50)


def p99(figures: Sequence[float]) -> float:
    """What one in a hundred exceeds; of fewer than a hundred figures, the largest."""
    return percentile(figures, 0.99)


def mean(figures: Sequence[float]) -> float:
    """For memory, where the sum is what matters."""
    return fmean(figures)


_SCALES = {"ms": 1e3, "µs": 1e6, "MB": 1e-6, "/s": 1.0, "%": 1e2}


@dataclass(frozen=True)
class Figure:
    """One number that a question asks for.

    Args:
        unit: `ms` or `µs` of seconds measured, `MB` (10^6) of bytes, `/s` of rates, `%` of shares.
    """

    name: str
    unit: str
    statistic: Callable[[Sequence[float]], float]

    def of(self, rounds: Sequence[Sequence[float]]) -> float | None:
        """The median over the rounds, in our unit; None when a round is empty."""
        if not all(rounds):
            return None
        return median(self.statistic(figures) for figures in rounds) * _SCALES[self.unit]


@dataclass(frozen=True)
class Beside:
    """A peer's part in a question: `count` samples a round."""

    program: Program
    count: int


@dataclass(frozen=True)
class Ours:
    """Jackfield's side, open.

    Args:
        for_peers: What the peers' commands get in addition, such as the path of our database.
        beside: Other measurements of our own to compare with, by their labels; as many samples as of ours.
    """

    sample: Sampler
    for_peers: tuple[str, ...] = ()
    beside: tuple[tuple[str, Sampler], ...] = ()


@dataclass(frozen=True)
class Effort:
    """How thoroughly: a quick run proves that everything works, not what it costs."""

    quick: bool = False

    def rounds(self, wanted: int) -> int:
        """Rounds to run."""
        return min(2, wanted) if self.quick else wanted

    def count(self, wanted: int) -> int:
        """Samples to take in a round."""
        return max(1, wanted // 10) if self.quick else wanted


@dataclass(frozen=True)
class Question:
    """What one file asks.

    Args:
        count: Our own samples in a round.
        ours: Opens Jackfield's side: a platform with what the question needs installed. None in a series, which does.
    """

    name: str
    figures: tuple[Figure, ...]
    count: int
    ours: Callable[[Effort], AbstractAsyncContextManager[Ours]] | None
    peers: tuple[Beside, ...]
    rounds: int = 5


@dataclass(frozen=True)
class Series:
    """Questions that are asked one after the other of a side of ours that takes long to open, and is opened once.

    Args:
        ours: Opens our side; by the questions' names. Their own `ours` is not asked for.
    """

    name: str
    questions: tuple[Question, ...]
    ours: Callable[[Effort], AbstractAsyncContextManager[Mapping[str, Ours]]]

    @property
    def peers(self) -> tuple[Beside, ...]:
        """Those of all questions."""
        return tuple(beside for question in self.questions for beside in question.peers)


@dataclass(frozen=True)
class Row:
    """One line of the table. `ratio` is ours by theirs: below 1, we are smaller."""

    name: str
    value: float | None
    unit: str
    peer: str
    peer_value: float | None
    ratio: float | None


async def measure(asked: Question | Series, *, effort: Effort, without: frozenset[str], with_ours: bool) -> list[Row]:
    """Run the rounds of a question, ours and the peers' by turns; of a series, question by question."""
    if isinstance(asked, Question):
        return await _measure(asked, effort, without, with_ours=with_ours)
    rows: list[Row] = []
    async with asked.ours(effort) if with_ours else nullcontext(dict[str, Ours]()) as opened:
        for question in asked.questions:
            one = replace(question, ours=_open_already(opened[question.name])) if with_ours else question
            rows += await _measure(one, effort, without, with_ours=with_ours)
    return rows


def _open_already(ours: Ours) -> Callable[[Effort], AbstractAsyncContextManager[Ours]]:
    return lambda _effort: nullcontext(ours)


async def _measure(question: Question, effort: Effort, without: frozenset[str], *, with_ours: bool) -> list[Row]:
    async with AsyncExitStack() as stack:
        sides: list[tuple[str, Sampler, int]] = []
        for_peers: tuple[str, ...] = ()
        if with_ours:
            assert question.ours is not None, "a question of a series is not asked by itself"
            ours = await stack.enter_async_context(question.ours(effort))
            sides.append((_OURS, ours.sample, question.count))
            sides += [(label, sample, question.count) for label, sample in ours.beside]
            for_peers = ours.for_peers
        for beside in question.peers:
            if beside.program.peer not in without:
                running = await stack.enter_async_context(beside.program.running(*for_peers))
                sides.append((beside.program.label, running.sample, beside.count))
        figures: dict[str, list[list[float]]] = {label: [] for label, _, _ in sides}
        # A round to warm up, which does not count: caches, lazily imported modules, Node's compiler.
        for _, sample, count in sides:
            await sample(max(1, effort.count(count) // 4))
        for _ in range(effort.rounds(question.rounds)):
            for label, sample, count in sides:
                figures[label].append(await sample(effort.count(count)))
    # In the order that they were opened in; who was left out has an empty row.
    labels = [label for label in figures if label != _OURS]
    labels += [beside.program.label for beside in question.peers if beside.program.label not in figures]
    return [_row(figure, label, figures) for figure in question.figures for label in labels]


_OURS = "jackfield"


def _row(figure: Figure, peer: str, rounds: dict[str, list[list[float]]]) -> Row:
    value = figure.of(rounds[_OURS]) if _OURS in rounds else None
    peer_value = figure.of(rounds[peer]) if peer in rounds else None
    ratio = None if value is None or peer_value is None else value / peer_value
    return Row(figure.name, _short(value), figure.unit, peer, _short(peer_value), _short(ratio))


def _short(value: float | None) -> float | None:
    """Four digits: more would be noise."""
    return None if value is None else float(f"{value:.4g}")
