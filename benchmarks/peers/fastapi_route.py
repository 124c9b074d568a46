"""Requests per second of a route in bare FastAPI: no sign-in, no tenants, no sandbox, no record; uvicorn as at ours.

The server is a process of its own, so that the client's work is not its.
"""

from __future__ import annotations

import os
import signal
import socket

import uvicorn
from fastapi import FastAPI
from http_load import serve

app = FastAPI()


@app.get("/hello/{name}")
async def hello(name: str) -> dict[str, str]:
    """What our plugin's route answers."""
    return {"text": f"hello, {name}"}


def main() -> None:
    """Fork the server and ask it."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    child = os.fork()
    if child == 0:
        uvicorn.Server(uvicorn.Config(app, loop="uvloop", log_level="error", access_log=False)).run(sockets=[listener])
        os._exit(0)
    try:
        serve(port, "/hello/ann", [])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
