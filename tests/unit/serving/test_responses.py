"""What visitors answered: folded from the log, each answer once, no person in any count."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from serving.metrics import Metrics
from serving.pages.responses import SECTION_ACTS, ResponseCounts, Responses, by_section
from serving.store.database import Database
from serving.store.event_log import NewEvent, append_events
from serving.store.responses import Act

AT = 1_700_000_000_000_000


def act(event_type: str, **context: Any) -> Act:
    return Act(event_type, "anna", AT, {"context": context})


def served(experience_id: str = "x1", segment: str | None = "high", **elements: str) -> Act:
    return act("experience_served", experience_id=experience_id, segment=segment, elements=elements)


def test_an_answer_counts_once_for_each_element_of_its_experience() -> None:
    counts = ResponseCounts()
    click = act("experience_interaction", experience_id="x1")
    counts.fold([served(hero="bold", menu="short"), click, click])
    assert counts.of_element("hero", ["bold", "plain"], "high") == {
        "bold": {"segment": [1, 1, 0], "all": [1, 1, 0]},
        "plain": {"segment": [0, 0, 0], "all": [0, 0, 0]},
    }
    assert counts.of_element("menu", ["short"], "low")["short"] == {"segment": [0, 0, 0], "all": [1, 1, 0]}


def test_an_answer_that_names_an_element_counts_for_that_one() -> None:
    counts = ResponseCounts()
    counts.fold(
        [
            served(hero="bold", menu="short"),
            act("experience_interaction", experience_id="x1", element="menu"),
            act("purchase", experience_id="x1"),
        ]
    )
    assert counts.of_element("hero", ["bold"], None)["bold"]["all"] == [1, 0, 1]
    assert counts.of_element("menu", ["short"], None)["short"]["all"] == [1, 1, 1]


def test_answers_to_an_unknown_experience_and_broken_contexts_are_ignored() -> None:
    counts = ResponseCounts()
    counts.fold(
        [
            act("experience_interaction", experience_id="never"),
            act("experience_served", experience_id=7, elements=[]),
            Act("experience_served", None, AT, {"context": "text"}),
        ]
    )
    assert counts.variants == {}


def test_sections_offers_subjects_and_hours_are_counted() -> None:
    counts = ResponseCounts()
    counts.fold(
        [
            act("recommendation_click", section="trending"),
            act("click", section="footer"),
            act("offer_view", offer_type="category_bonuses", segment="high"),
            act("offer_redeem", offer_type="category_bonuses"),
            act("email_sent", subject_kind="plain"),
            act("email_open", subject_kind="plain"),
            act("email_open", subject_kind="made up"),
        ]
    )
    assert counts.sections == {"trending": 1.0}
    assert counts.of_offers("high")["category_bonuses"] == {"segment": [1, 0], "all": [1, 1]}
    assert counts.of_subjects(None)["plain"] == {"segment": [0, 0], "all": [1, 1]}
    assert counts.hours["email"][22] == 2.0


def row(number: int, event_type: str, user_id: str = "anna", **context: Any) -> NewEvent:
    body = orjson.dumps({"context": context}).decode()
    return NewEvent(f"e{number}", event_type, user_id, None, AT, body)


def test_the_follower_takes_each_event_once_and_catches_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database.open(operational_url(Home(tmp_path)), Metrics())
        responses = Responses(database)
        clicks = [row(number, "click", section="trending") for number in range(5)]
        await database.write(lambda connection: append_events(connection, clicks, AT))
        for _ in range(3):
            await responses.follow()
        assert responses.counts.sections == {"trending": 5.0}
        late = [row(9, "click", section="recently_viewed")]
        await database.write(lambda connection: append_events(connection, late, AT))
        for _ in range(3):
            await responses.follow()
        assert responses.counts.sections == {"trending": 5.0, "recently_viewed": 1.0}
        again = Responses(database)
        for _ in range(2):
            await again.follow()
        assert again.counts.sections == responses.counts.sections
        await database.close()

    asyncio.run(scenario())


def message_row(
    number: int, event_type: str, user_id: str = "anna", campaign: str = "spring", **context: Any
) -> NewEvent:
    body = orjson.dumps({"campaign_id": campaign, "context": context}).decode()
    return NewEvent(f"m{number}", event_type, user_id, None, AT, body)


def test_an_answer_to_a_campaign_counts_for_the_subject_of_its_message_once(tmp_path: Path) -> None:
    rows = [
        message_row(1, "email_sent", subject_kind="offer", segment="high"),
        message_row(2, "email_sent", "bert", subject_kind="plain"),
        message_row(3, "email_sent", "carl", subject_kind="plain"),
        message_row(4, "email_open"),
        message_row(5, "email_click"),
        message_row(6, "email_click", "bert"),
        message_row(7, "email_open", "bert", campaign="autumn"),
        message_row(8, "email_open", "carl", subject_kind="personal_name"),
        message_row(9, "email_open", "dora"),
        message_row(10, "email_sent", subject_kind="plain"),
        message_row(11, "email_open"),
    ]

    async def scenario() -> None:
        database = Database.open(operational_url(Home(tmp_path)), Metrics())
        at_once, one_by_one = Responses(database), Responses(database)
        for each in rows:
            await database.write(lambda connection, each=each: append_events(connection, [each], AT))
            await one_by_one.follow()
        for responses in (at_once, one_by_one, one_by_one):
            await responses.follow()
        await at_once.follow()
        for responses in (at_once, one_by_one):
            found = responses.counts.of_subjects("high")
            assert found["offer"] == {"segment": [1, 1], "all": [1, 1]}
            assert found["plain"] == {"segment": [0, 0], "all": [3, 2]}
            assert found["personal_name"] == {"segment": [0, 0], "all": [0, 1]}
        await database.close()

    asyncio.run(scenario())


def test_own_answers_are_of_this_visitor_latest_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database.open(operational_url(Home(tmp_path)), Metrics())
        rows = [
            row(1, "click", section="trending"),
            row(2, "click", "bert", section="trending"),
            row(3, "purchase", section="recommended_products"),
            row(4, "login"),
        ]
        await database.write(lambda connection: append_events(connection, rows, AT))
        responses = Responses(database)
        own = await responses.own("anna", SECTION_ACTS, days=100_000 // 10)
        assert own is not None
        assert [each.event_type for each in own] == ["purchase", "click"]
        assert by_section(own) == {"trending": 1.0, "recommended_products": 1.0}
        assert await responses.own("anna", SECTION_ACTS, days=0) == []
        await database.close()

    asyncio.run(scenario())
