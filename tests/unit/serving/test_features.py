"""The reader: coalescing, deadline, circuit. The store is a fake; time is real but short."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from serving.features import ERROR, MAX_BATCH, TIMEOUT, UNAVAILABLE, FeatureReader, Reading
from serving.metrics import Metrics
from tests.fakes import FakeUserStore

VIEW, FIELDS = "user_candidates", ("item_ids",)
DEADLINE, PROBE = 0.05, 0.05
# A loaded machine may be late by this much; the exact figure is the benchmark's.
SLACK = 0.25


@asynccontextmanager
async def reader_on(store: FakeUserStore) -> AsyncIterator[FeatureReader]:
    reader = FeatureReader(lambda: store, Metrics(), DEADLINE, PROBE)
    await reader.start()
    store.reads.clear()
    try:
        yield reader
    finally:
        store.recover()
        await reader.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


def store_of(*user_ids: str) -> FakeUserStore:
    return FakeUserStore({VIEW: {user_id: {"item_ids": [f"item of {user_id}"]} for user_id in user_ids}})


def test_rows_come_in_the_order_asked_and_unknown_ids_are_none() -> None:
    async def scenario() -> None:
        async with reader_on(store_of("a", "b")) as reader:
            reading = await reader.read(VIEW, ["b", "nobody", "a", "b"], FIELDS)
            assert reading.failure is None
            assert reading.rows == [
                {"item_ids": ["item of b"]},
                None,
                {"item_ids": ["item of a"]},
                {"item_ids": ["item of b"]},
            ]

    asyncio.run(scenario())


def test_ids_asked_for_while_a_batch_is_in_flight_share_the_next_one() -> None:
    store = store_of(*(f"u{n}" for n in range(20)))

    async def scenario() -> None:
        async with reader_on(store) as reader:
            store.delay_seconds = 0.01
            readings = await asyncio.gather(*(reader.read(VIEW, [f"u{n}"], FIELDS) for n in range(20)))
            assert [reading.rows[0] for reading in readings] == [
                {"item_ids": [f"item of u{n}"]} for n in range(20)
            ]
            assert len(store.reads) == 2, "one for the first id, one for the nineteen that came meanwhile"

    asyncio.run(scenario())


def test_what_was_read_is_freed_without_a_collection() -> None:
    async def scenario() -> None:
        async with reader_on(store_of("a")) as reader:
            gc.collect()
            gc.disable()
            try:
                for _ in range(5):
                    await reader.read(VIEW, ["a"], FIELDS)
                kept = [each for each in gc.get_objects() if type(each) is Reading]
            finally:
                gc.enable()
            assert len(kept) <= 1, "only the thread may still know its last batch"

    asyncio.run(scenario())


def test_many_ids_are_read_in_batches_of_bounded_size() -> None:
    store = store_of(*(f"u{n}" for n in range(MAX_BATCH + 5)))

    async def scenario() -> None:
        async with reader_on(store) as reader:
            reading = await reader.read(VIEW, [f"u{n}" for n in range(MAX_BATCH + 5)], FIELDS)
            assert None not in reading.rows
            assert [len(ids) for _, ids in store.reads] == [MAX_BATCH, 5]

    asyncio.run(scenario())


def test_a_hung_store_costs_one_deadline_and_then_nothing() -> None:
    store = store_of("a")

    async def scenario() -> None:
        async with reader_on(store) as reader:
            store.hang()
            started = time.monotonic()
            first = await reader.read(VIEW, ["a"], FIELDS)
            assert first.failure == TIMEOUT and first.rows == [None]
            assert time.monotonic() - started < DEADLINE + SLACK
            started = time.monotonic()
            for _ in range(50):
                assert (await reader.read(VIEW, ["a"], FIELDS)).failure == UNAVAILABLE
            assert time.monotonic() - started < DEADLINE

    asyncio.run(scenario())


def test_whoever_waits_behind_a_hung_batch_waits_no_longer_than_the_deadline() -> None:
    store = store_of("a")

    async def scenario() -> None:
        async with reader_on(store) as reader:
            store.hang()
            started = time.monotonic()
            readings = await asyncio.gather(*(reader.read(VIEW, ["a"], FIELDS) for _ in range(32)))
            assert time.monotonic() - started < DEADLINE + SLACK
            assert {reading.failure for reading in readings} <= {TIMEOUT, UNAVAILABLE}

    asyncio.run(scenario())


def test_a_store_that_recovers_is_used_again() -> None:
    store = store_of("a")

    async def scenario() -> None:
        async with reader_on(store) as reader:
            store.hang()
            await reader.read(VIEW, ["a"], FIELDS)
            store.recover()

            async def answers() -> bool:
                return (await reader.read(VIEW, ["a"], FIELDS)).failure is None

            await until(answers)
            assert (await reader.status()).circuit == "closed"

    asyncio.run(scenario())


def test_a_thread_that_hangs_for_good_is_replaced() -> None:
    hung, healthy = store_of("a"), store_of("a")
    stores = iter([hung, healthy])

    async def scenario() -> None:
        reader = FeatureReader(lambda: next(stores), Metrics(), DEADLINE, PROBE)
        await reader.start()
        hung.hang()
        assert (await reader.read(VIEW, ["a"], FIELDS)).failure == TIMEOUT

        async def answers() -> bool:
            return (await reader.read(VIEW, ["a"], FIELDS)).failure is None

        await until(answers)
        assert (await reader.status()).hung_threads == 1
        hung.recover()

        async def came_back() -> bool:
            return (await reader.status()).hung_threads == 0

        await until(came_back)
        await reader.close()

    asyncio.run(scenario())


def test_a_failing_store_opens_the_circuit_after_a_few_failures_in_a_row() -> None:
    store = store_of("a")

    async def scenario() -> None:
        async with reader_on(store) as reader:
            store.error = ConnectionRefusedError("refused")
            failures = [(await reader.read(VIEW, ["a"], FIELDS)).failure for _ in range(4)]
            assert failures == [ERROR, ERROR, ERROR, UNAVAILABLE]
            status = await reader.status()
            assert not status.is_reachable
            assert status.last_failure == "ConnectionRefusedError: refused"

    asyncio.run(scenario())


def test_one_failure_does_not_open_the_circuit() -> None:
    store = store_of("a")

    async def scenario() -> None:
        async with reader_on(store) as reader:
            store.error = ConnectionResetError("reset")
            assert (await reader.read(VIEW, ["a"], FIELDS)).failure == ERROR
            store.error = None
            assert (await reader.read(VIEW, ["a"], FIELDS)).failure is None

    asyncio.run(scenario())


def test_a_store_that_cannot_be_opened_is_opened_later() -> None:
    attempts: list[int] = []

    def open_store() -> FakeUserStore:
        attempts.append(1)
        if len(attempts) < 5:
            raise OSError("no such store")
        return store_of("a")

    async def scenario() -> None:
        reader = FeatureReader(open_store, Metrics(), DEADLINE, PROBE)
        await reader.start()

        async def answers() -> bool:
            return (await reader.read(VIEW, ["a"], FIELDS)).failure is None

        await until(answers)
        await reader.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("within", [0.01, 10.0])
def test_a_caller_may_wait_less_than_the_deadline_but_not_more(within: float) -> None:
    store = store_of("a")

    async def scenario() -> None:
        async with reader_on(store) as reader:
            store.hang()
            started = time.monotonic()
            assert (await reader.read(VIEW, ["a"], FIELDS, within)).failure == TIMEOUT
            assert time.monotonic() - started < min(within, DEADLINE) + SLACK

    asyncio.run(scenario())


def test_an_answer_that_waited_for_a_busy_loop_is_not_late() -> None:
    async def scenario() -> None:
        async with reader_on(store_of("a")) as reader:
            reading = asyncio.ensure_future(reader.read(VIEW, ["a"], FIELDS))
            await asyncio.sleep(0)
            time.sleep(3 * DEADLINE)  # the loop cannot run; the thread can
            assert (await reading).failure is None
            assert (await reader.status()).circuit == "closed"

    asyncio.run(scenario())
