"""Scale: how cost grows with what is alive, with what is installed, and with the processes that serve.

Each of the first two is asked beside the same with few, in one run, because it is the ratio that matters.
"""

from __future__ import annotations

from benchmarks.scale import alive, installed, processes

__all__ = ["QUESTIONS"]

QUESTIONS = (*alive.QUESTIONS, *installed.QUESTIONS, *processes.QUESTIONS)
