"""Lets libraries that speak HTTP work unchanged inside an isolate, where there are no sockets.

When plugin code imports `http.client`, `urllib3`, `requests` or `httpx`, the place where they would open a connection
is replaced by one that hands the request to the broker, like `ctx.http`. All that is above it is theirs: retries,
redirects, cookies, JSON. TLS is the platform's to speak; the module `ssl` that they find has the names and nothing
behind them.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from jackfield_sdk.transports.names import PATCHED

__all__ = ["PATCHED", "patch", "patch_loaded"]

_done: set[str] = set()


def patch(module: ModuleType) -> None:
    """Change a module that has just been imported, if it is one of `PATCHED`."""
    name = module.__name__
    if name in PATCHED and name not in _done:
        _done.add(name)
        patches = importlib.import_module("jackfield_sdk.transports.patches")
        getattr(patches, PATCHED[name])(module)


def patch_loaded() -> None:
    """Change those that were imported before. Outside a call of a plugin's they go on as always."""
    for name in PATCHED:
        module = sys.modules.get(name)
        if module is not None:
            patch(module)
