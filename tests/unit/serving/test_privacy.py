"""Export and erasure on real stores: everything is found, nothing is left, everybody hears of it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from feature_repo.erasure import SUBJECT_COLUMNS, TABLES_OF_NOBODY
from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from serving.people.export import subject_tables
from serving.people.privacy import Privacy
from serving.people.tombstones import Tombstones
from serving.store import all_tables
from tests.served import Served, served

CANARY, VISITOR, OTHER = "canary-7f3a", "visitor-91bc", "somebody-else"
ADDRESS = {"type": "shipping", "line1": "Canary Row 1", "city": "Monterey", "country": "US"}


async def live_through_everything(client: httpx.AsyncClient, user_id: str, visitor: str) -> None:
    """One person uses every part that keeps something."""
    await client.post("/customer/create", json={"customer_id": user_id, "email": f"{user_id}@example.com"})
    address = {**ADDRESS, "line1": f"{user_id} Row 1"}
    await client.post("/customer/add-address", json={"customer_id": user_id, "addresses": [address]})
    await client.put(
        f"/api/v1/preferences/{user_id}", json={"language": "pt", "notifications": {"email": True}}
    )
    for body in (
        {"anonymous_id": visitor, "event_type": "product_view", "product_id": "mug"},
        {"user_id": user_id, "anonymous_id": visitor, "event_type": "login"},
        {"user_id": user_id, "event_type": "product_view", "product_id": "cup"},
    ):
        assert (await client.post("/api/v1/behavior/track", json=body)).status_code < 300
    assert (await client.get(f"/api/v1/recommendations/{user_id}")).status_code == 200
    await client.get(f"/api/v1/ab-test/{user_id}/variant")


def bytes_below(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def files_with(root: Path, *words: str) -> list[str]:
    found = bytes_below(root).items()
    return [path for path, content in found if any(word.encode() in content for word in words)]


async def settled(service: Served) -> None:
    """Until what nobody waits for is written."""
    service.runtime.decision_log.flush()
    await service.runtime.database.write(lambda connection: None)


def test_an_erased_person_is_in_no_byte_of_the_store_and_in_no_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            for user_id, visitor in ((CANARY, VISITOR), (OTHER, "other-visitor")):
                await live_through_everything(service.client, user_id, visitor)
            await settled(service)
            assert files_with(tmp_path, CANARY) != []
            receipt = (await service.client.delete(f"/api/v1/privacy/{CANARY}")).json()
            removed = receipt["removed"]["operational"]
            assert {"customers", "customer_addresses", "preferences", "consent_ledger", "identities"} <= set(
                removed
            )
            assert removed["events"] == 3, "what they did as a visitor is theirs too"
            assert removed["decisions"] >= 1
            assert receipt["ids"] == 2
            assert files_with(tmp_path, CANARY, VISITOR) == []
            assert files_with(tmp_path, OTHER) != []
            for subject in (CANARY, VISITOR):
                assert service.runtime.consent.permissions(subject).reason == "erased"
                assert service.runtime.live.known(subject) is None
            remaining = {each["store"] for each in receipt["remains"]}
            assert {"landing/events/**", "marts/**", "features/predictions/**"} <= remaining
            assert not {"operational/**", "features/online.db*"} & remaining

    asyncio.run(scenario())


def test_the_erased_are_not_tracked_and_get_what_everybody_gets(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            client = service.client
            await client.delete(f"/api/v1/privacy/{CANARY}")
            body = {"user_id": CANARY, "event_type": "product_view", "product_id": "mug"}
            tracked = await client.post("/api/v1/behavior/track", json=body)
            assert (tracked.json()["tracked"], tracked.json()["reason"]) == (False, "erased")
            answer = (await client.get(f"/api/v1/recommendations/{CANARY}")).json()
            assert answer["personalized"] is False
            assert (await client.get(f"/customer/get-profile/{CANARY}")).status_code == 404
            await settled(service)
            assert files_with(tmp_path, CANARY) == []

    asyncio.run(scenario())


def test_a_second_erasure_finds_nothing_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            await live_through_everything(service.client, CANARY, VISITOR)
            await settled(service)
            await service.client.delete(f"/api/v1/privacy/{CANARY}")
            receipt = (await service.client.delete(f"/api/v1/privacy/{CANARY}")).json()
            assert (receipt["removed"]["operational"], receipt["ids"]) == ({}, 1)

    asyncio.run(scenario())


def test_other_workers_forget_by_following_the_tombstones(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            other = Tombstones(service.runtime.database)
            held = {CANARY, OTHER}
            other.add_listener(
                lambda is_erased: held.difference_update([each for each in held if is_erased(each)])
            )
            await other.start()
            await service.client.delete(f"/api/v1/privacy/{CANARY}")
            await other.follow()
            assert held == {OTHER}
            await other.close()

    asyncio.run(scenario())


def test_a_silent_online_store_is_in_the_receipt_and_stops_nothing(tmp_path: Path) -> None:
    def fail(_: Sequence[str]) -> int:
        raise ConnectionError("redis is away")

    async def scenario() -> None:
        async with served(tmp_path) as service:
            await live_through_everything(service.client, CANARY, VISITOR)
            runtime = service.runtime
            privacy = Privacy(runtime.database, runtime.tombstones, service.settings, fail)
            receipt = await privacy.erase(CANARY)
            [online] = [each for each in receipt["remains"] if each["store"] == "online features"]
            assert "ConnectionError" in online["how"]
            assert "redis is away" not in str(receipt), "an address or a password may be in it"
            assert receipt["removed"]["operational"]["customers"] == 1

    asyncio.run(scenario())


def test_every_table_says_whose_its_rows_are_or_is_named_as_nobodys() -> None:
    """A new table with people in it needs a subject column, else neither erasure nor export finds them."""
    unnamed = [
        table.name
        for table in all_tables().sorted_tables
        if table.name not in TABLES_OF_NOBODY and not any(name in table.c for name in SUBJECT_COLUMNS)
    ]
    assert unnamed == []


def test_every_subject_column_is_indexed_first() -> None:
    """Else an erasure, a history or an export reads the whole table."""
    unindexed = []
    for table in subject_tables():
        first = {next(iter(index.columns)).name for index in table.indexes}
        first |= {column.name for column in list(table.primary_key.columns)[:1]}
        first |= {column.name for column in table.columns if column.unique}
        unindexed += [
            f"{table.name}.{name}" for name in SUBJECT_COLUMNS if name in table.c and name not in first
        ]
    assert unindexed == []


def test_an_export_holds_every_store(tmp_path: Path) -> None:
    home = Home(tmp_path)
    _write(
        home.events / "event_date=2024-01-02" / "events.parquet",
        user_id=[CANARY, OTHER],
        item_id=["mug", "cup"],
    )
    _write(home.events / "event_date=2024-01-03" / "events.parquet", user_id=[OTHER], item_id=["pot"])
    _write(
        home.quarantine / "event_date=2024-01-02" / "rows.parquet",
        reason=["unknown_type"] * 3,
        raw=[f'{{"user_id": "{CANARY}"}}', f'{{"user_id": "{OTHER}", "note": "{CANARY}"}}', "no json"],
    )
    _write(home.mart_versions / "1" / "customers" / "a.parquet", user_id=[CANARY, OTHER], order_count=[3, 4])
    _write(home.mart_versions / "1" / "items" / "a.parquet", item_id=["mug"])
    home.current_marts.symlink_to(home.mart_versions / "1")
    _write(home.prediction("user_predictions") / "2024.parquet", user_id=[CANARY], clv_90d=[float("nan")])
    _write(home.customers_file, user_id=[CANARY, OTHER], age=[34, 35])
    _write(home.campaign_customers, user_id=[CANARY, OTHER], list=["loyal", ""])
    _write(home.campaign_run("spring", "2024-01-02"), user_id=[CANARY, OTHER], arm=["control", "treated"])

    async def scenario() -> None:
        async with served(tmp_path) as service:
            for user_id, visitor in ((CANARY, VISITOR), (OTHER, "other-visitor")):
                await live_through_everything(service.client, user_id, visitor)
            await settled(service)
            response = await service.client.get(f"/api/v1/privacy/{CANARY}/export")
            assert response.headers["content-disposition"].startswith("attachment")
            document = response.json()
            assert (document["user_id"], document["anonymous_ids"]) == (CANARY, [VISITOR])
            tables = document["operational"]
            assert set(tables) == {table.name for table in subject_tables()}
            assert [row["email"] for row in tables["customers"]] == [f"{CANARY}@example.com"]
            assert [row["line1"] for row in tables["customer_addresses"]] == [f"{CANARY} Row 1"]
            assert [row["purpose"] for row in tables["consent_ledger"]] == ["email"]
            assert [row["event_type"] for row in tables["events"]] == [
                "product_view",
                "login",
                "product_view",
            ]
            assert tables["events"][0]["event_at"].startswith("20")
            assert tables["decisions"][0]["inputs"], "JSON is given as JSON"
            assert "user_live" in document["online_features"]
            files = document["files"]
            assert [row["item_id"] for row in files["landing/events"]] == ["mug"]
            assert [row["raw"] for row in files["landing/quarantine"]] == [f'{{"user_id": "{CANARY}"}}']
            assert [row["order_count"] for row in files["marts/current/customers"]] == [3]
            assert files["features/predictions/user_predictions"] == [{"user_id": CANARY, "clv_90d": None}]
            assert [row["age"] for row in files["landing/customers.parquet"]] == [34]
            assert files["marts/current/items"] == []
            assert [row["list"] for row in files["campaigns"]] == ["loyal"]
            assert [row["arm"] for row in files["campaigns/runs"]] == ["control"]
            for other in (OTHER, "other-visitor"):
                assert other not in response.text

    asyncio.run(scenario())


def test_an_export_of_nobody_is_empty_and_of_many_rows_is_whole(tmp_path: Path) -> None:
    home = Home(tmp_path)
    _write(
        home.events / "event_date=2024-01-02" / "events.parquet", user_id=[CANARY] * 2500, n=list(range(2500))
    )

    async def scenario() -> None:
        async with served(tmp_path) as service:
            nobody = (await service.client.get("/api/v1/privacy/nobody/export")).json()
            assert not any(nobody["operational"].values()) and not any(nobody["files"].values())
            event = {"user_id": CANARY, "event_type": "login"}
            await service.client.post("/api/v1/behavior/track/batch", json={"events": [event] * 400})
            await service.client.post("/api/v1/behavior/track/batch", json={"events": [event] * 400})
            await service.client.post("/api/v1/behavior/track/batch", json={"events": [event] * 400})
            document = orjson.loads((await service.client.get(f"/api/v1/privacy/{CANARY}/export")).content)
            assert len(document["operational"]["events"]) == 1200
            assert [row["n"] for row in document["files"]["landing/events"]] == list(range(2500))

    asyncio.run(scenario())


def test_the_write_ahead_log_is_empty_after_an_erasure(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            await live_through_everything(service.client, CANARY, VISITOR)
            await service.client.delete(f"/api/v1/privacy/{CANARY}")
            log = Path(f"{operational_url(Home(tmp_path)).database}-wal")
            assert CANARY.encode() not in log.read_bytes()
            rows = await service.runtime.database.read(
                lambda connection: connection.execute(sa.text("select count(*) from tombstones")).scalar()
            )
            assert rows == 2, "the id and the visitor's id, hashed"

    asyncio.run(scenario())


def _write(path: Path, **columns: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
