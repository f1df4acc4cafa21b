"""The showcase does what its page says, on both loops."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import anyio
import pytest

from examples.showcase import app
from examples.showcase.activity import Activity
from examples.showcase.transfers import SIZE
from kui.asgi import ClientDisconnect
from kui.testing import AsyncTestClient, EventStream

pytestmark = pytest.mark.anyio


async def listed(events: EventStream, kind: str, there: bool = True) -> dict[str, Any]:
    """Read the stream until the server's list has an entry of this kind, or has none any more."""
    while True:
        event = await events.receive(timeout=20)
        if event.event == "activity":
            activity = event.json()
            found = [entry for entry in activity["running"] if entry["kind"] == kind]
            if bool(found) == there:
                return found[0] if there else activity["ended"][-1]


async def test_the_page_shows_the_code_that_runs_and_loads_nothing_from_elsewhere() -> None:
    async with AsyncTestClient(app) as client:
        page = await client.get("/")
        assert "default-src &#39;none&#39;" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert '<b class="k">async</b> <b class="k">def</b> count_primes()' in page.text
        assert "http://" not in page.text and "https://" not in page.text
        for name in ("showcase.css", "showcase.js"):
            assert (await client.get(f"/static/{name}")).status_code == 200
            assert f"/static/{name}" in page.text


async def test_the_list_shrinks_when_a_tab_is_closed() -> None:
    async with AsyncTestClient(app) as client, client.events("/live?tab=first") as first:
        assert (await first.receive()).event == "hello"
        async with client.events("/live?tab=second"):
            while True:
                event = await first.receive()
                if event.event == "activity" and len(event.json()["running"]) == 2:
                    break
        while True:
            event = await first.receive()
            if event.event == "activity" and len(event.json()["running"]) == 1:
                break
        assert event.json()["running"][0]["tab"] == "first"
        assert event.json()["ended"][-1]["how"] == "cancelled"


async def test_a_chart_that_was_cut_goes_on_where_it_was() -> None:
    async with AsyncTestClient(app) as client:
        ids: list[int] = []
        async with client.events("/live?tab=a") as events:
            while not ids:
                event = await events.receive()
                if event.event == "readings":
                    ids += [reading[0] for reading in event.json()]
            assert (await client.post("/live/cut?tab=a")).status_code == 204
            async for event in events:  # to its proper end
                if event.event == "readings":
                    ids += [reading[0] for reading in event.json()]
        last = str(ids[-1])
        async with client.events("/live?tab=a", last_event_id=last) as events:
            while len(ids) < 3 or ids[-1] == int(last):
                event = await events.receive()
                if event.event == "readings":
                    ids += [reading[0] for reading in event.json()]
        assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_an_answer_that_is_stopped_is_cancelled_on_the_server() -> None:
    async with AsyncTestClient(app) as client, client.events("/live?tab=a") as events:
        async with client.stream("POST", "/assistant", content="why?") as response:
            text = ""
            async for chunk in response.aiter_text():
                text += chunk
                if "why?" in text:
                    break
            assert (await listed(events, "answer"))["detail"] == "why?"
        assert (await listed(events, "answer", there=False))["how"] == "cancelled"


async def test_a_computation_ends_with_its_client() -> None:
    async with AsyncTestClient(app) as client, client.events("/live?tab=a") as events:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "/primes?below=9999999")
            await listed(events, "computation")
            tasks.cancel_scope.cancel()  # so that the client leaves
        ended = await listed(events, "computation", there=False)
        assert ended["how"] == "cancelled", ended


async def test_primes_are_counted() -> None:
    async with AsyncTestClient(app) as client:
        assert (await client.get("/primes?below=100")).json() == {"below": 100, "primes": 25}


async def test_an_upload_is_summed_while_it_arrives() -> None:
    async with AsyncTestClient(app) as client:
        data = b"kui" * 100_000
        answer = (await client.post("/upload?name=a.txt", content=data)).json()
        digest = hashlib.sha256(data).hexdigest()
        assert answer == {"name": "a.txt", "size": len(data), "sha256": digest}


async def test_a_download_goes_on_by_ranges() -> None:
    async with AsyncTestClient(app) as client:
        first = await client.get("/download", headers={"range": "bytes=0-999"})
        assert first.status_code == 206
        assert first.headers["content-range"] == f"bytes 0-999/{SIZE}"
        headers = {"range": "bytes=1000-", "if-range": first.headers["etag"]}
        rest = await client.get("/download", headers=headers)
        assert rest.status_code == 206
        assert len(first.content + rest.content) == SIZE
        assert first.content + rest.content == (await client.get("/download")).content


async def test_a_chat_shows_who_is_there() -> None:
    async with AsyncTestClient(app) as client, client.websocket("/chat?name=ann") as ann:
        assert await ann.receive_json() == {"members": ["ann"]}
        async with client.websocket("/chat?name=bob") as bob:
            assert await bob.receive_json() == {"members": ["ann", "bob"]}
            assert await ann.receive_json() == {"members": ["ann", "bob"]}
            await bob.send_text("hello")
            assert await ann.receive_json() == {"author": "bob", "text": "hello"}
        assert await ann.receive_json() == {"members": ["ann"]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/live"),
        ("GET", "/live?tab=" + "a" * 21),
        ("GET", "/live?tab=%0d"),
        ("POST", "/live/cut?tab=<"),
        ("POST", "/assistant"),
        ("GET", "/primes?below=" + "9" * 5000),
        ("GET", "/primes?below=many"),
    ],
)
async def test_what_a_client_makes_up_is_its_own_mistake(method: str, path: str) -> None:
    async with AsyncTestClient(app) as client:
        assert (await client.request(method, path)).status_code == 400


@pytest.mark.parametrize(
    ("raised", "how"),
    [
        (None, "finished"),
        (ClientDisconnect, "cancelled"),
        (GeneratorExit, "closed"),
        (OSError, "failed"),
    ],
)
async def test_the_list_says_how_a_piece_of_work_has_ended(
    raised: type[BaseException] | None, how: str
) -> None:
    activity = Activity()
    with suppress(BaseException), activity.running("kind", "detail"):
        if raised is not None:
            raise raised
    assert [entry["how"] for entry in activity.ended] == [how]
