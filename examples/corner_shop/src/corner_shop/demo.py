"""The demo as a whole: keys, platform, sample data, plugins, and the file that tells others how to reach it."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from fastapi import FastAPI

from corner_shop.extension import Extension
from corner_shop.extension.setup import Access, prepare
from corner_shop.files import read_or_create, write_private
from corner_shop.shop import seeds
from corner_shop.web.app import create_app

__all__ = ["Demo"]


class Demo:
    """Starts on entering, stops on leaving; the caller serves `app` in between.

    Args:
        data: Directory for everything that is kept. The first run makes it, with the keys in it.
        plugins: Folder with the sources of the plugins that the demo publishes.
    """

    app: FastAPI
    _access: Access

    def __init__(self, data: Path, *, host: str, port: int, plugins: Path) -> None:
        self._data = data
        self._host = host
        self._plugins = plugins
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  # compared, not listened on
        self.url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
        self._stack = AsyncExitStack()

    @property
    def file(self) -> Path:
        """Address and tokens, as JSON, for scripts and tests."""
        return self._data / "demo.json"

    async def __aenter__(self) -> Self:
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        session_key = read_or_create(self._data / "session.key", lambda: secrets.token_bytes(32))
        async with AsyncExitStack() as stack:
            extension = await stack.enter_async_context(Extension(self._data, public_url=self.url))
            async with extension.write() as session:
                await seeds.plant(session)
            self._access = await prepare(extension, self._data, self._plugins, self.file)
            self.app = create_app(extension, session_key=session_key, listens_on=self._host)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def farewell(self) -> None:
        """The server is about to stop."""
        self.app.state.extension.platform.drain()

    def announce(self) -> None:
        """Say that the server answers now: in `demo.json`, and on the terminal."""
        write_private(self.file, self._access.as_json(self.url))
        print(
            f"\n  The Corner Shop and Harbour Clinic are open at {self.url}\n"
            f"  API tokens of both, of the operator and of the publisher: {self.file}\n"
            "  Ctrl+C closes them.\n",
            flush=True,
        )
