"""`kui new`: write a small service, a test of it on both loops, and a Dockerfile."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["FILES", "new_project"]

_APP: Final = '''\
"""A service with one page and one stream. `kui run` serves it; `pytest` tests it."""

from collections.abc import AsyncGenerator

import anyio

from kui.asgi import HTTPException, Kui, SendEventResponse, request

app = Kui()


@app.router.http.get("/hello/{name}")
async def hello() -> dict[str, str]:
    name = request.path_params["name"]
    if len(name) > 50:
        raise HTTPException(400, content="A name has at most 50 characters.")
    return {"message": f"Hello, {name}!"}


@app.router.http.get("/ticks")
async def ticks() -> SendEventResponse:
    last = request.headers.get("last-event-id", "0")
    if not (last.isdecimal() and len(last) < 10):
        raise HTTPException(400, content="Last-Event-ID is a number.")
    return SendEventResponse(count(int(last)))


async def count(number: int) -> AsyncGenerator[dict[str, object], None]:
    """Count for as long as the client stays: when it leaves, this function is cancelled."""
    try:
        while True:
            number += 1
            yield {"id": number, "data": f"tick {number}"}
            await anyio.sleep(1)
    finally:
        print("the client has left, or the server stops")
'''
_TEST: Final = '''\
"""Each test runs on trio and on asyncio."""

import pytest

from app import app
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_hello() -> None:
    async with AsyncTestClient(app) as client:
        response = await client.get("/hello/Ada")
        assert response.json() == {"message": "Hello, Ada!"}


async def test_the_stream_ends_with_its_client(capsys: pytest.CaptureFixture[str]) -> None:
    async with AsyncTestClient(app) as client:
        assert (await client.get("/ticks", headers={"last-event-id": "x"})).status_code == 400
        async with client.events("/ticks") as events:
            assert (await events.receive()).data == "tick 1"
        await client.wait_idle()
        assert "has left" in capsys.readouterr().out
'''
_CONTAINERFILE: Final = """\
# First put the wheel of Kui beside this file: pip wheel --no-deps --wheel-dir wheels CHECKOUT_OF_KUI
FROM docker.io/library/python:3.13-slim
WORKDIR /srv
COPY wheels/ wheels/
RUN pip install --no-cache-dir wheels/*.whl
COPY app.py .
USER nobody
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["kui", "run", "app:app", "--bind", "0.0.0.0:8000"]
"""
_README: Final = """\
# A service on Kui

    kui run --reload        # then: curl localhost:8000/hello/Ada, and curl -N localhost:8000/ticks
    pytest                  # on trio and on asyncio
    podman build -t service . && podman run -p 8000:8000 service
"""
_IGNORED: Final = "__pycache__/\n.venv/\n.pytest_cache/\n"

FILES: Final = {
    "app.py": _APP,
    "test_app.py": _TEST,
    "Containerfile": _CONTAINERFILE,
    "README.md": _README,
    ".gitignore": _IGNORED,
}
"""The text of each file, by its name."""


def new_project(directory: Path) -> list[Path]:
    """Write a small project into a directory, which is created if necessary; return the files.

    :raises FileExistsError: one of the files exists already; nothing is written then.
    :raises OSError: the directory cannot be created or written.

    Example: `new_project(Path("service"))`.
    """
    files = {directory / name: text for name, text in FILES.items()}
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file} exists already; name a directory without it")
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)
