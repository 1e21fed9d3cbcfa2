"""How often one caller may ask: a token bucket for each key, or for each address where there are no keys.

A bucket holds two seconds' worth, so that a burst passes and a flood does not. Each worker counts for itself
and allows its share.
"""

import time
from collections.abc import Callable

from starlette.types import Scope

from serving.access.keys import Key
from serving.errors import Refused

BURST_SECONDS = 2.0
MAX_CALLERS = 10_000


class RateLimiter:
    """Buckets of the callers of one process. A rate of zero limits nobody but keys with one of their own."""

    def __init__(
        self, per_second: float, workers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._workers = workers
        self._clock = clock
        # Caller -> tokens left, and when that was.
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, key: Key | None, scope: Scope) -> None:
        """Take a token, or raise `Refused` (429) that says when there will be one."""
        per_second = self._per_second
        if key is not None and key.requests_per_second is not None:
            per_second = key.requests_per_second
        if not per_second:
            return
        caller = _address(scope) if key is None else f"key {key.name}"
        rate = per_second / self._workers
        wait = self._take(caller, rate, max(1.0, rate * BURST_SECONDS))
        if wait > 0:
            seconds = max(1, round(wait + 0.5))
            raise Refused(
                429,
                f"more than {per_second:g} requests a second: send this one again in {seconds} s",
                {"Retry-After": str(seconds)},
            )

    def _take(self, caller: str, rate: float, most: float) -> float:
        """Seconds until there is a token; zero if one was taken."""
        now = self._clock()
        tokens, at = self._buckets.get(caller, (most, now))
        tokens = min(most, tokens + (now - at) * rate)
        if tokens < 1:
            self._buckets[caller] = (tokens, now)
            return (1 - tokens) / rate
        if caller not in self._buckets and len(self._buckets) >= MAX_CALLERS:
            self._drop_the_oldest()
        self._buckets[caller] = (tokens - 1, now)
        return 0.0

    def _drop_the_oldest(self) -> None:
        """Forget the half that asked longest ago: their buckets are full again, or soon."""
        oldest = sorted(self._buckets, key=lambda caller: self._buckets[caller][1])
        for caller in oldest[: len(oldest) // 2]:
            del self._buckets[caller]


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return "nobody" if client is None else str(client[0])
