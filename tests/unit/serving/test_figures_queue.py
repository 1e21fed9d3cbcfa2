"""Who looks at figures waits for each other; a page of the shop waits for none of them."""

import asyncio
from types import SimpleNamespace
from typing import Any

from serving.access.keys import Role
from serving.requests import RequestMiddleware


def scope(path: str, method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "headers": []}


async def ignore(_message: Any) -> None: ...


async def nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_figures_are_answered_one_at_a_time_and_pages_beside_them() -> None:
    async def scenario() -> None:
        begun: list[str] = []
        release = asyncio.Event()

        async def app(asked: Any, _receive: Any, _send: Any) -> None:
            begun.append(asked["path"])
            if asked["path"].startswith("/dashboard"):
                await release.wait()

        admission = SimpleNamespace(role=Role.READ, needs_body=False)
        state = SimpleNamespace(gate=SimpleNamespace(admit=lambda *_: admission), runtime=None)
        service = RequestMiddleware(app, state)
        paths = ("/dashboard/overview", "/dashboard/segments", "/api/v1/recommendations/anna")
        asked = [asyncio.create_task(service(scope(path), nothing, ignore)) for path in paths]
        await asyncio.wait(asked[2:], timeout=5)
        assert begun == ["/dashboard/overview", "/api/v1/recommendations/anna"]
        release.set()
        await asyncio.gather(*asked)
        assert sorted(begun) == sorted(paths)
        await service(scope("/analytics/track-activity", "POST"), nothing, ignore)

    asyncio.run(scenario())
