"""pydantic is loaded by an app that declares parameters, and by no other."""

from __future__ import annotations

import subprocess
import sys

import pytest

PLAIN = """
async def show():
    return {"a": 1}

async def default(name="world"):
    return name

async def path(id, name: str):
    return name

async def events() -> "AsyncIterator[str]":
    yield "a"

async def response() -> PlainTextResponse:
    return PlainTextResponse("a")

routes = [
    HttpRoute("/show", show), HttpRoute("/default", default), HttpRoute("/path/{id:int}/{name}", path),
    HttpRoute("/events", events), HttpRoute("/response", response),
]
"""
DECLARED = """
async def show(page: Annotated[int, Query()]):
    return {"a": page}

routes = HttpRoute("/", show)
"""
IMPORTS = "import sys; from typing import Annotated; from kui.asgi import *\n"
ASK = "\napp = Kui(routes=routes)\nprint('pydantic' in sys.modules)"


@pytest.mark.parametrize(("code", "loaded"), [(PLAIN, False), (DECLARED, True)])
def test_pydantic_is_loaded_for_declared_parameters_only(code: str, loaded: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS + code + ASK], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(loaded)
