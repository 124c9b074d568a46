"""DBOS on SQLite: workflows of a queue per second, or what a worker costs that has nothing to do.

Usage: `dbos_queue.py drain|idle`. `drain`: the rate from the first trivial workflow to the last of a backlog; each
round is a process of its own. `idle`: the share of one processor over as many seconds as are asked for.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from typing import Any

from processor import share_of_a_processor
from rounds import answer_rounds

QUEUE = "bench"
POLL_S = 0.05


def launched(folder: str) -> Any:
    """DBOS at work on a new database."""
    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
            "log_level": "ERROR",
        }
    )
    return DBOS


def main() -> None:
    """Read the argument."""
    mode = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="dbos-bench-") as folder:
        dbos = launched(folder)
        times: list[float] = []
        wanted, is_done = [0], threading.Event()

        @dbos.workflow()
        def handle(n: int) -> None:
            times.append(time.perf_counter())
            if len(times) == wanted[0]:
                is_done.set()

        dbos.launch()
        if mode == "idle":
            dbos.register_queue(QUEUE, polling_interval_sec=POLL_S)
            time.sleep(2)
            answer_rounds(lambda count: [share_of_a_processor(os.getpid(), count)])
            os._exit(0)

        def drain(count: int) -> list[float]:
            wanted[0] = count
            for n in range(count):
                dbos.enqueue_workflow(QUEUE, handle, n)
            # Whoever works on the queue learns of it now.
            dbos.register_queue(QUEUE, polling_interval_sec=POLL_S)
            if not is_done.wait(100):
                raise RuntimeError(f"{len(times)} of {count} were done")
            return [(count - 1) / (max(times) - min(times))]

        answer_rounds(drain)
        # Its threads would be waited for.
        os._exit(0)


if __name__ == "__main__":
    main()
