"""Packages to publish, and ways to send them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from jackfield.registry import Registry, Release
from tests.sdk.crafted import KEY, Key, archive, canonical, contents, entries, gzip, listing, manifest, signature

PUBLISHER = "pub_corner"


def source(slug: str, version: str, **declared: Any) -> bytes:
    words = "".join(f", {name}={value!r}" for name, value in declared.items())
    return f"import jackfield_sdk as jf\n\nplugin = jf.Plugin({slug!r}, version={version!r}{words})\n".encode()


def package(
    slug: str = "points",
    version: str = "1.0.0",
    *,
    key: Key = KEY,
    files: Mapping[str, bytes] | None = None,
    signed: Mapping[str, Any] | None = None,
    listed: Mapping[str, Any] | None = None,
    **declared: Any,
) -> bytes:
    """A package as `jackfield pack` would make it.

    Args:
        files: Further files, or others in place of the made ones.
        signed: What the signed manifest says otherwise than the code declares.
        listed: What the list says otherwise.
        declared: Arguments of `jf.Plugin` in the code.
    """
    told = {"slug": slug, "version": version, "name": slug.replace("-", " ").capitalize(), **declared, **(signed or {})}
    everything = contents({"src/plugin.py": source(slug, version, **declared), **(files or {})}, **told)
    everything["manifest.json"] = (files or {}).get("manifest.json", manifest(**told).encode())
    raw = canonical(listing(everything, **{"slug": slug, "version": version, **(listed or {})}))
    return gzip(archive(entries(everything, raw_list=raw, raw_signature=signature(raw, key))))


async def chunks(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def publish(registry: Registry, data: bytes, publisher_id: str = PUBLISHER) -> Release:
    return await registry.publish(chunks(data), publisher_id)


async def prepare(registry: Registry, publisher_id: str = PUBLISHER, key: Key = KEY) -> None:
    """A publisher with a key."""
    await registry.ensure_publisher(publisher_id, publisher_id.title())
    await registry.add_key(publisher_id, key.public, key.sign(f"jackfield-key-v1\n{publisher_id}".encode()))
