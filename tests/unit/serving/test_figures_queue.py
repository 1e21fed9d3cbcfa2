"""Who looks at figures waits for each other; a page of the shop waits for none of them."""

import asyncio
from types import SimpleNamespace
from typing import Any

from serving.access.keys import Role
from serving.requests import RequestMiddleware
from serving.turns import give_way


def scope(path: str, method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": []}


def open_to_all() -> SimpleNamespace:
    admission = SimpleNamespace(role=Role.READ, needs_body=False)
    return SimpleNamespace(gate=SimpleNamespace(admit=lambda *_: admission), runtime=None)


async def ignore(_message: Any) -> None: ...


async def nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_who_reads_an_answer_slowly_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        is_read = asyncio.Event()

        async def app(asked: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if asked["path"] == "/dashboard/overview":
                await is_read.wait()

        service = RequestMiddleware(app, open_to_all())
        slow = asyncio.create_task(service(scope("/dashboard/overview"), nothing, ignore))
        await asyncio.wait_for(service(scope("/dashboard/segments"), nothing, ignore), timeout=5)
        assert not slow.done()
        is_read.set()
        await slow

    asyncio.run(scenario())


def test_a_failure_gives_the_turn_back() -> None:
    async def scenario() -> None:
        async def app(_asked: Any, _receive: Any, _send: Any) -> None:
            raise OSError("no tables")

        service = RequestMiddleware(app, open_to_all())
        for _ in range(2):
            await asyncio.wait_for(service(scope("/dashboard/overview"), nothing, ignore), timeout=5)

    asyncio.run(scenario())


def test_who_waits_for_a_thread_lets_the_next_one_go_first_and_no_other_turn_is_ended() -> None:
    async def scenario() -> None:
        is_computed, is_second_done = asyncio.Event(), asyncio.Event()
        begun: list[str] = []

        async def app(asked: Any, _receive: Any, send: Any) -> None:
            begun.append(asked["path"])
            if asked["path"] == "/dashboard/overview":
                give_way()
                await is_computed.wait()
            elif asked["path"] == "/dashboard/segments":
                await is_second_done.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        service = RequestMiddleware(app, open_to_all())
        paths = ("/dashboard/overview", "/dashboard/segments", "/dashboard/bundles")
        first, second, third = (asyncio.create_task(service(scope(path), nothing, ignore)) for path in paths)
        await asyncio.sleep(0.01)
        assert begun == [*paths[:2]]
        is_computed.set()
        await first  # its answer begins while the second holds the turn
        assert not third.done() and begun == [*paths[:2]]
        is_second_done.set()
        await asyncio.gather(second, third)
        assert begun == [*paths]

    asyncio.run(scenario())


def test_figures_are_answered_one_at_a_time_and_pages_beside_them() -> None:
    async def scenario() -> None:
        begun: list[str] = []
        release = asyncio.Event()

        async def app(asked: Any, _receive: Any, _send: Any) -> None:
            begun.append(asked["path"])
            if asked["path"].startswith("/dashboard"):
                await release.wait()

        service = RequestMiddleware(app, open_to_all())
        paths = ("/dashboard/overview", "/dashboard/segments", "/api/v1/recommendations/anna")
        asked = [asyncio.create_task(service(scope(path), nothing, ignore)) for path in paths]
        await asyncio.wait(asked[2:], timeout=5)
        assert begun == ["/dashboard/overview", "/api/v1/recommendations/anna"]
        release.set()
        await asyncio.gather(*asked)
        assert sorted(begun) == sorted(paths)
        await service(scope("/analytics/track-activity", "POST"), nothing, ignore)

    asyncio.run(scenario())
