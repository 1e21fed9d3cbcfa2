"""Customers, preferences, consent, export and erasure on both databases, through the whole service."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from feature_repo.event_log import open_engine
from serving.people.export import subject_tables
from tests.served import Served, served

pytestmark = pytest.mark.integration

ADDRESS = {"type": "billing", "line1": "Canary Row 1", "city": "Monterey", "country": "US"}


def on(url: sa.URL) -> dict[str, Any]:
    return {"database_url": url.render_as_string(hide_password=False)}


async def use(client: httpx.AsyncClient, user_id: str) -> None:
    created = await client.post(
        "/customer/create", json={"customer_id": user_id, "age": 40, "segment": "é 茶"}
    )
    assert created.status_code == 201, created.text
    await client.post(f"/api/v1/customers/{user_id}/addresses", json={"addresses": [ADDRESS]})
    await client.put(f"/api/v1/customers/{user_id}", json={"preferences": {"category": "tea"}})
    await client.put(
        f"/api/v1/preferences/{user_id}", json={"theme": "light", "notifications": {"sms": True}}
    )
    await client.post(f"/api/v1/consent/{user_id}", json={"purpose": "data_sharing", "granted": True})
    event = {"user_id": user_id, "anonymous_id": f"visitor of {user_id}", "event_type": "login"}
    assert (await client.post("/api/v1/behavior/track", json=event)).status_code < 300
    await client.get(f"/api/v1/recommendations/{user_id}")


async def settled(service: Served) -> None:
    service.runtime.decision_log.flush()
    await service.runtime.database.write(lambda connection: None)


def test_what_is_written_is_read_exported_and_erased(tmp_path: Path, store_url: sa.URL) -> None:
    async def scenario() -> None:
        async with served(tmp_path, **on(store_url)) as service:
            client = service.client
            for user_id in ("anna", "bert"):
                await use(client, user_id)
            await settled(service)
            assert (await client.post("/customer/create", json={"customer_id": "anna"})).status_code == 409
            profile = (await client.get("/customer/get-profile/anna")).json()
            assert (profile["segment"], profile["preferences"]) == ("é 茶", {"category": "tea"})
            preferences = (await client.get("/api/v1/preferences/anna")).json()
            assert (preferences["theme"], preferences["notifications"]["sms"]) == ("light", True)
            document = (await client.get("/api/v1/privacy/anna/export")).json()["operational"]
            assert {table: len(rows) for table, rows in document.items() if rows}.items() >= {
                "customers": 1,
                "customer_addresses": 1,
                "preferences": 1,
                "consent_ledger": 2,
                "identities": 1,
                "events": 1,
            }.items()
            receipt = (await client.delete("/api/v1/privacy/anna")).json()
            assert receipt["ids"] == 2
            assert receipt["removed"]["operational"].keys() >= {"customers", "events", "decisions"}
            assert (await client.get("/customer/get-profile/anna")).status_code == 404
            assert (await client.get("/customer/get-profile/bert")).status_code == 200

    asyncio.run(scenario())
    engine = open_engine(store_url)
    with engine.connect() as connection:
        held = [
            (table.name, row)
            for table in subject_tables()
            for row in connection.execute(sa.select(table))
            if "anna" in str(row)
        ]
    engine.dispose()
    assert held == []


def test_a_second_worker_knows_within_the_answer(tmp_path: Path, store_url: sa.URL) -> None:
    async def scenario() -> None:
        settings = {**on(store_url), "workers": 2}
        async with served(tmp_path, **settings) as one, served(tmp_path, **settings) as two:
            await one.client.post("/api/v1/privacy/anna/opt-out")
            assert not two.runtime.consent.permissions("anna").tracking
            await two.client.put("/api/v1/preferences/anna", json={"privacy": {"tracking_enabled": True}})
            assert one.runtime.consent.permissions("anna").tracking
            await two.client.delete("/api/v1/privacy/anna")
            assert one.runtime.consent.permissions("anna").reason == "erased"

    asyncio.run(scenario())


def test_two_workers_create_one_customer_once(tmp_path: Path, store_url: sa.URL) -> None:
    async def scenario() -> None:
        async with (
            served(tmp_path, **on(store_url)) as one,
            served(tmp_path, **on(store_url)) as two,
        ):
            for number in range(5):
                answers = await asyncio.gather(
                    *(
                        each.client.post("/customer/create", json={"customer_id": f"c{number}"})
                        for each in (one, two, one, two)
                    )
                )
                assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]

    asyncio.run(scenario())
