"""Which modules are changed when they are imported."""

from __future__ import annotations

__all__ = ["PATCHED"]

PATCHED = {
    "certifi.core": "certifi_core",
    "http.client": "http_client",
    "httpx._transports.default": "httpx_default",
    "requests.adapters": "requests_adapters",
    "urllib3.connection": "urllib3_connection",
}
"""Module → function of `patches`."""
