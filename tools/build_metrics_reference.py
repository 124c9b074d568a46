"""Writes docs/reference/metrics.md from what a node tells at `GET /metrics`.

`python -m tools.build_metrics_reference` writes it; with `--check` it only says whether what is there is what would be
written.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jackfield.app import Platform
from jackfield.capabilities import ensure_key_file
from jackfield.db import migrate
from jackfield.records.exposition import figures_missing
from jackfield.settings import Settings
from tools.committed import ROOT

PAGE = ROOT / "docs" / "reference" / "metrics.md"

_HEAD = """\
# Metrics

Made from the source by `python -m tools.build_metrics_reference`. `GET /metrics` is for operators' tokens, and for
`JACKFIELD_METRICS_TOKEN`. No label is of a tenant unless `JACKFIELD_METRICS_TENANTS` names it; the number of series
does not grow with tenants, installations or paths. Alarms worth having are in [Operate](../how-to/operate.md#be-woken).

Figures of deliveries, schedules, breakers and nodes that are gauges are of all nodes together, and up to 15 seconds
old; all others are of the node that is asked, since it started.

| name | kind | labels | what |
| --- | --- | --- | --- |
"""


async def _metrics() -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        ensure_key_file(Path(folder))
        platform = Platform(Settings(data_dir=Path(folder), isolation="none"))
        try:
            await migrate.upgrade(platform.database)
            found = [metric for source in platform.metric_sources for metric in await source()]
            return [*found, figures_missing(0)]
        finally:
            await platform.database.close()


def page(metrics: Iterable[Any]) -> str:
    """The whole page."""
    rows: list[str] = []
    for metric in sorted(metrics, key=lambda metric: metric.name):
        # What no sample shows yet is known by the family alone.
        labels = [name for name in metric._labelnames if name]  # its own attribute is private, and nothing else knows
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        name = f"{name}_info" if metric.type == "info" else name
        rows.append(f"| `{name}` | {metric.type} | {', '.join(labels)} | {metric.documentation} |")
    return _HEAD + "\n".join(rows) + "\n"


def main(arguments: list[str] | None = None, path: Path = PAGE) -> int:
    made = page(asyncio.run(_metrics()))
    if "--check" in (sys.argv[1:] if arguments is None else arguments):
        if path.is_file() and path.read_text(encoding="utf-8") == made:
            return 0
        print(f"{path.name} is not what the source says: run `python -m tools.build_metrics_reference`")
        return 1
    path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
