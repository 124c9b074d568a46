"""From a channel's row to what its gateway needs; and the gateways by kind."""

from __future__ import annotations

from collections.abc import Mapping

from jackfield.channels.interfaces import SEALED_FOR, Gateway, Kind, Line, Sealer
from jackfield.channels.local import LocalGateway
from jackfield.channels.models import ChannelRow
from jackfield.channels.telegram import Telegram
from jackfield.egress import Payer

__all__ = ["Lines"]


class Lines:
    """One per node. `sealer` is set by whoever puts the node together: the gate comes after it."""

    def __init__(self, telegram: Telegram) -> None:
        self.telegram = telegram
        local = LocalGateway()
        self._gateways: Mapping[str, Gateway] = {
            "telegram": telegram, "web-chat": local, "http": local, "voice-agent": local,
        }  # fmt: skip
        self.sealer: Sealer | None = None

    def gateway(self, kind: Kind | str) -> Gateway:
        """The gateway of a kind."""
        return self._gateways[kind]

    async def open(self, row: ChannelRow, *, account: str = "", payer: Payer | None = None) -> Line:
        """A channel with its secret in the clear. No session is open while it is used."""
        secret = ""
        if row.secret is not None and self.sealer is not None:
            secret = await self.sealer.open(row.secret, row.tenant_id, SEALED_FOR, row.id)
        return Line(row.tenant_id, row.id, row.settings, secret, account, payer)
