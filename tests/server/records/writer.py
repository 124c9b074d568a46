"""Records without end, until it is killed; says after each how many there are. Run by test_recorder."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from jackfield.db import Database
from jackfield.records import InvocationRecord, Recorder


async def main(url: str, folder: str, flushes: bool) -> None:
    database = Database(url)
    recorder = Recorder(database, Path(folder), interval_s=0.005)
    running = asyncio.create_task(recorder.run()) if flushes else None
    number = 0
    while True:
        recorder.record(
            InvocationRecord(
                id=f"inv_{number:026d}",
                tenant_id="acme",
                installation_id="inst_1",
                plugin="echo",
                version="1.0.0",
                kind="function",
                name="echo",
                handler="echo",
                started_at=time.time(),
            )
        )
        number += 1
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        await asyncio.sleep(0)
        if running is not None and running.done():
            running.result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "1"))
