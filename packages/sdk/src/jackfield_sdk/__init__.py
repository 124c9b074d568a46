"""What a plugin author imports: `import jackfield_sdk as jf`.

A plugin is ordinary typed Python. Decorators of `Plugin` declare what it contributes; the types give the schemas; the
`Context` that each handler receives is the only way to do anything outside the handler itself.
"""

from __future__ import annotations

from msgspec import Meta, Struct

from jackfield_sdk import hooks, ui
from jackfield_sdk.context import Context, Health, Request, Response
from jackfield_sdk.errors import (
    CapabilityError,
    ManifestError,
    PermissionDeniedError,
    PluginCallError,
    PluginError,
    RetryLaterError,
    UserError,
    ValidationError,
    VetoError,
)
from jackfield_sdk.manifest import Limits, Manifest, Price
from jackfield_sdk.plugin import Plugin
from jackfield_sdk.schema import Hosts, Secret

__all__ = [
    "CapabilityError",
    "Context",
    "Health",
    "Hosts",
    "Limits",
    "Manifest",
    "ManifestError",
    "Meta",
    "PermissionDeniedError",
    "Plugin",
    "PluginCallError",
    "PluginError",
    "Price",
    "Request",
    "Response",
    "RetryLaterError",
    "Secret",
    "Struct",
    "UserError",
    "ValidationError",
    "VetoError",
    "hooks",
    "ui",
]
