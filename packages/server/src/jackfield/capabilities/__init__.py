"""What an isolate may ask of the platform, one file each, behind `gate.py`.

Identity comes from the context that the platform makes for each call; arguments only ever say what, never whose. Every
call is decoded by its type, checked against the installation's grants, and answered as msgpack or refused with a code.
"""

from __future__ import annotations

from jackfield.capabilities.audit_keys import load_audit_keys
from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.file_reading import FileReader, StoredFile
from jackfield.capabilities.file_rules import served_type
from jackfield.capabilities.gate import Gate
from jackfield.capabilities.holdings import Counts, export, inventory, purge
from jackfield.capabilities.key_endpoints import keys_router
from jackfield.capabilities.leaks import Leak, LeakBook
from jackfield.capabilities.permissions import Asked, Described, asked, covers, describe, entity_of
from jackfield.capabilities.rights import AccessBook, Granted, GrantSource
from jackfield.capabilities.rotation import KeyStatus, Rotation
from jackfield.capabilities.secrets import SecretState, secret_names, secret_states, set_secrets
from jackfield.capabilities.tally import Tally
from jackfield.capabilities.vault import SecretKeys, Vault, create_key_file, ensure_key_file, key_file_held, load_keys

__all__ = [
    "AccessBook",
    "Asked",
    "CapabilityContext",
    "Counts",
    "Described",
    "FileReader",
    "Gate",
    "GrantSource",
    "Granted",
    "KeyStatus",
    "Leak",
    "LeakBook",
    "Rotation",
    "SecretKeys",
    "SecretState",
    "StoredFile",
    "Tally",
    "Vault",
    "asked",
    "covers",
    "create_key_file",
    "describe",
    "ensure_key_file",
    "entity_of",
    "export",
    "inventory",
    "key_file_held",
    "keys_router",
    "load_audit_keys",
    "load_keys",
    "purge",
    "secret_names",
    "secret_states",
    "served_type",
    "set_secrets",
]
