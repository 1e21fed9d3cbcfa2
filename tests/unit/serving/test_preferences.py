"""Preferences: defaults, merging, what is refused and why, and that privacy is consent."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.served import Served, served

DEFAULTS = {
    "user_id": "anna",
    "language": "en",
    "currency": "USD",
    "theme": "dark",
    "notifications": {"email": False, "sms": False, "push": False},
    "privacy": {"tracking_enabled": True, "personalized_ads": True},
    "disabled": None,
}
URL = "/api/v1/preferences/anna"


async def sources(service: Served) -> list[tuple[str, bool, str]]:
    answer = (await service.client.get("/api/v1/consent/anna")).json()
    return [(entry["purpose"], entry["granted"], entry["source"]) for entry in answer["ledger"]]


def test_whoever_changed_nothing_has_the_defaults(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            assert (await service.client.get(URL)).json() == DEFAULTS

    asyncio.run(scenario())


def test_a_change_is_merged_field_by_field(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            await service.client.put(URL, json={"language": "PT-br", "notifications": {"email": True}})
            answer = (await service.client.put(URL, json={"currency": "eur", "theme": "light"})).json()
            assert answer == {
                **DEFAULTS,
                "language": "pt-BR",
                "currency": "EUR",
                "theme": "light",
                "notifications": {"email": True, "sms": False, "push": False},
            }
            assert (await service.client.get(URL)).json() == answer
            other = (await service.client.get("/api/v1/preferences/bert")).json()
            assert other == {**DEFAULTS, "user_id": "bert"}

    asyncio.run(scenario())


def test_privacy_and_messages_are_entries_of_the_consent_ledger(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            body = {
                "privacy": {"tracking_enabled": False, "personalized_ads": True},
                "notifications": {"push": True},
            }
            answer = (await service.client.put(URL, json=body)).json()
            assert answer["privacy"] == {"tracking_enabled": False, "personalized_ads": True}
            assert set(await sources(service)) == {
                ("push", True, "preferences"),
                ("tracking", False, "preferences"),
            }
            allowed = service.runtime.consent.permissions("anna")
            assert (allowed.tracking, allowed.personalization, allowed.channels) == (False, True, {"push"})
            await service.client.put(URL, json={"privacy": {"tracking_enabled": False}})
            assert len(await sources(service)) == 2, "what is so already is not recorded again"

    asyncio.run(scenario())


def test_what_the_ledger_says_is_what_preferences_show(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            await service.client.post("/api/v1/privacy/anna/opt-out")
            answer = (await service.client.get(URL)).json()
            assert answer["privacy"] == {"tracking_enabled": False, "personalized_ads": False}

    asyncio.run(scenario())


def test_a_reset_gives_the_defaults_and_undoes_no_revocation(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            body = {
                "language": "pt",
                "notifications": {"email": True},
                "privacy": {"personalized_ads": False},
            }
            await service.client.put(URL, json=body)
            answer = (await service.client.post(f"{URL}/reset")).json()
            assert answer == {**DEFAULTS, "privacy": {"tracking_enabled": True, "personalized_ads": False}}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"theme": 42}, ("theme=42", "'light'", "'dark'", "'auto'")),
        ({"theme": "pink"}, ("theme='pink'", "'light'")),
        ({"language": "xx"}, ("language='xx'", "BCP 47")),
        ({"language": "klingon"}, ("language=", "BCP 47")),
        ({"language": 5}, ("language=5",)),
        ({"currency": "XYZ"}, ("currency='XYZ'", "ISO 4217")),
        ({"currency": "EURO"}, ("currency='EURO'",)),
        ({"colour": "red"}, ("colour", "language", "theme")),
        ({"notifications": {"fax": True}}, ("notifications", "fax", "email")),
        ({"notifications": {"email": "yes"}}, ("notifications.email='yes'",)),
        ({"privacy": {"tracking_enabled": 1}}, ("privacy.tracking_enabled=1",)),
        ([], ("body",)),
    ],
)
def test_a_wrong_change_is_refused_with_the_field_and_what_is_allowed(
    tmp_path: Path, body: Any, words: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            response = await service.client.put(URL, json=body)
            assert response.status_code == 422
            assert all(word in response.json()["detail"] for word in words), response.json()
            assert (await service.client.get(URL)).json() == DEFAULTS, "nothing of it is kept"

    asyncio.run(scenario())


def test_a_revocation_is_refused_whole_where_none_is_offered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path, allow_opt_out=False) as service:
            body = {"theme": "light", "privacy": {"tracking_enabled": False}}
            assert (await service.client.put(URL, json=body)).status_code == 403
            assert (await service.client.get(URL)).json()["theme"] == "dark"

    asyncio.run(scenario())


def test_a_preference_center_that_is_off_keeps_its_defaults_and_still_hears_a_refusal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path, env={"ENABLE_PREFERENCE_CENTER": "false"}) as service:
            body = {"theme": "light", "privacy": {"tracking_enabled": False}}
            answer = (await service.client.put(URL, json=body)).json()
            assert (answer["theme"], answer["disabled"]) == ("dark", "ENABLE_PREFERENCE_CENTER")
            assert answer["privacy"]["tracking_enabled"] is False
            assert not service.runtime.consent.permissions("anna").tracking

    asyncio.run(scenario())
