"""An app behind a prefix, with a path that begins with the prefix's own words."""

from __future__ import annotations

from typing import Any

from kui.asgi import Kui, request, websocket

app = Kui()


@app.router.http.get("/users", name="users")
@app.router.http.get("/api/users", name="own")
@app.router.http.get("/é/{name}", name="name")
@app.router.http.get("/", name="home")
async def tell() -> dict[str, Any]:
    return {
        "url": request.url.path,
        "root_path": request["root_path"],
        "routed": request.route.path if request.route else None,
        "users": request.url_for("users"),
    }


@app.router.websocket("/api/socket")
async def socket() -> None:
    await websocket.accept()
    await websocket.send_text(websocket.url.path)
