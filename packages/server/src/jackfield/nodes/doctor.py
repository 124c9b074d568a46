"""What the doctor says of nodes."""

from __future__ import annotations

from jackfield.db import Database
from jackfield.db.doctor import DatabaseFinding
from jackfield.nodes.service import Nodes

__all__ = ["examine"]


async def examine(database: Database) -> DatabaseFinding:
    """Who works on this database. It is a fault when others live and have not taken over from one that is gone."""
    nodes = await Nodes(database).every()
    if database.is_sqlite:
        working = [node for node in nodes if node.ended_at is None]
        return DatabaseFinding("nodes", True, f"{len(working)} written down; SQLite is for one")
    alive = [node for node in nodes if node.is_alive]
    lost = [node for node in nodes if not node.is_alive and node.ended_at is None]
    says = ", ".join(f"{node.host}:{node.pid} {node.version}" for node in alive) or "none serves"
    if not lost:
        return DatabaseFinding("nodes", True, says)
    names = ", ".join(f"{node.host}:{node.pid}" for node in lost)
    hint = "the others take over within seconds" if alive else "the next one to start takes over"
    return DatabaseFinding("nodes", not alive, f"{says}; gone without a word: {names} ({hint})")
