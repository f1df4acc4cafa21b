"""`limit_concurrency`: so many at once, so many in the queue, 503 for the others."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator

import anyio
import pytest

from kui.asgi import HttpRequest, Kui, StreamResponse, limit_concurrency
from kui.concurrency.slots import ConcurrencySlots
from kui.testing import AsyncTestClient, Disconnected
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio


class Site:
    """An app with two routes behind one limit, and who is in them."""

    def __init__(self, n: int, waiting: int = 0) -> None:
        self.app = Kui()
        self.inside = self.most = self.served = 0
        limit = limit_concurrency(n, waiting, retry_after=7)
        self.app.router.http.get("/work", middlewares=[limit])(self.work)
        self.app.router.http.get("/stream", middlewares=[limit])(self.stream)
        self.app.router.http.get("/fails", middlewares=[limit])(self.fails)

    async def work(self) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await anyio.sleep(10)
        finally:
            self.inside -= 1
        self.served += 1
        return "done"

    async def stream(self) -> StreamResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            await anyio.sleep(10)

        return StreamResponse(chunks())

    async def fails(self) -> None:
        raise LookupError


async def statuses(client: AsyncTestClient, count: int, path: str = "/work") -> list[int]:
    """Ask for `path` several times at once; the statuses, sorted."""
    found: list[int] = []

    async def ask() -> None:
        found.append((await client.get(path)).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(ask)
    return sorted(found)


async def test_no_more_than_so_many_are_worked_for_at_once() -> None:
    site = Site(2, waiting=10)
    async with AsyncTestClient(site.app) as client:
        assert await statuses(client, 6) == [200] * 6
    assert site.most == 2


async def test_others_are_told_to_come_back() -> None:
    site = Site(1)
    async with AsyncTestClient(site.app) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(statuses, client, 1)
            await anyio.sleep(1)
            response = await client.get("/work")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "7"


async def test_so_many_may_wait() -> None:
    site = Site(1, waiting=2)
    async with AsyncTestClient(site.app) as client:
        assert await statuses(client, 5) == [200, 200, 200, 503, 503]


async def test_a_slot_is_held_until_the_body_has_been_sent() -> None:
    site = Site(1)
    async with AsyncTestClient(site.app) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(statuses, client, 1, "/stream")
            await anyio.sleep(5)
            assert (await client.get("/work")).status_code == 503
        assert (await client.get("/work")).status_code == 200


async def test_a_slot_is_given_back_when_the_handler_fails() -> None:
    site = Site(1)
    async with AsyncTestClient(site.app, raise_app_exceptions=False) as client:
        assert await statuses(client, 1, "/fails") == [500]
        assert await statuses(client, 1) == [200]


async def test_who_leaves_leaves_the_queue() -> None:
    site = Site(1, waiting=1)
    async with (
        AsyncTestClient(site.app) as client,
        AsyncTestClient(site.app, lifespan=False) as impatient,
    ):

        async def give_up() -> None:
            with pytest.raises(Disconnected):
                await impatient.get("/work")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(statuses, client, 1)
            await anyio.sleep(1)
            tasks.start_soon(give_up)
            await anyio.sleep(1)
            assert (await client.get("/work")).status_code == 503
            impatient.disconnect()
            await anyio.sleep(1)
            assert (await client.get("/work")).status_code == 200
    assert site.served == 2


class PerUser:
    """An app with a limit for each user, and what is known of it."""

    def __init__(self, waiting: int = 0) -> None:
        self.app = Kui()
        self.users: list[User] = []

        def user(request: HttpRequest) -> User:
            self.users.append(User(request.headers["user"]))
            return self.users[-1]

        limit = limit_concurrency(1, waiting, key=user, status=429)
        self.app.router.http.get("/work", middlewares=[limit])(self.work)

    async def work(self) -> str:
        await anyio.sleep(10)
        return "done"

    async def ask(self, client: AsyncTestClient, user: str, found: list[int]) -> None:
        found.append((await client.get("/work", headers={"user": user})).status_code)


class User(str):
    """A name that can be looked for in the memory."""

    __slots__ = ("__weakref__",)


async def test_each_key_has_a_limit_of_its_own() -> None:
    site = PerUser()
    ann: list[int] = []
    bob: list[int] = []
    async with AsyncTestClient(site.app) as client, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(site.ask, client, "ann", ann)
        tasks.start_soon(site.ask, client, "bob", bob)
    assert (sorted(ann), bob) == ([200, 429, 429], [200])


async def test_nothing_is_kept_of_who_does_not_ask_any_more() -> None:
    site = PerUser(waiting=1)
    found: list[int] = []
    async with (
        AsyncTestClient(site.app) as client,
        AsyncTestClient(site.app, lifespan=False) as impatient,
    ):

        async def give_up() -> None:
            with pytest.raises(Disconnected):
                await impatient.get("/work", headers={"user": "ann"})

        async with anyio.create_task_group() as tasks:
            for user in ("ann", "bob", "eve", "eve", "eve"):
                tasks.start_soon(site.ask, client, user, found)
            await anyio.sleep(1)
            tasks.start_soon(give_up)
            await anyio.sleep(1)
            impatient.disconnect()
    assert sorted(found) == [200] * 4 + [429]
    kept = [weakref.ref(user) for user in site.users]
    site.users.clear()
    gc.collect()
    assert [ref() for ref in kept] == [None] * 6


async def test_who_leaves_in_its_turn_leaves_nothing_behind() -> None:
    slots = ConcurrencySlots(1, waiting=1)
    slots.take()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slots.wait)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            slots.give_back()
    assert slots.idle


@pytest.mark.parametrize("options", [{"status": 200}, {"status": 600}, {"retry_after": -1}])
async def test_a_refusal_is_one(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"refusal|limit_concurrency"):
        limit_concurrency(1, **options)


async def test_a_key_is_a_function_of_the_request() -> None:
    with pytest.raises(TypeError, match="is called with the request and nothing else"):
        limit_concurrency(1, key=lambda: "ann")  # type: ignore[arg-type, misc]  # the mistake


@pytest.mark.parametrize(("n", "waiting"), [(0, 0), (1, -1)])
async def test_numbers_that_make_no_sense_are_refused(n, waiting) -> None:
    with pytest.raises(ValueError, match="limit_concurrency"):
        limit_concurrency(n, waiting)
