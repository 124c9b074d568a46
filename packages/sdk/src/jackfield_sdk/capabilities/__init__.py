"""The author's side of each capability: thin, typed calls to the broker outside the isolate.

Each call is checked against what the tenant granted, counted and recorded there. A refusal raises
`PermissionDeniedError`; anything else that fails raises `CapabilityError` with a code and a hint.
"""

from __future__ import annotations

from jackfield_sdk.capabilities.data import Data, Entity
from jackfield_sdk.capabilities.events import Events
from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.capabilities.log import Log
from jackfield_sdk.capabilities.storage import Storage
from jackfield_sdk.capabilities.tables import Table, Tables

__all__ = ["Data", "Entity", "Events", "Host", "Log", "Storage", "Table", "Tables"]
