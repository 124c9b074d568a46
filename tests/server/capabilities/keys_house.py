"""A database with secrets of several tenants, and what looks after their keys."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from jackfield.capabilities import Gate, Rotation, Vault, create_key_file, load_keys, set_secrets
from jackfield.capabilities.models import SecretValue
from jackfield.clock import SystemClock
from jackfield.data_adapters import SqlAdapter
from jackfield.db import Base, Database
from jackfield.settings import Settings
from tests.server.capabilities.installations import SURFACE, Installed, installed

__all__ = ["KeysHouse"]

TENANTS = ("acme", "globex", "initech")


class KeysHouse:
    """One node on a data folder. Each tenant has one installation, with two secrets that tell where they belong."""

    def __init__(self, data_dir: Path, database: Database | None = None, secret_key: str | None = None) -> None:
        if secret_key is None:
            create_key_file(data_dir)
        self.settings = Settings(data_dir=data_dir, secret_key=secret_key)
        self.database = database or Database(self.settings.url)
        self.vault = Vault(load_keys(self.settings), lambda: load_keys(self.settings))
        self.gate = Gate(self.database, self.vault, SqlAdapter(self.database, SURFACE))
        self.rotation = Rotation(
            self.database, self.gate.envelope, self.settings, self._slugs_of, SystemClock()
        )  # fmt: skip

    async def _slugs_of(self, _tenant_id: str) -> list[str]:
        return ["another", "loyalty"]

    async def fill(self, *, old: bool = False) -> None:
        """Give each tenant its secrets; `old`: as they were before there were data keys."""
        async with self.database.engine.begin() as connection:
            if self.database.is_sqlite:
                await connection.run_sync(Base.metadata.create_all)
        for tenant in TENANTS:
            async with self.database.write(tenant) as session:
                for name in ("api_key", "other"):
                    if old:
                        token = self.vault.encrypt(f"{tenant}/{name}", tenant, "loyalty", name)
                        place = {"tenant_id": tenant, "installation_id": f"inst_{tenant}", "name": name}
                        session.add(SecretValue(**place, token=token))
                    else:
                        values: dict[str, str | None] = {name: f"{tenant}/{name}"}
                        await set_secrets(session, tenant, f"inst_{tenant}", "loyalty", values, by="member:m")

    def plugin(self, tenant: str) -> Installed:
        grants = ["secrets:api_key", "secrets:other"]
        return installed(self.gate, tenant, f"inst_{tenant}", grants=grants)

    async def all_secrets(self) -> dict[str, str]:
        """Every secret, as its plugin reads it."""
        found: dict[str, str] = {}
        for tenant in TENANTS:
            for name in ("api_key", "other"):
                found[f"{tenant}/{name}"] = await self.plugin(tenant).call("secrets", "reveal", name=name)
        return found

    async def tokens(self) -> list[str]:
        async with self.database.read(None) as session:
            return list(await session.scalars(select(SecretValue.token).order_by(SecretValue.installation_id)))


EXPECTED = {f"{tenant}/{name}": f"{tenant}/{name}" for tenant in TENANTS for name in ("api_key", "other")}
