"""An answer that streams and can be stopped, and a long computation that can be cancelled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import anyio.lowlevel

from kui.asgi import (
    HTTPException,
    HttpResponse,
    HttpRoute,
    StreamResponse,
    cancel_on_disconnect,
    request,
)

__all__ = ["assistant", "count_primes", "model", "routes"]

TEXT = (
    "In a structured program every task has a parent that waits for it. When you press stop, the"
    " browser closes its request; the server notices, cancels the function that writes this answer"
    " at its next await, and runs its cleanup. The call to the model behind it ends as well: nobody"
    " pays for words that nobody reads. Nothing of it needs a queue, a flag or a background worker."
    " It is the same function on trio and on asyncio, and a test of it takes eight lines."
)


async def model(question: str) -> AsyncGenerator[str, None]:
    """A stand-in for a language model: words, one after the other."""
    for word in f"You asked: {question} ".split(" ") + TEXT.split(" "):
        yield word + " "
        await anyio.sleep(0.06)


async def assistant() -> HttpResponse:
    question = (await request.body).decode("utf-8", "replace").strip()[:200]
    if not question:
        raise HTTPException(400, content="Ask something.")
    activity = request.app.state.activity

    async def answer() -> AsyncGenerator[str, None]:
        with activity.running("answer", question[:40]) as entry:
            async with aclosing(model(question)) as words:
                async for word in words:
                    entry.progress = word
                    yield word

    return StreamResponse(answer(), content_type="text/plain; charset=utf-8")


async def count_primes() -> dict[str, int]:
    below = request.query_params.get("below", "300000")
    if not (below.isdecimal() and len(below) <= 7):
        raise HTTPException(400, content="?below= is a number of at most 7 digits.")
    found = 0
    with request.app.state.activity.running("computation", f"primes below {below}") as entry:
        for start in range(2, int(below), 500):
            await anyio.lowlevel.checkpoint()  # where a cancellation gets in, and others their turn
            numbers = range(start, min(start + 500, int(below)))
            found += sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in numbers)
            entry.progress = f"{100 * start // int(below)} %"
    return {"below": int(below), "primes": found}


routes = [
    HttpRoute("/assistant", assistant, methods=["POST"], name="assistant"),
    HttpRoute(
        "/primes", count_primes, methods=["GET"], name="primes", middlewares=[cancel_on_disconnect]
    ),
]
