"""Nodes: which processes work on this database, and which of them are gone.

On PostgreSQL each node holds a lock by a connection of its own. The server lets go of it when the process or its
machine dies, and the others see that within about two seconds: they take its work over without waiting for leases. On
SQLite there is one node.
"""

from __future__ import annotations

from jackfield.nodes.doctor import examine
from jackfield.nodes.endpoints import router
from jackfield.nodes.figures import nodes_figures
from jackfield.nodes.service import Nodes, Seen

__all__ = ["Nodes", "Seen", "examine", "nodes_figures", "router"]
