"""`python -m benchmarks`: ask the questions, print the table, write `benchmarks/results.json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import uvloop

from benchmarks import (
    cold_call,
    deadline,
    egress,
    engine_drain,
    engine_idle,
    engine_latency,
    entity_list,
    filter_without_subscriber,
    isolate_memory,
    neighbour,
    peers,
    route,
    scale,
    storage_get,
    storage_increment,
    warm_call,
)
from benchmarks.harness import Effort, Question, Row, Series, measure

QUESTIONS: dict[str, Question | Series] = {
    question.name: question
    for module in (
        cold_call,
        warm_call,
        isolate_memory,
        storage_get,
        storage_increment,
        entity_list,
        egress,
        filter_without_subscriber,
        route,
        neighbour,
        deadline,
        engine_drain,
        engine_latency,
        engine_idle,
        scale,
    )
    for question in module.QUESTIONS
}
RESULTS = Path(__file__).resolve().parent / "results.json"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when a peer cannot be had."""
    options = _parser().parse_args(argv)
    questions = [QUESTIONS[name] for name in options.only or QUESTIONS]
    without = frozenset(options.without_peer)
    wanted = {beside.program.peer for question in questions for beside in question.peers} - without
    try:
        peers.build(wanted)
        rows = uvloop.run(_ask(questions, options, without))
    except peers.PeerError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    # Only a complete run replaces the results: figures of different runs do not belong in one file.
    whole = not (options.only or options.quick or options.peers_only)
    output = options.output or (RESULTS if whole else None)
    if output is not None:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n")
        print(f"\nwritten: {output}")
    return 0


async def _ask(
    questions: Sequence[Question | Series], options: argparse.Namespace, without: frozenset[str]
) -> list[Row]:
    rows: list[Row] = []
    print(_line("figure", "jackfield", "", "peer", "peer's", "ratio"))
    for question in questions:
        answers = await measure(
            question, effort=Effort(quick=options.quick), without=without, with_ours=not options.peers_only
        )
        for row in answers:
            print(
                _line(row.name, _number(row.value), row.unit, row.peer, _number(row.peer_value), _number(row.ratio)),
                flush=True,
            )
        rows += answers
    return rows


def _line(name: str, value: str, unit: str, peer: str, peer_value: str, ratio: str) -> str:
    return f"{name:<27}{value:>10} {unit:<4}{peer:<29}{peer_value:>10}{ratio:>10}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--only",
        action="append",
        choices=list(QUESTIONS),
        metavar="NAME",
        help=f"this question alone (again for more): {', '.join(QUESTIONS)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few samples: shows that everything works, not what it costs"
    )
    parser.add_argument("--peers-only", action="store_true", help="the peers without us")
    parser.add_argument(
        "--without-peer",
        action="append",
        choices=peers.NAMES,
        default=[],
        metavar="NAME",
        help=f"leave this peer's figures empty: {', '.join(peers.NAMES)}",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where the rows go as JSON; a complete run replaces benchmarks/results.json",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
