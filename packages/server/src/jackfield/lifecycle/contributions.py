"""What a release adds to a tenant, as plain data for a consent dialog. Pure."""

from __future__ import annotations

from typing import Any

from jackfield_sdk.manifest import Manifest

__all__ = ["contributions"]


def contributions(manifest: Manifest) -> dict[str, list[dict[str, Any]]]:
    """Contributions by kind, each kind present even when there is none of it."""
    return {
        "filters": [
            {
                "hook": part.hook, "priority": part.priority, "when": part.when, "on_error": part.on_error,
                "observe": part.observe,
            }
            for part in manifest.filters
        ],
        "events": [{"event": part.event, "when": part.when, "ordered": part.ordered} for part in manifest.events],
        "emits": [{"event": name} for name in sorted(manifest.emits)],
        "functions": [
            {
                "name": part.name, "description": part.description, "role": part.role, "public": part.public,
                "read_only": part.read_only, "destructive": part.destructive,
            }
            for part in manifest.functions
        ],
        "routes": [
            {"method": part.method, "path": part.path, "auth": part.auth, "description": part.description}
            for part in manifest.routes
        ],
        "schedules": [{"name": part.name, "cron": part.cron, "timezone": part.timezone} for part in manifest.schedules],
        "webhooks": [{"name": part.name, "verify": part.verify} for part in manifest.webhooks],
        "widgets": [{"slot": part.slot, "title": part.title} for part in manifest.widgets],
        "pages": [{"path": part.path, "title": part.title, "role": part.role} for part in manifest.pages],
        "menu": [{"label": part.label, "page": part.page} for part in manifest.menu],
        "tables": [{"name": part.name, "columns": sorted(part.columns)} for part in manifest.tables],
        "field_types": [{"name": part.name, "label": part.label} for part in manifest.field_types],
    }  # fmt: skip
