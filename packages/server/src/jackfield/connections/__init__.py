"""What an installation is connected to elsewhere: where its entities lie (`data`), and accounts that its plugin uses.

An admin enters address, mapping and credentials; they are tried, then saved. Credentials never come back: adapters and
`ctx.http` put them into requests to the hosts that they are for. `docs/decisions/0012-connections.md` says why.
"""

from __future__ import annotations

from jackfield.connections.adapters import ConnectionAdapters
from jackfield.connections.authorizing import Authorizations
from jackfield.connections.endpoints import router
from jackfield.connections.errors import (
    AuthorizationFailedError,
    AuthorizationInvalidError,
    ConnectionBrokenError,
    ConnectionChangedError,
    ConnectionInvalidError,
    ConnectionMissingError,
    ConnectionNotDeclaredError,
    ConnectionNotReadyError,
    ConnectionTestFailedError,
    CredentialsNeededError,
    TokenEndpointError,
)
from jackfield.connections.handles import ConnectionHandles
from jackfield.connections.house import House
from jackfield.connections.interfaces import InstallationSource, Target
from jackfield.connections.repository import CONNECTIONS, detach, of_installation, purge
from jackfield.connections.service import Connections, Seen

__all__ = [
    "CONNECTIONS",
    "AuthorizationFailedError",
    "AuthorizationInvalidError",
    "Authorizations",
    "ConnectionAdapters",
    "ConnectionBrokenError",
    "ConnectionChangedError",
    "ConnectionHandles",
    "ConnectionInvalidError",
    "ConnectionMissingError",
    "ConnectionNotDeclaredError",
    "ConnectionNotReadyError",
    "ConnectionTestFailedError",
    "Connections",
    "CredentialsNeededError",
    "House",
    "InstallationSource",
    "Seen",
    "Target",
    "TokenEndpointError",
    "detach",
    "of_installation",
    "purge",
    "router",
]
