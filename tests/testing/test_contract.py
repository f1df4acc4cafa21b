"""Apps that break one rule of the ASGI contract each: the test that calls them fails, and says why."""

from __future__ import annotations

import pytest
from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.testing import ASGITransport, AsyncTestClient, ContractError, LifespanFailed

pytestmark = pytest.mark.anyio

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"body"}
MORE: Message = {"type": "http.response.body", "body": b"body", "more_body": True}


def sends(*messages: Message) -> ASGIApp:
    """An app that answers an HTTP request or a handshake with `messages`, and returns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("no lifespan here")
        await receive()
        for message in messages:
            await send(message)

    return app


def start(**changes: object) -> Message:
    return {**START, **changes}


def header(name: object, value: object) -> Message:
    return start(headers=[(name, value)])


HTTP = {
    "no response": ((), "returned without a response"),
    "no end": ((START,), "returned in the middle"),
    "no end of the body": ((START, MORE), "returned in the middle"),
    "body before start": ((BODY,), "before http.response.start"),
    "start twice": ((START, START), "sent twice"),
    "start after the body": ((START, MORE, START), "sent twice"),
    "body after the end": ((START, BODY, BODY), "after the end of the response"),
    "start after the end": ((START, BODY, START), "after the end of the response"),
    "unknown type": (({"type": "http.response.sausage"},), "is not a message"),
    "a type of another scope": (({"type": "websocket.accept"},), "is not a message"),
    "no type": (({"status": 200},), "no type"),
    "type is bytes": (({"type": b"http.response.start"},), "no type"),
    "message is no dict": ((["http.response.start"],), "a message is a dict"),
    "no status": (({"type": "http.response.start"},), "status is an int"),
    "status is a str": ((start(status="200"),), "status is an int"),
    "status is a bool": ((start(status=True),), "status is an int"),
    "status 100": ((start(status=100),), "status is an int from 200 to 599"),
    "status 600": ((start(status=600),), "status is an int from 200 to 599"),
    "headers is a dict": ((start(headers={b"a": b"b"}),), "iterable of pairs"),
    "headers is None": ((start(headers=None),), "iterable of pairs"),
    "header is no pair": ((start(headers=[b"ab"]),), "a pair"),
    "header has three parts": ((start(headers=[(b"a", b"b", b"c")]),), "a pair"),
    "header name is a str": ((header("a", b"b"),), "are bytes"),
    "header value is a str": ((header(b"a", "b"),), "are bytes"),
    "header name in upper case": ((header(b"Content-Type", b"text/plain"),), "lower case"),
    "header name is empty": ((header(b"", b"b"),), "no header name"),
    "header name has a blank": ((header(b"a b", b"b"),), "no header name"),
    "header name is a pseudo header": ((header(b":status", b"200"),), "no header name"),
    "header value has CR LF": ((header(b"a", b"b\r\nset-cookie: c"),), "CR, LF or NUL"),
    "header value has LF": ((header(b"a", b"b\nc"),), "CR, LF or NUL"),
    "header value has NUL": ((header(b"a", b"b\0"),), "CR, LF or NUL"),
    "header value ends with a blank": ((header(b"a", b"b "),), "blanks around"),
    "content-length is no number": ((header(b"content-length", b"4x"),), "not a number"),
    "content-length is negative": ((header(b"content-length", b"-4"),), "not a number"),
    "two content-lengths": (
        (start(headers=[(b"content-length", b"4"), (b"content-length", b"4")]),),
        "2 content-length headers",
    ),
    "body shorter than content-length": (
        (header(b"content-length", b"5"), BODY),
        "content-length is 5, the body ended after 4",
    ),
    "body longer than content-length": (
        (header(b"content-length", b"3"), BODY),
        "content-length is 3, the body has 4",
    ),
    "a chunk too many": (
        (header(b"content-length", b"4"), MORE, BODY),
        "content-length is 4, the body has 8",
    ),
    "body of a 204": ((start(status=204), BODY), "has no body"),
    "body of a 304": ((start(status=304), BODY), "has no body"),
    "content-length of a 204": (
        (start(status=204, headers=[(b"content-length", b"0")]),),
        "a 204 has no content-length",
    ),
    "body is a str": ((START, {"type": "http.response.body", "body": "body"}), "is bytes"),
    "body is None": ((START, {"type": "http.response.body", "body": None}), "is bytes"),
    "body is a bytearray": (
        (START, {"type": "http.response.body", "body": bytearray(b"body")}),
        "is bytes",
    ),
    "more_body is an int": ((START, {**BODY, "more_body": 1}), "'more_body' is a bool"),
    "trailers that were not announced": (
        (START, MORE, {"type": "http.response.trailers", "headers": []}),
        "did not announce trailers",
    ),
    "trailers before the end of the body": (
        (start(trailers=True), MORE, {"type": "http.response.trailers", "headers": []}),
        "before the end of the body",
    ),
    "announced trailers that never come": ((start(trailers=True), BODY), "without the trailers"),
    "a relative path": (
        (START, {"type": "http.response.pathsend", "path": "file.txt"}),
        "an absolute path",
    ),
    "a path before start": (({"type": "http.response.pathsend", "path": __file__},), "before"),
    "a file that is none": (
        (START, {"type": "http.response.zerocopysend", "file": "file.txt"}),
        "a file descriptor",
    ),
    "a negative offset": (
        (START, {"type": "http.response.zerocopysend", "file": 0, "offset": -1}),
        "0 or more",
    ),
    "a hint after start": (
        (START, {"type": "http.response.early_hint", "links": [b"</a>"]}),
        "after http.response.start",
    ),
    "a hint that is a str": (
        ({"type": "http.response.early_hint", "links": ["</a>"]},),
        "are bytes",
    ),
}


@pytest.mark.parametrize("rule", HTTP)
async def test_an_http_response_that_breaks_a_rule_fails_the_test(rule: str) -> None:
    messages, why = HTTP[rule]
    async with AsyncTestClient(sends(*messages)) as client:
        with pytest.raises(ContractError, match=why):
            await client.get("/")


@pytest.mark.parametrize("rule", ["body after the end", "no response", "no end"])
async def test_a_broken_rule_is_no_exception_of_the_app_that_could_become_a_500(rule: str) -> None:
    messages, why = HTTP[rule]
    async with AsyncTestClient(sends(*messages), raise_app_exceptions=False) as client:
        with pytest.raises(ContractError, match=why):
            await client.get("/")


async def test_an_app_cannot_swallow_the_rule_that_it_broke() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        try:
            await send(START)
        except Exception:
            await send(BODY)

    async with AsyncTestClient(app, lifespan=False) as client:
        with pytest.raises(ContractError, match="sent twice"):
            await client.get("/")


@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_broken_rule_is_told_at_once_though_the_app_goes_on(before: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in (START, MORE)[:before]:
            await send(message)
        try:
            await send({"type": "http.response.sausage"})
        except Exception:
            while (await receive())["type"] != "http.disconnect":
                pass

    async with AsyncTestClient(app, lifespan=False, timeout=None) as client:
        with pytest.raises(ContractError, match="sausage"):
            await client.get("/")


async def test_so_it_is_in_a_websocket() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        try:
            await send({"type": "websocket.sausage"})
        except Exception:
            while (await receive())["type"] != "websocket.disconnect":
                pass

    async with AsyncTestClient(app, lifespan=False, timeout=None) as client:
        with pytest.raises(ContractError, match="sausage"):
            async with client.websocket("/") as ws:
                await ws.receive()


async def test_what_is_sent_after_the_app_has_returned_breaks_the_contract() -> None:
    kept: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(send)
        await send(START)
        await send({"type": "http.response.body"})

    async with AsyncTestClient(app, lifespan=False) as client:
        await client.get("/")
        with pytest.raises(ContractError, match="after the app had returned"):
            await kept[0](BODY)


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"])
async def test_http2_has_no_headers_of_the_connection(name: bytes) -> None:
    app = sends(header(name, b"x"), BODY)
    transport = ASGITransport(app, http_version="2")
    async with AsyncTestClient(app, transport=transport) as client:
        with pytest.raises(ContractError, match="HTTP/2 knows no header"):
            await client.get("/")
    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).content == b"body"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.pathsend", "path": __file__},
        {"type": "http.response.zerocopysend", "file": 0},
        {"type": "http.response.trailers", "headers": []},
        {"type": "http.response.early_hint", "links": []},
        {"type": "http.response.push", "path": "/", "headers": []},
        {"type": "http.response.debug", "info": {}},
    ],
    ids=lambda message: str(message["type"]),
)
async def test_an_extension_that_is_not_offered_may_not_be_used(message: Message) -> None:
    app = sends(START, message)
    transport = ASGITransport(app, extensions=())
    async with AsyncTestClient(app, transport=transport) as client:
        with pytest.raises(ContractError, match="is not a message that this server takes"):
            await client.get("/")


async def test_trailers_may_not_be_announced_to_a_server_that_knows_none() -> None:
    app = sends(start(trailers=True), BODY)
    async with AsyncTestClient(app, transport=ASGITransport(app, extensions=())) as client:
        with pytest.raises(ContractError, match="knows no trailers"):
            await client.get("/")


@pytest.mark.parametrize(
    ("method", "messages"),
    [
        ("GET", (START, BODY)),
        ("GET", (START, MORE, MORE, {"type": "http.response.body"})),
        ("GET", (header(b"content-length", b"4"), BODY)),
        ("HEAD", (header(b"content-length", b"4"), {"type": "http.response.body"})),
        ("HEAD", (header(b"content-length", b"4"), BODY)),
        ("GET", (start(status=204), {"type": "http.response.body"})),
        (
            "GET",
            (
                start(status=304, headers=[(b"content-length", b"4")]),
                {"type": "http.response.body", "body": b""},
            ),
        ),
        ("GET", (start(headers=[[b"a", b""], (b"a", b"\xe4")]), BODY)),
        ("GET", ({"type": "http.response.start", "status": 599}, BODY)),
    ],
)
async def test_an_app_that_keeps_the_rules_is_let_through(
    method: str, messages: tuple[Message, ...]
) -> None:
    async with AsyncTestClient(sends(*messages)) as client:
        await client.request(method, "/")


# ---- WebSockets

ACCEPT: Message = {"type": "websocket.accept"}
CLOSE: Message = {"type": "websocket.close"}
DENY: Message = {"type": "websocket.http.response.start", "status": 401, "headers": []}
DENY_BODY: Message = {"type": "websocket.http.response.body", "body": b"no"}

SOCKET = {
    "no answer": ((), "without an answer to the handshake"),
    "accept twice": ((ACCEPT, ACCEPT), "sent twice"),
    "send before accept": (({"type": "websocket.send", "text": "a"},), "before websocket.accept"),
    "send after close": ((ACCEPT, CLOSE, {"type": "websocket.send", "text": "a"}), "after the end"),
    "close twice": ((ACCEPT, CLOSE, CLOSE), "after the end"),
    "accept after denial": ((CLOSE, ACCEPT), "after the end"),
    "a type of another scope": ((START,), "is not a message"),
    "a subprotocol that was not offered": (
        ({"type": "websocket.accept", "subprotocol": "chess"},),
        "did not offer the subprotocol 'chess'",
    ),
    "the subprotocol as a header": (
        ({**ACCEPT, "headers": [(b"sec-websocket-protocol", b"chat")]},),
        "by 'subprotocol'",
    ),
    "a header in upper case": (({**ACCEPT, "headers": [(b"X-A", b"b")]},), "lower case"),
    "neither text nor bytes": ((ACCEPT, {"type": "websocket.send"}), "exactly one"),
    "both text and bytes": (
        (ACCEPT, {"type": "websocket.send", "text": "a", "bytes": b"a"}),
        "exactly one",
    ),
    "text is bytes": ((ACCEPT, {"type": "websocket.send", "text": b"a"}), "'text' is a str"),
    "bytes is a str": ((ACCEPT, {"type": "websocket.send", "bytes": "a"}), "'bytes' is bytes"),
    "code is a str": ((ACCEPT, {**CLOSE, "code": "1000"}), "no code that may be sent"),
    "code 1005": ((ACCEPT, {**CLOSE, "code": 1005}), "no code that may be sent"),
    "code 1006": ((ACCEPT, {**CLOSE, "code": 1006}), "no code that may be sent"),
    "code 2000": ((ACCEPT, {**CLOSE, "code": 2000}), "no code that may be sent"),
    "code 5000": ((ACCEPT, {**CLOSE, "code": 5000}), "no code that may be sent"),
    "reason is bytes": ((ACCEPT, {**CLOSE, "reason": b"bye"}), "'reason' is a str"),
    "a long reason": ((ACCEPT, {**CLOSE, "reason": "é" * 62}), "more than 123 bytes"),
    "a denial after accept": ((ACCEPT, DENY), "after websocket.accept"),
    "a denial without an end": ((DENY,), "in the middle of its denial"),
    "close in a denial": ((DENY, CLOSE), "in the middle of a denial"),
    "body of a denial first": ((DENY_BODY,), "before http.response.start"),
    "a denial goes on": ((DENY, DENY_BODY, DENY_BODY), "after the end"),
}


@pytest.mark.parametrize("rule", SOCKET)
async def test_a_websocket_that_breaks_a_rule_fails_the_test(rule: str) -> None:
    messages, why = SOCKET[rule]
    async with AsyncTestClient(sends(*messages)) as client:
        with pytest.raises(ContractError, match=why):
            async with client.websocket("/", subprotocols=["chat"]) as ws:
                await ws.receive()


async def test_a_denial_response_may_not_be_sent_where_it_is_not_offered() -> None:
    app = sends(DENY, DENY_BODY)
    transport = ASGITransport(app, denial_response=False)
    async with AsyncTestClient(app, transport=transport) as client:
        with pytest.raises(ContractError, match="is not a message"):
            async with client.websocket("/"):
                pass


# ---- the lifespan


def lives(*steps: str) -> ASGIApp:
    """An app whose lifespan receives (`<`) and sends messages, in this order."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for step in steps:
            if step == "<":
                await receive()
            else:
                await send({"type": step})

    return app


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        (("<", "lifespan.shutdown.complete"), "lifespan.shutdown is not what was received"),
        (("<", "lifespan.startup.complete", "lifespan.startup.complete"), "is not what was"),
        (("<", "lifespan.startup.complete", "lifespan.shutdown.complete"), "is not what was"),
        (("<", "lifespan.startup.complete", "<", "lifespan.startup.complete"), "is not what was"),
    ],
)
async def test_a_lifespan_that_breaks_a_rule_fails_the_test(
    steps: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ContractError, match=why):
        async with AsyncTestClient(lives(*steps)):
            pass


async def test_the_text_of_a_failed_start_is_a_str() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": b"no"})

    with pytest.raises(ContractError, match="'message' is a str"):
        async with AsyncTestClient(app):
            pass


async def test_a_lifespan_that_keeps_the_rules_is_let_through() -> None:
    steps = ("<", "lifespan.startup.complete", "<", "lifespan.shutdown.complete")
    async with AsyncTestClient(lives(*steps)):
        pass
    with pytest.raises(LifespanFailed):
        async with AsyncTestClient(lives(*steps[:3], "lifespan.shutdown.failed")):
            pass
