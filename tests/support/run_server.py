"""Serve an app with hypercorn or uvicorn on an inherited socket: run_server.py KIND module:app FD SECONDS."""

from __future__ import annotations

import os
import signal
import socket
import sys
from functools import partial
from typing import Any


def main(kind: str, spec: str, descriptor: int, graceful_timeout: float) -> None:
    from kui.serving.importing import load_app

    app = load_app(spec)
    root_path = os.environ.get("ROOT_PATH", "")
    if kind == "uvicorn":
        import uvicorn

        timeout: Any = graceful_timeout  # an int, it says; a float works
        http, ws = os.environ.get("UVICORN", "auto,auto").split(",")
        keep_alive: Any = float(os.environ.get("KEEP_ALIVE", "5"))  # likewise
        config = uvicorn.Config(
            app,
            http=http,  # type: ignore[arg-type] # a name that it knows
            ws=ws,  # type: ignore[arg-type] # likewise
            log_level="warning",
            root_path=root_path,
            timeout_graceful_shutdown=timeout,
            timeout_keep_alive=keep_alive,
        )
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
        return

    import anyio
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.graceful_timeout = graceful_timeout
    config.keep_alive_timeout = float(os.environ.get("KEEP_ALIVE", "5"))
    config.loglevel = "WARNING"
    config.root_path = root_path
    config.certfile = config.keyfile = os.environ.get("CERTFILE")
    if kind == "hypercorn-asyncio":
        import hypercorn.asyncio

        # installs its own signal handlers, before it starts the app up
        anyio.run(partial(hypercorn.asyncio.serve, app, config), backend="asyncio")
        return

    import hypercorn.trio

    async def told_to_stop() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                return

    serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=told_to_stop)
    anyio.run(serve, backend="trio")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
