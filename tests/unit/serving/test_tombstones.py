"""Tombstones: who hears of an erasure, by which test, and what a readmission changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from feature_repo.erasure import add_tombstones
from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from serving.metrics import Metrics
from serving.people.tombstones import Tombstones
from serving.store.database import Database


def test_an_erasure_is_heard_once_here_and_once_elsewhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database.open(operational_url(Home(tmp_path)), Metrics(), deadline_seconds=10)
        here, elsewhere = Tombstones(database), Tombstones(database)
        heard: dict[str, list[list[bool]]] = {"here": [], "elsewhere": []}

        def listener(name: str) -> Callable[[Callable[[str], bool]], None]:
            return lambda is_erased: heard[name].append([is_erased(each) for each in ("anna", "bert")])

        here.add_listener(listener("here"))
        elsewhere.add_listener(listener("elsewhere"))
        for each in (here, elsewhere):
            await each.follow()
        await database.write(lambda connection: add_tombstones(connection, ["anna"], 1))
        await here.add(["anna"])
        assert here.is_erased("anna") and not here.is_erased("bert")
        for each in (here, elsewhere, here, elsewhere):
            await each.follow()
        assert heard == {"here": [[True, False]], "elsewhere": [[True, False]]}
        await database.close()

    asyncio.run(scenario())


def test_who_is_admitted_again_is_erased_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database.open(operational_url(Home(tmp_path)), Metrics(), deadline_seconds=10)
        tombstones = Tombstones(database)
        await database.write(lambda connection: add_tombstones(connection, ["anna", "bert"], 1))
        await tombstones.follow()
        assert tombstones.is_erased("anna")
        await database.write(lambda connection: connection.exec_driver_sql("delete from tombstones") and None)
        await tombstones.follow()
        assert not tombstones.is_erased("anna")
        await database.close()

    asyncio.run(scenario())
