"""Consent: what holds without a word, what a word changes, what a header asks, who hears of it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from feature_repo.erasure import add_tombstones
from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from feature_repo.single_event import SingleEvent
from serving.errors import OptOutRefused
from serving.metrics import Metrics
from serving.people.consent import (
    PURPOSES,
    Change,
    ConsentBook,
    ConsentPolicy,
    opt_out_changes,
    revoked_by,
)
from serving.people.permissions import Signals
from serving.people.tombstones import Tombstones
from serving.store.consent import consent_ledger
from serving.store.database import Database
from tests.served import served

Scenario = Callable[[ConsentBook, Database, Tombstones], Awaitable[None]]


def run(root: Path, scenario: Scenario, policy: ConsentPolicy | None = None) -> None:
    async def opened() -> None:
        database = Database.open(operational_url(Home(root)), Metrics(), deadline_seconds=10)
        tombstones = Tombstones(database)
        book = ConsentBook(database, tombstones, policy)
        await tombstones.start()
        await book.start()
        try:
            await scenario(book, database, tombstones)
        finally:
            await book.close()
            await tombstones.close()
            await database.close()

    asyncio.run(opened())


def test_without_a_record_tracking_is_allowed_and_communication_is_not(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        allowed = book.permissions("anna")
        assert (allowed.tracking, allowed.personalization, allowed.reason) == (True, True, None)
        assert allowed.channels == frozenset()
        assert not allowed.data_sharing
        assert book.permissions(None) == allowed

    run(tmp_path, scenario)


def test_opt_in_waits_for_a_grant_of_each_purpose(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        assert book.permissions("anna").reason == "no_consent"
        assert not book.permissions(None).tracking
        await book.record("anna", [Change("tracking", True, "banner")])
        allowed = book.permissions("anna")
        assert (allowed.tracking, allowed.personalization) == (True, False)
        assert book.permissions("bert").reason == "no_consent"

    run(tmp_path, scenario, ConsentPolicy(asks_first=True))


def test_without_gdpr_everything_lasts_until_it_is_revoked(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        assert book.permissions("anna").channels == {"email", "sms", "push"}
        await book.record("anna", opt_out_changes(["sms", "data_sharing"]))
        allowed = book.permissions("anna")
        assert (allowed.channels, allowed.data_sharing) == ({"email", "push"}, False)

    run(tmp_path, scenario, ConsentPolicy(gdpr=False))


def test_the_last_entry_of_a_purpose_counts_and_all_stay_in_the_ledger(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        for is_granted in (True, False, True, False):
            await book.record("anna", [Change("email", is_granted, "test", "v1")])
        assert "email" not in book.permissions("anna").channels
        ledger = await book.ledger("anna", 3)
        assert [row["is_granted"] for row in ledger] == [False, True, False]
        rest = await book.ledger("anna", 3, before=ledger[-1]["sequence"])
        assert [row["is_granted"] for row in rest] == [True]

    run(tmp_path, scenario)


def test_opting_out_ends_everything_at_once(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        await book.record("anna", [Change(purpose, True, "test") for purpose in PURPOSES])
        await book.record("anna", opt_out_changes())
        allowed = book.permissions("anna")
        assert (allowed.tracking, allowed.personalization, allowed.data_sharing) == (False, False, False)
        assert (allowed.channels, allowed.reason) == (frozenset(), "opted_out")
        assert set(book.state("anna").values()) == {False}

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        (Signals(do_not_track=True), "do_not_track"),
        (Signals(global_privacy_control=True), "global_privacy_control"),
    ],
)
def test_a_header_stops_tracking_and_personalization_for_its_request(
    tmp_path: Path, signals: Signals, reason: str
) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        await book.record("anna", [Change("data_sharing", True, "test"), Change("email", True, "test")])
        allowed = book.permissions("anna", signals)
        assert (allowed.tracking, allowed.personalization, allowed.reason) == (False, False, reason)
        assert allowed.data_sharing is not signals.global_privacy_control, "GPC is do-not-sell as well"
        assert allowed.channels == {"email"}
        assert book.permissions("anna").tracking, "the next request is another one"

    run(tmp_path, scenario)


def test_headers_are_ignored_where_the_setting_says_so(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        assert book.permissions("anna", Signals(True, True)).tracking

    run(tmp_path, scenario, ConsentPolicy(respects_signals=False))


def test_where_opting_out_is_not_offered_a_revocation_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        with pytest.raises(OptOutRefused, match="ALLOW_OPT_OUT"):
            await book.record("anna", [Change("email", True, "test"), Change("tracking", False, "test")])
        assert book.permissions("anna").channels == frozenset()
        assert await book.ledger("anna", 10) == []

    run(tmp_path, scenario, ConsentPolicy(allows_opt_out=False))


def test_what_another_process_records_counts_once_it_is_followed(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, database: Database, tombstones: Tombstones) -> None:
        other = ConsentBook(database, tombstones)
        await other.record("anna", opt_out_changes(["tracking"]))
        await book.follow()
        assert not book.permissions("anna").tracking

    run(tmp_path, scenario)


def test_a_restart_forgets_nothing_and_pages_do_not_lose_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.people.consent.PAGE_ROWS", 3)
    monkeypatch.setattr("serving.people.consent.REREAD_ROWS", 2)

    async def first(book: ConsentBook, *_: object) -> None:
        for number in range(4):
            await book.record(f"user{number}", opt_out_changes())

    async def second(book: ConsentBook, *_: object) -> None:
        assert [book.permissions(f"user{number}").tracking for number in range(5)] == [False] * 4 + [True]

    run(tmp_path, first)
    run(tmp_path, second)


def test_until_the_ledger_is_loaded_nothing_is_allowed(tmp_path: Path) -> None:
    async def scenario(_: ConsentBook, database: Database, tombstones: Tombstones) -> None:
        unloaded = ConsentBook(database, tombstones).permissions("anna")
        assert (unloaded.tracking, unloaded.personalization) == (False, False)
        assert unloaded.reason == "consent_unknown"

    run(tmp_path, scenario)


def test_the_erased_may_not_be_tracked_and_leave_memory(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, database: Database, tombstones: Tombstones) -> None:
        await book.record("anna", [Change("email", True, "test")])
        await database.write(lambda connection: add_tombstones(connection, ["anna"], 1))
        await tombstones.follow()
        allowed = book.permissions("anna")
        assert (allowed.tracking, allowed.personalization, allowed.reason) == (False, False, "erased")
        assert book.permissions("bert").tracking
        assert "anna" not in book._said

    run(tmp_path, scenario)


def test_what_a_visitor_said_holds_for_the_customer_they_turn_out_to_be(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        await book.record("a-1", [Change("tracking", False, "banner"), Change("email", True, "banner")])
        await book.record("anna", [Change("email", False, "account")])
        book.inherit("a-1", "anna")
        assert book.permissions("anna").reason == "opted_out", "at once"
        book.inherit("a-1", "anna")

    async def after_a_restart(book: ConsentBook, *_: object) -> None:
        state = book.state("anna")
        assert (state["tracking"], state["email"]) == (False, False), "the customer's own word stands"
        ledger = await book.ledger("anna", 10)
        assert [(row["purpose"], row["source"]) for row in ledger] == [
            ("tracking", "identification"),
            ("email", "account"),
        ]

    run(tmp_path, scenario)
    run(tmp_path, after_a_restart)


def test_identifying_a_visitor_carries_their_refusal_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            body = {"purpose": "personalization", "granted": False, "source": "banner"}
            await service.client.post("/api/v1/consent/a-1", json=body)
            linked = await service.client.post(
                "/api/v1/identify", json={"anonymous_id": "a-1", "user_id": "bert"}
            )
            assert linked.status_code == 200, linked.text
            answer = (await service.client.get("/api/v1/consent/bert")).json()
            assert answer["purposes"]["personalization"] is False

    asyncio.run(scenario())


def test_an_unsubscribe_that_is_tracked_ends_mail_even_of_who_is_not_tracked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            for purpose, is_granted in (("email", True), ("tracking", False)):
                body = {"purpose": purpose, "granted": is_granted}
                await service.client.post("/api/v1/consent/anna", json=body)
            left = {"user_id": "anna", "event_type": "EMAIL_UNSUBSCRIBED", "channel": "email"}
            answer = (await service.client.post("/api/v1/behavior/track", json=left)).json()
            assert answer["tracked"] is False
            state = (await service.client.get("/api/v1/consent/anna")).json()
            assert state["purposes"]["email"] is False
            assert state["ledger"][0]["source"] == "email_unsubscribe"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("context", "revoked"),
    [
        ({"consent": {"sms": False, "push": True, "tracking": False}}, ["tracking", "sms"]),
        ({"consent": {"selling": False, "email": "no"}}, []),
        ({"consent": "withdrawn"}, []),
        ({}, []),
    ],
)
def test_an_event_takes_consent_back_by_purpose_and_never_gives_it(
    context: dict[str, Any], revoked: list[str]
) -> None:
    assert revoked_by("consent_update", context) == revoked
    assert revoked_by("product_view", context) == []


def test_where_opting_out_is_not_accepted_an_event_does_not_either(tmp_path: Path) -> None:
    async def scenario(book: ConsentBook, *_: object) -> None:
        await book.record("anna", [Change("email", True, "test")])
        await book.heed([SingleEvent(None, "email_unsubscribe", "anna", None, 0, True, {})])
        assert book.permissions("anna").channels == {"email"}

    run(tmp_path, scenario, ConsentPolicy(allows_opt_out=False))


def test_the_api_records_shows_and_pages(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            client = service.client
            body = {"purpose": "email", "granted": True, "source": "checkout", "text_version": "2025-11"}
            answer = (await client.post("/api/v1/consent/anna", json=body)).json()
            assert answer["purposes"]["email"] is True
            await client.post("/api/v1/privacy/anna/opt-out")
            first = (await client.get("/api/v1/consent/anna", params={"limit": 6})).json()
            assert {entry["source"] for entry in first["ledger"]} == {"opt_out"}
            assert not any(first["purposes"].values())
            rest = (await client.get("/api/v1/consent/anna", params={"before": first["next"]})).json()
            assert [(entry["source"], entry["text_version"]) for entry in rest["ledger"]] == [
                ("checkout", "2025-11")
            ]
            assert rest["next"] is None
            nobody = (await client.get("/api/v1/consent/nobody")).json()
            assert nobody["ledger"] == [] and nobody["purposes"]["tracking"]

    asyncio.run(scenario())


def test_do_not_sell_ends_data_sharing_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            grant = {"purpose": "data_sharing", "granted": True}
            await service.client.post("/api/v1/consent/anna", json=grant)
            answer = (await service.client.post("/api/v1/privacy/anna/do-not-sell")).json()
            assert answer["purposes"]["data_sharing"] is False
            assert answer["purposes"]["tracking"] is True

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"purpose": "selling", "granted": True}, ("purpose", "'tracking'", "'data_sharing'")),
        ({"purpose": "email", "granted": "yes"}, ("granted",)),
        ({"purpose": "email", "granted": True, "when": 1}, ("when", "text_version")),
        ({"purpose": "email"}, ("granted is missing",)),
    ],
)
def test_a_wrong_entry_is_refused_with_what_is_allowed(
    tmp_path: Path, body: dict[str, object], words: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            response = await service.client.post("/api/v1/consent/anna", json=body)
            assert response.status_code == 422
            assert all(word in response.json()["detail"] for word in words), response.json()

    asyncio.run(scenario())


def test_where_opting_out_is_not_offered_the_calls_say_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path, allow_opt_out=False) as service:
            for path in ("/api/v1/privacy/anna/opt-out", "/api/v1/privacy/anna/do-not-sell"):
                response = await service.client.post(path)
                assert response.status_code == 403
                assert "ALLOW_OPT_OUT" in response.json()["detail"]

    asyncio.run(scenario())


def test_a_signal_of_the_browser_gives_the_answer_for_everybody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            for headers in ({"DNT": "1"}, {"Sec-GPC": "1"}):
                answer = await service.client.get("/api/v1/recommendations/batch-only", headers=headers)
                assert answer.json()["personalized"] is False
            event = {"user_id": "anna", "event_type": "product_view", "product_id": "mug"}
            tracked = await service.client.post("/api/v1/behavior/track", json=event, headers={"DNT": "1"})
            assert tracked.json()["tracked"] is False
            rows = await service.runtime.database.read(
                lambda connection: connection.execute(sa.select(consent_ledger)).all()
            )
            assert rows == [], "a header is no record"

    asyncio.run(scenario())
