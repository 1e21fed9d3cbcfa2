"""How answers are written, and where routes find what answers them."""

from typing import Any, cast

import orjson
from fastapi import Request
from starlette.responses import Response

from serving.metrics import Metrics
from serving.operations import Operations
from serving.personalize import Personalizer


class JsonAnswer(Response):
    """JSON bytes of an answer that is already of JSON values; nothing validates it again."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def personalizer(request: Request) -> Personalizer:
    """What answers for customers; set when the process starts."""
    return cast(Personalizer, request.app.state.personalizer)


def operations(request: Request) -> Operations:
    """What answers for the process; set when it starts."""
    return cast(Operations, request.app.state.operations)


def metrics(request: Request) -> Metrics:
    """The metrics of the process; set when it starts."""
    return cast(Metrics, request.app.state.metrics)
