"""Customers: create once, change, addresses, profile, and what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from serving.store.customers import customers
from tests.served import served, write_keys

ANNA = {
    "customer_id": "anna",
    "name": "Anna",
    "email": "anna@example.com",
    "age": 34,
    "gender": "female",
    "location": "Lisbon",
    "segment": "Regular",
}
SHIPPING = {
    "type": "shipping",
    "line1": "1 Quay St",
    "city": "Lisbon",
    "postal_code": "1100",
    "country": "PT",
}
BILLING = {"type": "Billing", "line1": "2 Quay St", "city": "Lisbon", "country": "prt"}


def test_a_customer_is_created_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            for path in ("/customer/create", "/api/v1/customers"):
                body = {**ANNA, "customer_id": path}
                first = await service.client.post(path, json=body)
                assert first.status_code == 201
                assert first.json()["customer_id"] == path
                assert (first.json()["segment"], first.json()["age"]) == ("Regular", 34)
                second = await service.client.post(path, json=body)
                assert second.status_code == 409
                assert "exists" in second.json()["detail"]

    asyncio.run(scenario())


def test_ids_may_be_numbers_and_may_be_called_user_id(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            answer = await service.client.post("/customer/create", json={"user_id": 42})
            assert answer.json()["customer_id"] == "42"
            assert (
                await service.client.post("/customer/create", json={"customer_id": "42"})
            ).status_code == 409

    asyncio.run(scenario())


def test_a_profile_has_the_addresses_and_something_to_show(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            client = service.client
            await client.post("/customer/create", json=ANNA)
            added = await client.post(
                "/customer/add-address", json={"customer_id": "anna", "addresses": [SHIPPING, BILLING]}
            )
            assert added.status_code == 201
            again = await client.post(
                "/customer/add-address", json={"customer_id": "anna", "address": SHIPPING}
            )
            assert [each["type"] for each in again.json()["addresses"]] == ["shipping", "billing"]
            for path in ("/customer/get-profile/anna", "/api/v1/customers/anna"):
                profile = (await client.get(path)).json()
                assert profile["customer_id"] == "anna"
                assert [each["country"] for each in profile["addresses"]] == ["PT", "PT"]
                assert profile["recommendations"][0]["item_id"]
                assert profile["email"] == "anna@example.com"

    asyncio.run(scenario())


def test_a_change_keeps_what_it_does_not_name_and_null_takes_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            url = "/api/v1/customers/anna"
            await service.client.post("/customer/create", json={**ANNA, "preferences": {"brand": "A"}})
            body = {"preferences": {"category": "electronics"}, "segment": "premium"}
            answer = (await service.client.put(url, json=body)).json()
            assert answer["preferences"] == {"brand": "A", "category": "electronics"}
            assert (answer["segment"], answer["age"]) == ("premium", 34)
            answer = (
                await service.client.put(url, json={"age": None, "preferences": {"brand": None}})
            ).json()
            assert (answer["age"], answer["preferences"]) == (None, {"category": "electronics"})
            answer = (await service.client.put(url, json={"attributes": {"interests": ["tea"]}})).json()
            assert answer["attributes"] == {"interests": ["tea"]}

    asyncio.run(scenario())


def test_whom_only_the_batch_knows_can_be_changed_and_nobody_cannot(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            client = service.client
            profile = (await client.get("/customer/get-profile/batch-only")).json()
            assert (profile["addresses"], profile["created_at"]) == ([], None)
            answer = await client.put("/api/v1/customers/batch-only", json={"segment": "Budget"})
            assert answer.json()["segment"] == "Budget"
            for response in (
                await client.get("/customer/get-profile/nobody"),
                await client.put("/api/v1/customers/nobody", json={"segment": "Budget"}),
                await client.post("/api/v1/customers/nobody/addresses", json={"addresses": [SHIPPING]}),
            ):
                assert response.status_code == 404

    asyncio.run(scenario())


def test_what_a_run_lands_holds_neither_name_nor_address(tmp_path: Path) -> None:
    """`orchestration.sources.event_log` reads these columns."""

    async def scenario() -> None:
        async with served(tmp_path) as service:
            await service.client.post("/customer/create", json={**ANNA, "preferences": {"category": "tea"}})
            columns = [customers.c[name] for name in ("user_id", "created_at", "age", "gender", "location")]
            [row] = await service.runtime.database.read(
                lambda connection: connection.execute(sa.select(*columns, customers.c.attributes)).all()
            )
            assert (row.user_id, row.age, row.location) == ("anna", 34, "Lisbon")
            assert row.attributes == '{"preferences":{"category":"tea"},"segment":"Regular"}'

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({**ANNA, "email": "nowhere"}, ("email='nowhere'", "name@example.com")),
        ({**ANNA, "age": 131}, ("age=131", "130")),
        ({**ANNA, "age": -1}, ("age=-1",)),
        ({**ANNA, "age": "34"}, ("age='34'",)),
        ({**ANNA, "shoe_size": 41}, ("shoe_size", "segment")),
        ({**ANNA, "customer_id": ""}, ("customer_id",)),
        ({**ANNA, "name": "A\u0000"}, ("name",)),
        ({**ANNA, "preferences": {"x": "y" * 20_000}}, ("preferences", "bytes")),
        ({"name": "Anna"}, ("customer_id is missing",)),
    ],
)
def test_a_wrong_customer_is_refused_with_field_and_remedy(
    tmp_path: Path, body: dict[str, Any], words: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            response = await service.client.post("/customer/create", json=body)
            assert response.status_code == 422
            assert all(word in response.json()["detail"] for word in words), response.json()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"country": "Atlantis"}, ("country",)),
        ({"country": "XX"}, ("country='XX'", "ISO 3166")),
        ({"type": "holiday"}, ("type='holiday'", "'shipping'", "'billing'")),
        ({"line1": ""}, ("line1",)),
        ({"planet": "Earth"}, ("planet", "postal_code")),
    ],
)
def test_a_wrong_address_is_refused(tmp_path: Path, change: dict[str, str], words: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            await service.client.post("/customer/create", json=ANNA)
            body = {"customer_id": "anna", "addresses": [{**SHIPPING, **change}]}
            response = await service.client.post("/customer/add-address", json=body)
            assert response.status_code == 422
            assert all(word in response.json()["detail"] for word in words), response.json()

    asyncio.run(scenario())


def test_a_customer_has_so_many_addresses_and_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            await service.client.post("/customer/create", json=ANNA)
            url = "/api/v1/customers/anna/addresses"
            for start in (0, 20):
                many = [{**SHIPPING, "line1": f"{start + number} Quay St"} for number in range(20)]
                assert (await service.client.post(url, json={"addresses": many})).status_code == 201
            many = [{**SHIPPING, "line1": f"{number} Sea St"} for number in range(20)]
            assert (await service.client.post(url, json={"addresses": many})).status_code == 422
            known = (await service.client.get("/api/v1/customers/anna")).json()["addresses"]
            assert len(known) == 40, "what is refused is refused whole"

    asyncio.run(scenario())


def test_an_erased_id_is_admitted_again_by_an_administrator_once_no_file_holds_it(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.yaml", writer=("write", None), operator=("admin", None))
    writer, operator = ({"authorization": f"Bearer {name}"} for name in ("writer", "operator"))

    async def scenario() -> None:
        async with served(tmp_path, api_keys_file=keys) as service:
            client = service.client
            await client.post("/customer/create", json=ANNA, headers=writer)
            assert (await client.delete("/api/v1/privacy/anna", headers=operator)).status_code == 200
            refused = await client.post("/customer/create", json=ANNA, headers=writer)
            assert (refused.status_code, "erased" in refused.json()["detail"]) == (409, True)
            early = await client.post("/customer/create", json=ANNA, headers=operator)
            assert (early.status_code, "next run" in early.json()["detail"]) == (409, True)
            await service.runtime.database.write(
                lambda connection: connection.exec_driver_sql("update tombstones set completed_at = 1")
            )
            admitted = await client.post("/customer/create", json=ANNA, headers=operator)
            assert admitted.status_code == 201
            assert service.runtime.consent.permissions("anna").tracking

    asyncio.run(scenario())
