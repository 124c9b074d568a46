"""What an isolate may ask of the platform, one file each, behind `gate.py`.

Identity comes from the context that the platform makes for each call; arguments only ever say what, never whose. Every
call is decoded by its type, checked against the installation's grants, and answered as msgpack or refused with a code.
"""

from __future__ import annotations

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.gate import Gate
from jackfield.capabilities.holdings import Counts, export, inventory, purge
from jackfield.capabilities.permissions import Asked, Described, asked, covers, describe, entity_of
from jackfield.capabilities.secrets import secret_names, set_secrets
from jackfield.capabilities.tally import Tally
from jackfield.capabilities.vault import SecretKeys, Vault, create_key_file, ensure_key_file, load_keys

__all__ = [
    "Asked",
    "CapabilityContext",
    "Counts",
    "Described",
    "Gate",
    "SecretKeys",
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
    "load_keys",
    "purge",
    "secret_names",
    "set_secrets",
]
