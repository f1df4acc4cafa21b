"""An app of channels, for tests that need its processes: events, a WebSocket, and who publishes.

The environment says where its channels are: REDIS is a URL, or empty for channels in memory. BUFFER is how many
messages of a channel are at hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import anyio

from kui.asgi import (
    Kui,
    SendEventResponse,
    abort,
    cancel_on_disconnect,
    limit_concurrency,
    request,
    websocket,
)
from kui.channels import Channels, Gap

__all__ = ["app"]

channels = Channels(
    os.environ.get("REDIS") or None, entries=100_000, buffer=int(os.environ.get("BUFFER", "256"))
)
app = Kui(resources=[channels])


def overflow(query: Mapping[str, str]) -> Any:
    return query.get("overflow", "catch_up")


@app.router.http.get("/pid")
async def pid() -> str:
    return str(os.getpid())


@app.router.http.get("/available")
async def available() -> Any:
    return {"available": channels.available}


@app.router.http.post("/publish/{channel}")
async def publish() -> Any:
    data = await request.json
    key = request.query_params.get("key")
    return {"id": await channels.publish(request.path_params["channel"], data, key=key)}


@app.router.http.get("/events/{channel}")
async def events() -> SendEventResponse:
    cursor = request.headers.get("last-event-id")
    return SendEventResponse(
        channels.events(
            request.path_params["channel"], after=cursor, overflow=overflow(request.query_params)
        )
    )


@app.router.websocket("/socket/{channel}")
async def socket() -> None:
    query = websocket.query_params
    async with channels.subscribe(
        websocket.path_params["channel"], after=query.get("after"), overflow=overflow(query)
    ) as subscription:
        await websocket.accept()
        await websocket.send_json({"cursor": subscription.cursor})
        async with cancel_on_disconnect():
            async for item in subscription:
                if isinstance(item, Gap):
                    await websocket.send_json({"gap": [item.after, item.next]})
                else:
                    await websocket.send_json({"cursor": subscription.cursor, "data": item.data})


@app.router.http.get("/one", middlewares=[limit_concurrency(1)])
@app.router.http.get("/one/chosen", middlewares=[limit_concurrency(1, status=429)])
async def one() -> SendEventResponse:
    return SendEventResponse(channels.events("news"))


@app.router.http.get("/secret")
async def secret() -> None:
    abort(401)


@app.router.http.get("/never")
async def never() -> None:
    print("app: waiting", flush=True)
    await anyio.sleep_forever()
