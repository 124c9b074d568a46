"""What a Dify plugin process costs before the plugin's own code: a fresh interpreter that imports `dify_plugin`.

Usage: `dify_import.py time` (seconds from spawn to imported), `dify_import.py memory` (bytes of PSS once imported).
Run in the peers' venv.
"""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

from rounds import answer_rounds

# Leaves by `_exit`: gevent, which the import patches in, complains at an orderly end.
FRESH = """
import dify_plugin, os
with open("/proc/self/smaps_rollup") as rollup:
    pss = next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
os.write(1, b"%d\\n" % pss)
os._exit(0)
"""


def sample(count: int, figure: str) -> list[float]:
    """One figure per fresh interpreter."""
    figures: list[float] = []
    for _ in range(count):
        start = perf_counter()
        with subprocess.Popen([sys.executable, "-I", "-c", FRESH], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = perf_counter() - start
        if process.returncode:
            raise SystemExit(f"importing dify_plugin ended with status {process.returncode}")
        figures.append(seconds if figure == "time" else float(line))
    return figures


if __name__ == "__main__":
    answer_rounds(lambda count: sample(count, sys.argv[1]))
