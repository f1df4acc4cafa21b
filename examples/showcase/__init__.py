"""A small app with a page that shows each thing at work: `kui run examples.showcase:app`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count

import anyio

from kui.asgi import (
    HTTPException,
    HttpResponse,
    HttpView,
    Jinja2Templates,
    Kui,
    SendEventResponse,
    TemplateResponse,
    request,
    websocket,
)

__all__ = ["app"]


@dataclass
class Note:
    text: str
    price: Decimal = Decimal(0)
    id: int = field(default_factory=count(1).__next__)


class NotFound(LookupError):
    pass


async def clock(app: Kui) -> AsyncGenerator[None, None]:
    """A service that lives as long as the app: it counts the seconds in `app.state`."""
    app.state.notes = {}
    app.state.seconds = 0
    app.state.tick = anyio.Event()

    async def tick() -> None:
        while True:
            await anyio.sleep(1)
            app.state.seconds += 1
            app.state.tick.set()
            app.state.tick = anyio.Event()

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(tick)
        yield
        task_group.cancel_scope.cancel()


app = Kui(
    templates=Jinja2Templates("examples.showcase:templates"),
    lifespan=clock,
    json_encoder={Decimal: str},
)


@app.exception_handler(NotFound)
async def note_not_found(exc: NotFound) -> tuple[dict[str, str], int]:
    return {"error": str(exc)}, 404


@app.router.http.get("/")
async def index() -> HttpResponse:
    visited = request.cookies.get("visits", "")  # whatever the client says
    visits = 1 + int(visited if visited.isdecimal() and len(visited) < 10 else 0)
    page = TemplateResponse("index.html", {"visits": visits})
    page.set_cookie("visits", str(visits), max_age=3600, httponly=True)
    return page


@app.router.http.get("/hello", name="hello")
@app.router.http.get("/hello/{name}", name="hello-with-name")
async def hello() -> str:
    return f"hello {request.path_params.get('name', 'world')}"


@app.router.http.get("/sum/{a:int}/{b:decimal}")
def add() -> dict[str, Decimal]:
    """A plain function: it runs in a worker thread, and sees the same request."""
    return {"sum": request.path_params["a"] + request.path_params["b"]}


@app.router.http("/notes")
class Notes(HttpView):
    async def get(self) -> list[Note]:
        return list(app.state.notes.values())

    async def post(self) -> tuple[Note, int, dict[str, str]]:
        data = await request.data()
        try:
            note = Note(str(data["text"]), Decimal(data.get("price", 0)))
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise HTTPException(400, content="A note has a text, and perhaps a price.") from None
        app.state.notes[note.id] = note
        request.background_tasks.append(print, "a note was written:", note.text)
        return note, 201, {"location": request.url_for("note", {"id": note.id})}


@app.router.http("/notes/{id:int}", name="note")
class OneNote(HttpView):
    def find(self) -> Note:
        try:
            note: Note = app.state.notes[request.path_params["id"]]
        except KeyError:
            raise NotFound(f"there is no note {request.path_params['id']}") from None
        return note

    async def get(self) -> Note:
        return self.find()

    async def delete(self) -> tuple[str, int]:
        del app.state.notes[self.find().id]
        return "", 204


@app.router.http.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, content="I am a teapot.")


@app.router.http.get("/seconds")
async def seconds() -> HttpResponse:
    """An event stream: it ends when its client leaves, and when the server stops."""

    async def events() -> AsyncGenerator[dict[str, object], None]:
        while True:
            yield {"id": app.state.seconds, "data": f"{app.state.seconds} seconds"}
            await app.state.tick.wait()

    return SendEventResponse(events())


@app.router.http.post("/upload")
async def upload() -> list[dict[str, object]]:
    """The parts of a form as they arrive; nothing of them is stored."""
    return [
        {"name": part.name, "filename": part.filename, "size": len(await part.read())}
        async for part in request.parts()
    ]


@app.router.websocket("/shout")
async def shout() -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper() + "!")
