"""Settings of a node, read from arguments and from `JACKFIELD_*` environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["IsolationLevel", "LimitSettings", "Settings"]

IsolationLevel = Literal["strict", "unprivileged", "none"]


class LimitSettings(BaseSettings):
    """Defaults and ceilings of what one plugin call may use; a manifest may ask for less, not for more."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_LIMIT_", frozen=True)

    memory_mb: int = Field(default=128, ge=16)
    cpu_ms: int = Field(default=5_000, ge=10)
    wall_ms: int = Field(default=30_000, ge=10)
    host_calls: int = Field(default=1_000, ge=0)
    result_bytes: int = Field(default=1024 * 1024, ge=1024)
    host_call_bytes: int = Field(default=256 * 1024, ge=1024)
    output_bytes: int = Field(default=64 * 1024, ge=1024)
    """Log output per call; the rest is dropped, ten times as much ends the isolate."""
    descriptors: int = Field(default=64, ge=16)
    concurrency: int = Field(default=4, ge=1)
    """Isolates of one installation at the same time."""
    payload_depth: int = Field(default=32, ge=4)


class Settings(BaseSettings):
    """One node."""

    model_config = SettingsConfigDict(env_prefix="JACKFIELD_", frozen=True)

    data_dir: Path = Field(default=Path(".data"), validate_default=True)
    database_url: str | None = None
    """SQLAlchemy URL; a SQLite file in `data_dir` when absent."""
    secret_key: str | None = None
    """`KEYID:BASE64(32 bytes)`, several joined by commas, the first one encrypts. When absent, a key file in `data_dir`
    is used, which is made together with a fresh folder; without either the node does not start."""
    isolation: IsolationLevel = Field(default_factory=lambda: "strict" if os.geteuid() == 0 else "unprivileged")
    """`strict` for root, `unprivileged` for anybody else, unless it is set. It is never lowered by itself: what the
    level demands and the machine does not give keeps the node from starting."""
    isolate_budget: int = Field(default=512, ge=1)
    """Isolates alive at the same time; the least recently used idle one goes first."""
    isolate_calls: int = Field(default=10_000, ge=1)
    """Calls after which an isolate is replaced."""
    isolate_idle_s: float = Field(default=300.0, gt=0)
    max_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    max_package_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    public_url: str = "http://127.0.0.1:8000"
    limits: LimitSettings = Field(default_factory=LimitSettings)

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        # Processes with another working directory are told of files below it.
        return path.absolute()

    @property
    def database_file(self) -> Path:
        """The embedded database."""
        return self.data_dir / "jackfield.sqlite3"

    @property
    def url(self) -> str:
        """The database's URL, with the embedded default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.database_file}"
