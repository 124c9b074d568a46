"""Which addresses a widget may point to.

The rules are those of an allow-list: what is not plainly one of the known forms is refused, because browsers repair
addresses in ways of their own (they drop tabs and line feeds, take `\\` for `/`, and ignore leading controls).
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["is_safe_image", "is_safe_link", "is_safe_path"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WEB = re.compile(r"https?://(?P<authority>[^/?#]+)", re.IGNORECASE)
_MAIL = re.compile(r"mailto:[^\s@]+@[^\s@?]+(\?.*)?", re.IGNORECASE)
# Raster images alone: an SVG is a document, and a page might show it as one.
_DATA = re.compile(r"data:image/(png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/]+={0,2}", re.IGNORECASE)


def is_safe_link(address: str) -> bool:
    """Whether it is http(s), mailto, or relative to the host's page."""
    if not _is_plain(address):
        return False
    if _SCHEME.match(address):
        return _is_web(address) or _MAIL.fullmatch(address) is not None
    # `//elsewhere` looks relative and is not. A colon has no place in the first segment (RFC 3986, 4.2), nor has what a
    # careless template would turn into one.
    first = re.split(r"[/?#]", address, maxsplit=1)[0]
    return bool(address) and not address.startswith("//") and ":" not in first and "&" not in first


def is_safe_image(address: str) -> bool:
    """Whether it is http(s), or carries a raster image itself."""
    return _DATA.fullmatch(address) is not None or (_is_plain(address) and _is_web(address))


def is_safe_path(path: str) -> bool:
    """Whether it names a file inside the plugin's package."""
    parts = path.split("/")
    return _is_plain(path) and not _SCHEME.match(path) and all(part not in ("", ".", "..") for part in parts)


def _is_plain(address: str) -> bool:
    return not any(char in _NEVER or unicodedata.category(char) in _ODD for char in address)


_NEVER = frozenset('\\<>"`')
_ODD = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})


def _is_web(address: str) -> bool:
    match = _WEB.match(address)
    # `https://shop.example@elsewhere.example` leads elsewhere and reads as the shop.
    return match is not None and "@" not in match["authority"]
