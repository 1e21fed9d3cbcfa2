"""How answers are written, and where routes find what answers them."""

from typing import Any, cast

import orjson
from fastapi import Request
from starlette.responses import Response

from serving.runtime import Runtime


class JsonAnswer(Response):
    """JSON bytes of an answer that is already of JSON values; nothing validates it again."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def running(request: Request) -> Runtime:
    """The parts that answer; set when the process starts."""
    return cast(Runtime, request.app.state.runtime)
