"""What may be a handler, and what becomes of it."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest

from kui.current import request_var
from kui.routing import HttpRoute, RouteTable, SocketRoute
from kui.views import HttpView, adapt

pytestmark = pytest.mark.anyio


class Coroutine:
    async def __call__(self) -> str:
        return "value"


class Plain:
    def __call__(self) -> str:
        return "value"

    def method(self) -> str:
        return "value"

    async def coroutine(self) -> str:
        return "value"

    @classmethod
    def of_class(cls) -> str:
        return "value"


async def coroutine() -> str:
    return "value"


def plain() -> str:
    return "value"


def gives_an_awaitable() -> Awaitable[str]:
    return coroutine()


def optional(first: int = 1, *rest: int, keyword: int = 2, **others: int) -> str:
    return "value"


async def takes_one(first: str) -> str:
    return first


@functools.wraps(takes_one)
async def injected() -> str:
    return await takes_one("value")


@pytest.mark.parametrize(
    "handler",
    [
        coroutine,
        plain,
        gives_an_awaitable,
        optional,
        injected,
        lambda: "value",
        Coroutine(),
        Plain(),
        Plain().method,
        Plain().coroutine,
        Plain.of_class,
        functools.partial(takes_one, "value"),
        functools.partial(plain),
    ],
)
async def test_every_callable_without_arguments_is_a_handler(handler: Any) -> None:
    assert await adapt(handler)() == "value"


async def test_a_plain_function_runs_in_a_thread_where_it_sees_the_request() -> None:
    def where() -> Any:
        return threading.current_thread(), request_var.get()

    token = request_var.set("the request")
    try:
        thread, request = await adapt(where)()
    finally:
        request_var.reset(token)
    assert thread is not threading.current_thread()
    assert request == "the request"


def test_an_async_function_costs_nothing_more() -> None:
    assert adapt(coroutine) is coroutine


async def test_of_a_generator_function_the_generator_is_the_value() -> None:
    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    def synchronous() -> Iterator[int]:
        yield 1

    class Callable:
        async def __call__(self) -> AsyncIterator[int]:
            yield 1

    assert inspect.isasyncgen(await adapt(asynchronous)())
    assert inspect.isgenerator(await adapt(synchronous)())
    assert inspect.isasyncgen(await adapt(Callable())())


def needs(first: int) -> None: ...


def needs_keyword(*, keyword: int) -> None: ...


class NeedsArguments(HttpView):
    def __init__(self, first: int) -> None: ...

    async def get(self) -> None: ...


class MethodNeedsArguments(HttpView):
    async def get(self, identity: int) -> None: ...


class StaticNeedsArguments(HttpView):
    @staticmethod
    async def get(identity: int) -> None: ...


class WithoutSelf(HttpView):
    async def get() -> None: ...


class Empty(HttpView):
    async def find(self) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (5, "5 is not callable: register a function"),
        ("name", "'name' is not callable"),
        (None, "None is not callable"),
        (needs, "needs 'first', and it is not in the path, which has no parameters: mark where"),
        (needs_keyword, "needs 'keyword', and it is not in the path"),
        (Plain.method, "needs 'self', and it is not in the path"),
        (Plain, "is a class but no HttpView: inherit from kui.asgi.HttpView"),
        (Empty, "answers no method: define at least one of get, post"),
        (NeedsArguments, "is made without arguments, but its __init__ needs some"),
        (MethodNeedsArguments, r"MethodNeedsArguments.get \(.*\) needs 'identity'"),
        (WithoutSelf, "WithoutSelf.get has no self: add it, or @staticmethod above"),
        (StaticNeedsArguments, r"StaticNeedsArguments.get \(.*\) needs 'identity'"),
    ],
)
def test_what_cannot_handle_a_request_is_refused_when_it_is_registered(
    handler: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message) as raised:
        RouteTable(HttpRoute("/", handler))
    assert "\n" not in str(raised.value)


def test_what_cannot_handle_a_websocket_is_refused_too() -> None:
    for wrong in (5, needs, Empty):
        with pytest.raises(TypeError):
            RouteTable(SocketRoute("/", wrong))


class Cat(HttpView):
    def __init__(self) -> None:
        self.made = "made"

    async def get(cls) -> str:  # as the guide writes it
        return f"{request_var.get().method} {cls.made}"

    def post(self) -> str:
        return f"post {self.made} {threading.current_thread() is threading.main_thread()}"

    @classmethod
    async def put(cls) -> str:
        return f"put {cls.__name__}"

    @staticmethod
    def patch() -> str:
        return "patch"

    async def delete(self) -> AsyncIterator[int]:
        yield 1

    helper = "not a method"


async def test_the_methods_of_a_view_answer(ask: Any) -> None:
    router = RouteTable(HttpRoute("/x", Cat))
    assert await ask(router, "GET", "/x") == "GET made"
    assert await ask(router, "HEAD", "/x") == "HEAD made"
    assert await ask(router, "POST", "/x") == "post made False"
    assert await ask(router, "PUT", "/x") == "put Cat"
    assert await ask(router, "PATCH", "/x") == "patch"
    assert inspect.isasyncgen(await ask(router, "DELETE", "/x"))
    allow = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    assert await ask(router, "TRACE", "/x") == (405, allow)
    assert await ask(router, "OPTIONS", "/x") == ("OPTIONS", allow)
    assert router.url_for("Cat") == "/x"


async def test_every_request_gets_a_view_of_its_own(ask: Any) -> None:
    class View(HttpView):
        async def get(self) -> object:
            return self

    router = RouteTable(HttpRoute("/x", View))
    assert await ask(router, "GET", "/x") is not await ask(router, "GET", "/x")


async def test_a_view_may_answer_head_and_options_itself(ask: Any) -> None:
    class View(HttpView):
        async def head(self) -> str:
            return "head"

        async def options(self) -> str:
            return "options"

    router = RouteTable(HttpRoute("/x", View))
    assert await ask(router, "HEAD", "/x") == "head"
    assert await ask(router, "OPTIONS", "/x") == "options"
    assert await ask(router, "GET", "/x") == (405, "HEAD, OPTIONS")


async def test_a_view_inherits_methods_and_may_take_one_away(ask: Any) -> None:
    class Dog(Cat):
        put = None

    router = RouteTable(HttpRoute("/x", Dog))
    assert await ask(router, "GET", "/x") == "GET made"
    assert await ask(router, "PUT", "/x") == (405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST")


async def test_a_view_may_answer_other_methods(ask: Any) -> None:
    class View(HttpView):
        HTTP_METHOD_NAMES = ("get", "purge")

        async def purge(self) -> str:
            return "purged"

        async def post(self) -> str:
            return "never"

    router = RouteTable(HttpRoute("/x", View))
    assert await ask(router, "PURGE", "/x") == "purged"
    assert await ask(router, "POST", "/x") == (405, "OPTIONS, PURGE")


async def test_a_middleware_may_change_the_method_that_a_view_sees(ask: Any) -> None:
    def override(endpoint: Any) -> Any:
        async def changed() -> Any:
            request_var.get().method = request_var.get().headers["override"]
            return await endpoint()

        return changed

    router = RouteTable(HttpRoute("/x", Cat) @ override)
    assert await ask(router, "POST", "/x", override="PUT") == "put Cat"
    assert (await ask(router, "POST", "/x", override="TRACE"))[0] == 405
