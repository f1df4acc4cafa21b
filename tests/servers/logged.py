"""A Kui app that logs and fails, for the tests of what `kui run` prints."""

from __future__ import annotations

import logging

from kui.asgi import Kui, websocket

app = Kui()
logger = logging.getLogger("shop.orders")


@app.on_startup
async def tell(app: Kui) -> None:
    logger.info("the shop is open")
    logger.debug("and nobody knows")


@app.router.http.get("/fail/{name}")
async def fail() -> None:
    raise LookupError("no such order")


@app.router.websocket("/fail")
async def fail_socket() -> None:
    await websocket.accept()
    raise LookupError("no such basket")


configured = Kui()


@configured.on_startup
async def configure(app: Kui) -> None:
    logging.basicConfig(format="MINE %(name)s %(message)s", level=logging.INFO)
    logger.info("the shop is open")
