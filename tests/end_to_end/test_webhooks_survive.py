"""Whoever was told that a webhook is kept can forget it, whatever happens to the node a moment later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.server.webhooks.conftest import Receiver
from tests.servers.serving import serving

HOST = Path(__file__).with_name("webhook_process.py")


def _host(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HOST), str(data), *arguments],
        check=False, capture_output=True, text=True, timeout=120, env={**os.environ},
    )  # fmt: skip


def test_what_was_answered_before_kill_9_is_delivered_once_in_and_out(tmp_path: Path) -> None:
    receiver, data = Receiver(), tmp_path / "data"
    with serving(receiver.app) as url:
        prepared = _host(data, "prepare", f"{url}/hook")
        assert prepared.returncode == 0, prepared.stderr
        path = json.loads(prepared.stdout.splitlines()[-1])["path"]
        answered: list[int] = []
        for first in (0, 15):
            # The last five of the run before come again, as a sender does that lost the answers.
            died = _host(data, "take-and-die", path, str(max(0, first - 5)), "20")
            assert died.returncode == -signal.SIGKILL, died.stderr
            answered += [int(line) for line in died.stdout.splitlines() if line.isdecimal()]
        assert set(answered) == set(range(30))
        done = _host(data, "report")
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])["seen"]
        assert {int(number) for number in seen} == set(range(30)), "each that was answered has arrived"
        # At least once: what the death cut off in the midst is done again. What came twice was delivered once.
        assert sum(seen.values()) <= 30 + 2 * 16
        sent = [(headers["webhook-id"], json.loads(body)["data"]["n"]) for headers, body in receiver.requests]
        assert {number for _, number in sent} == set(range(30))
        assert len({id for id, _ in sent}) == len(answered), "one id for each event, however often it was sent"
