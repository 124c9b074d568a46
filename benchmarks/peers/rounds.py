"""The peer programs' side of the conversation with `benchmarks.peers`.

In: one line with the number of samples wanted. Out: one line, a JSON list of figures (seconds or bytes). Standard
library only, because each peer runs in an interpreter of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable


def answer_rounds(sample: Callable[[int], list[float]]) -> None:
    """Serve rounds until the harness closes our input."""
    for line in sys.stdin:
        print(json.dumps(sample(int(line))), flush=True)
