"""Pages, search, messages, offers, prices and bundles over HTTP: forms, consent, flags, receipts, silence."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pyarrow as pa
import pytest

from feature_repo.layout import Home
from serving.api.application import connect, create_application
from serving.api.schemas.commerce import (
    BundleAnswer,
    EmailAnswer,
    OfferAnswer,
    PriceAnswer,
    SearchAnswer,
    SegmentEmailAnswer,
    SendTimeAnswer,
)
from serving.api.schemas.pages import ContentAnswer, ExperienceAnswer, HomepageAnswer, LayoutAnswer
from serving.decisions.bundle_shelf import EVIDENCE, OFFER
from serving.errors import InvalidSetting
from serving.pages.storefront import OWN_VARIANTS, own_variants
from serving.people.profile import ProfileView
from serving.releases import serve_form
from serving.requests import RequestMiddleware
from serving.runtime import open_runtime
from serving.settings import Settings, read_settings
from tests.fakes import FakeUserStore, tiny_release
from training.artifacts import Release

FEATURE_AT = datetime(2024, 2, 1, tzinfo=UTC)
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "user_candidates": {
        "anna": {
            "item_ids": ["mug", "lamp", "cup"],
            "scores": [0.9, 0.5, 0.4],
            "algorithms": ["collaborative", "buy_again", "collaborative"],
            "seen": ["pot"],
            "release_id": "20240131-aaaaaaaa",
            "feature_at": FEATURE_AT,
        }
    },
    "user_behavior": {
        "anna": {
            "feature_at": FEATURE_AT,
            "order_count": 12,
            "orders_decay_90d": 4.0,
            "unit_count": 10.0,
            "spend_total": 250.0,
            "events_decay_30d": 20.0,
            "last_event_at": datetime(2024, 1, 31, 19, tzinfo=UTC),
            "recent_items": ["mug", "pot"],
            "recent_categories": ["kitchen"],
        }
    },
    "user_predictions": {
        "anna": {"feature_at": FEATURE_AT, "churn_probability": 0.1, "value_segment": "high"}
    },
}
# A busy machine must not look like a silent store; the test of a silent one says so itself.
PATIENT = {"ATTUNE_ONLINE_DEADLINE_MS": "5000", "ATTUNE_DATABASE_DEADLINE_MS": "20000"}
PROFILE = ProfileView(("feature_at", "recent_items"), ("feature_at",), lambda _, __: {})
JSON = dict[str, Any]
Scenario = Callable[[httpx.AsyncClient, FakeUserStore], Awaitable[None]]


def with_content(release: Release) -> Release:
    """The tiny release with a little content, facts about its goods, and hours of opened e-mails."""
    kinds = ["article", "article", "video", "user_content"]
    pieces = pa.table(
        {
            "content_id": ["c1", "c2", "c3", "c4"],
            "kind": kinds,
            "title": ["Mugs", "Lamps", "Pots in two minutes", "My mug"],
            "category": ["kitchen", "light", "kitchen", "kitchen"],
            "tags": ["cosy, kitchen", None, None, None],
            "published_at": pa.array([FEATURE_AT] * 4, pa.timestamp("us", tz="UTC")),
            "popularity": [0.5, None, 0.1, 0.2],
            "season_month": pa.array([1, 7, None, None], pa.int64()),
            "item_id": [None, None, None, "mug"],
            "author": ["Mara"] * 4,
            "url": ["/c1", "/c2", "/c3", "/c4"],
            "views": [30, 20, 10, 5],
            "likes": [3, 4, 0, 1],
            "recent_views": [3, 2, 1, 0],
        }
    )
    proof = pa.table(
        {"item_id": ["mug", "lamp"], "buyers": [40, 3], "ratings": [12, 1], "rating": [4.5, 5.0]}
    )
    hours = pa.table(
        {"channel": ["email"], "segment": pa.nulls(1, pa.string()), "hour": [10], "opens": [900]}
    )
    return replace(release, tables={"content": pieces, "social_proof": proof, "message_hours": hours})


def run(scenario: Scenario, release: Release | None = None, **environ: str) -> None:
    """Run a scenario against the application as it is served, in a home of its own."""

    async def serve(folder: str) -> None:
        settings = replace(read_settings(PATIENT | environ), home=Home(Path(folder)))
        store = FakeUserStore(ROWS)
        served_release = serve_form(release or with_content(tiny_release()))
        runtime = await open_runtime(settings, served_release, lambda: store, PROFILE)
        application = create_application()
        connect(application, runtime)
        served = RequestMiddleware(application, application.state)
        transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                await scenario(client, store)
        finally:
            store.recover()
            await runtime.close()

    with TemporaryDirectory() as folder:
        asyncio.run(serve(folder))


async def post(client: httpx.AsyncClient, path: str, body: JSON | None = None, **headers: str) -> JSON:
    response = await client.post(path, json=body, headers=headers)
    assert response.status_code in (200, 201, 202), response.text
    answer: JSON = response.json()
    return answer


async def get(client: httpx.AsyncClient, path: str, **params: str) -> JSON:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


async def allow_email(client: httpx.AsyncClient, user_id: str = "anna") -> None:
    response = await client.put(f"/api/v1/preferences/{user_id}", json={"notifications": {"email": True}})
    assert response.status_code == 200, response.text


# pages


def test_a_homepage_has_the_documented_form() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await get(client, "/api/v1/personalize/homepage/anna")
        HomepageAnswer.model_validate(answer)
        sections = {section["type"]: section for section in answer["sections"]}
        assert list(sections)[0] == "recommended_products"
        assert sections["recently_viewed"]["products"] == ["mug", "pot"]
        assert sections["trending"]["title"] == "Trending in kitchen"
        assert sections["recommended_products"]["items"][0]["title"]
        assert (answer["user_id"], answer["layout"], answer["theme"]) == ("anna", "grid", "dark")
        assert answer["navigation"] == ["kitchen", "light"]
        assert (answer["personalized"], answer["degraded"]) == (True, [])

    run(scenario)


def test_sections_follow_the_clicks_of_this_visitor() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        for number in range(30):
            event = {
                "event_id": f"c{number}",
                "user_id": "anna",
                "event_type": "click",
                "context": {"section": "trending"},
            }
            await post(client, "/api/v1/behavior/track", event)
        answer = await get(client, "/api/v1/personalize/homepage/anna")
        assert answer["sections"][0]["type"] == "trending"

    run(scenario)


def test_what_was_just_looked_at_is_on_the_page_at_once() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        seen = {"user_id": "anna", "event_type": "product_view", "product_id": "lamp"}
        await post(client, "/api/v1/behavior/track", seen)
        answer = await get(client, "/api/v1/personalize/homepage/anna")
        sections = {section["type"]: section for section in answer["sections"]}
        assert sections["recently_viewed"]["products"] == ["lamp", "mug", "pot"]
        assert answer["navigation"][0] == "light"

    run(scenario)


def test_a_newcomer_gets_what_is_popular() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await get(client, "/api/v1/personalize/homepage/nobody")
        assert [section["type"] for section in answer["sections"]] == ["recommended_products", "trending"]
        assert all(section["products"] for section in answer["sections"])

    run(scenario)


def test_do_not_track_gives_the_page_that_is_not_personal_and_says_so() -> None:
    async def scenario(client: httpx.AsyncClient, store: FakeUserStore) -> None:
        response = await client.get("/api/v1/personalize/homepage/anna", headers={"DNT": "1"})
        answer = response.json()
        assert (answer["personalized"], answer["reason"]) == (False, "do_not_track")
        types = [section["type"] for section in answer["sections"]]
        assert "recently_viewed" not in types
        assert answer["sections"][0]["title"] == "Popular Now"
        assert all("anna" not in ids for _, ids in store.reads)

    run(scenario)


def test_a_layout_orders_categories_by_interest() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await get(client, "/api/v1/personalize/layout/anna", device="mobile")
        LayoutAnswer.model_validate(answer)
        assert answer["navigation"][0] == {"category": "kitchen", "affinity": 1.0}
        assert answer["layout"] == "list"

    run(scenario)


def test_content_is_chosen_by_interest_and_facts_are_counted_ones() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await get(client, "/api/v1/personalize/content/anna")
        ContentAnswer.model_validate(answer)
        content = answer["content"]
        assert [piece["content_id"] for piece in content["blog_articles"]] == ["c1", "c2"]
        assert content["blog_articles"][0]["reason"] == "interest_alignment"
        assert [piece["title"] for piece in content["video_content"]] == ["Pots in two minutes"]
        [fact] = content["social_proof"]
        assert (fact["item_id"], fact["text"]) == ("mug", "Bought by 40 customers in the last 30 days")

    run(scenario)


def test_content_as_asked_has_only_the_kinds_that_were_named() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        body = {"content_types": {"blog_articles": 1}, "personalization_factors": {"trending_score": 1.0}}
        answer = await post(client, "/api/v1/personalize/content/anna", body)
        assert list(answer["content"]) == ["blog_articles"]
        assert answer["personalization_factors"]["trending_score"] == pytest.approx(1 / 1.9)
        refused = await client.post("/api/v1/personalize/content/anna", json={"content_types": {"songs": 1}})
        assert refused.status_code == 422

    run(scenario)


def test_what_was_read_is_not_proposed_again_while_there_is_something_else() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        read = {
            "user_id": "anna",
            "event_type": "content_view",
            "context": {"content_id": "c1", "kind": "article"},
        }
        await post(client, "/api/v1/behavior/track", read)
        body = {"content_types": {"blog_articles": 1}}
        answer = await post(client, "/api/v1/personalize/content/anna", body)
        assert [piece["content_id"] for piece in answer["content"]["blog_articles"]] == ["c2"]

    run(scenario)


# experience

EXPERIENCE = "/api/v1/personalization/experience"


def test_an_experience_without_evidence_serves_the_defaults() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(
            client,
            EXPERIENCE,
            {
                "customer_id": "anna",
                "page_type": "homepage",
                "context": {"device": "mobile"},
                "personalization_goals": {"increase_engagement": 0.4, "drive_conversions": 0.6},
                "elements_to_personalize": ["hero_banner", "navigation_items"],
            },
        )
        ExperienceAnswer.model_validate(answer)
        assert [each["name"] for each in answer["elements"]] == ["hero_banner", "navigation_items"]
        assert {each["reason"] for each in answer["elements"]} == {"no_evidence"}
        assert answer["confidence_score"] > 0.5
        assert answer["experience_id"] == answer["decision_id"]

    run(scenario)


def test_what_visitors_answered_changes_what_is_served() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        rows = []
        for number in range(1200):
            variant = "top_category" if number % 2 else "brand_story"
            context = {"experience_id": f"x{number}", "elements": {"hero_banner": variant}}
            rows.append({"event_type": "experience_served", "user_id": f"u{number}", "context": context})
            if number % (4 if number % 2 else 20) < 2:
                context = {"experience_id": f"x{number}"}
                event = {"event_type": "experience_interaction", "user_id": f"u{number}", "context": context}
                rows.append(event)
        for start in range(0, len(rows), 500):
            await post(client, "/api/v1/behavior/track/batch", {"events": rows[start : start + 500]})
        body = {"customer_id": "anna", "elements_to_personalize": ["hero_banner"]}
        for _ in range(60):
            [element] = (await post(client, EXPERIENCE, body))["elements"]
            if element["variant"] == "top_category":
                break
            await asyncio.sleep(0.1)
        assert (element["variant"], element["reason"]) == ("top_category", "better_than_default")
        assert element["confidence_score"] >= 0.7
        assert element["expected_lift"] > 0
        assert element["content"] == {"category": "kitchen"}

    run(scenario)


def test_outcomes_of_an_experience_are_recorded_once() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        served = await post(client, EXPERIENCE, {"customer_id": 12345})
        path = f"{EXPERIENCE}/{served['experience_id']}/performance"
        body = {
            "customer_id": 12345,
            "interactions": [{"element": "hero_banner", "type": "click"}],
            "conversion_events": [{"conversion_value": 20.5, "attribution_factors": {"hero_banner": 1.0}}],
        }
        first, again = await post(client, path, body), await post(client, path, body)
        assert (first["accepted"], first["tracked"]) == (2, True)
        assert (again["accepted"], again["duplicates"]) == (0, 2)
        assert again["event_ids"] == first["event_ids"]
        history = await get(client, "/api/v1/behavior/12345/history")
        assert {"experience_served", "experience_interaction", "conversion_achieved"} == {
            event["event_type"] for event in history["events"]
        }

    run(scenario)


def test_without_consent_outcomes_are_not_recorded_and_the_defaults_served() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        served = await post(client, EXPERIENCE, {"customer_id": "anna"}, DNT="1")
        assert (served["personalized"], served["segment"]) == (False, None)
        path = f"{EXPERIENCE}/{served['experience_id']}/performance"
        body = {"customer_id": "anna", "interactions": [{"type": "click"}]}
        answer = await post(client, path, body, DNT="1")
        assert (answer["tracked"], answer["not_tracked"], answer["reason"]) == (False, 1, "do_not_track")

    run(scenario)


def test_an_unknown_element_is_refused_with_the_known_ones() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        body = {"customer_id": "anna", "elements_to_personalize": ["fireworks"]}
        response = await client.post(EXPERIENCE, json=body)
        assert response.status_code == 422
        assert "hero_banner" in response.json()["detail"]
        nothing = await client.post(f"{EXPERIENCE}/x/performance", json={"customer_id": "anna"})
        assert nothing.status_code == 422

    run(scenario)


def test_a_home_may_have_variants_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / OWN_VARIANTS
    path.parent.mkdir()
    path.write_text("elements: {hero: {default: a, variants: {a: {}}}}", encoding="utf-8")
    assert list(own_variants(tmp_path)) == ["hero"]
    path.write_text("elements: {hero: {default: b, variants: {a: {}}}}", encoding="utf-8")
    with pytest.raises(InvalidSetting, match="default='b'"):
        own_variants(tmp_path)


def test_experiments_decide_variants_and_layout() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        parameters = {"experience.hero_banner": "top_category", "homepage.layout": "carousel"}
        arms = {name: {"parameters": parameters} for name in ("control", "variant_a")}
        await post(client, "/api/v1/experiments", {"id": "hero", "variants": arms})
        body = {"customer_id": "anna", "elements_to_personalize": ["hero_banner"]}
        [element] = (await post(client, EXPERIENCE, body))["elements"]
        assert (element["variant"], element["reason"]) == ("top_category", "experiment")
        assert (await get(client, "/api/v1/personalize/homepage/anna"))["layout"] == "carousel"
        untracked = (await post(client, EXPERIENCE, body, DNT="1"))["elements"][0]
        assert untracked["reason"] == "no_evidence"

    run(scenario)


def test_conditions_of_an_experiment_look_at_the_page_and_the_device() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        parameters = {"experience.hero_banner": "top_category", "homepage.layout": "carousel"}
        arms = {name: {"parameters": parameters} for name in ("control", "variant_a")}
        conditions = [{"attribute": "device_type", "is_one_of": ["desktop"]}]
        await post(client, "/api/v1/experiments", {"id": "h", "variants": arms, "conditions": conditions})
        body = {"customer_id": "anna", "elements_to_personalize": ["hero_banner"]}
        for device, is_in in (("desktop", True), ("mobile", False)):
            shown = await post(client, EXPERIENCE, body | {"context": {"device": device}})
            assert (shown["elements"][0]["reason"] == "experiment") is is_in
            page = await get(client, "/api/v1/personalize/homepage/anna", device=device)
            assert (page["layout"] == "carousel") is is_in

    run(scenario)


# search


def test_search_results_are_the_same_ids_in_another_order() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        given = ["lamp", "bulb", "nothing", "mug"]
        answer = await post(client, "/api/v1/personalize/search/anna", {"query": "x", "item_ids": given})
        SearchAnswer.model_validate(answer)
        assert sorted(answer["item_ids"]) == sorted(given)
        assert answer["item_ids"][0] == "mug"
        body = {"item_ids": given, "scores": [1.0, 5.0, 3.0, 2.0]}
        stranger = await post(client, "/api/v1/personalize/search/nobody", body)
        assert stranger["item_ids"] == ["bulb", "nothing", "mug", "lamp"]
        assert (stranger["personalized"], stranger["reason"]) == (False, "nothing_known")

    run(scenario)


def test_switched_off_search_keeps_the_order_and_says_so() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        given = ["lamp", "bulb", "mug"]
        answer = await post(client, "/api/v1/personalize/search/anna", {"item_ids": given})
        assert (answer["item_ids"], answer["reason"]) == (given, "ENABLE_PERSONALIZED_SEARCH=false")

    run(scenario, ENABLE_PERSONALIZED_SEARCH="false")


def test_scores_must_fit_the_ids() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        body = {"item_ids": ["mug", "cup"], "scores": [1.0]}
        response = await client.post("/api/v1/personalize/search/anna", json=body)
        assert response.status_code == 422

    run(scenario)


# messages


def test_no_email_without_consent() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(client, "/api/v1/personalize/email/anna")
        EmailAnswer.model_validate(answer)
        assert (answer["send"], answer["reason"], answer["blocks"]) == (False, "no_consent_for_email", None)
        when = await get(client, "/api/v1/personalize/send-time/anna", channel="push")
        assert (when["send"], when["reason"]) == (False, "no_consent_for_push")

    run(scenario)


def test_an_email_has_subject_hero_grid_articles_and_proof() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        created = {"customer_id": "anna", "name": "Anna Silva", "email": "anna@example.com"}
        await client.post("/customer/create", json=created)
        await allow_email(client)
        answer = await post(client, "/api/v1/personalize/email/anna", {"grid_items": 3})
        EmailAnswer.model_validate(answer)
        assert answer["send"]
        assert answer["subject"]["text"].startswith("Anna, picked for you: ")
        blocks = answer["blocks"]
        hero = blocks["hero_product"]["item_id"]
        assert hero not in [item["item_id"] for item in blocks["product_grid"]]
        goods = await get(client, f"/api/v1/decisions/{answer['recommendation_id']}")
        assert goods["output"]["items"][0]["item_id"] == hero and goods["identical"]
        assert blocks["content_articles"][0]["content_id"] == "c1"
        assert blocks["social_proof"][0]["item_id"] == "mug"

    run(scenario)


def test_a_segment_gets_an_email_of_what_it_buys() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        documented = {"personalization_depth": "high", "content_freshness": "real_time"}
        answer = await post(client, "/api/v1/personalize/email/segments/high", documented)
        SegmentEmailAnswer.model_validate(answer)
        assert answer["blocks"]["hero_product"]["item_id"] == "lamp"
        assert answer["subject"]["kind"] == "plain"
        assert answer["ask_consent_of_each"]
        unknown = await client.post("/api/v1/personalize/email/segments/rich")
        assert unknown.status_code == 422
        shallow = {"personalization_depth": "low"}
        refused = await client.post("/api/v1/personalize/email/segments/high", json=shallow)
        assert refused.status_code == 422 and "personalization_depth" in refused.text
        poor = await post(client, "/api/v1/personalize/email/segments/churned")
        assert poor["degraded"] == ["no_lists_by_segment"]

    run(scenario)


def test_the_send_time_is_outside_quiet_hours_and_local() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        await allow_email(client)
        answer = await get(client, "/api/v1/personalize/send-time/anna", timezone="Europe/Lisbon")
        SendTimeAnswer.model_validate(answer)
        assert answer["send"]
        assert 8 <= answer["local_hour"] < 21
        assert answer["basis"]["own_acts"] == 0.25
        assert answer["basis"]["everybody_acts"] == 900
        wrong = await client.get("/api/v1/personalize/send-time/anna", params={"timezone": "Mars/Base"})
        assert wrong.status_code == 422

    run(scenario)


def test_switched_off_notifications_go_at_the_usual_hour() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        await allow_email(client)
        answer = await get(client, "/api/v1/personalize/send-time/anna")
        assert (answer["send"], answer["personalized"]) == (True, False)
        assert answer["reason"] == "ENABLE_SMART_NOTIFICATIONS=false"
        assert answer["basis"]["own_acts"] == 0

    run(scenario, ENABLE_SMART_NOTIFICATIONS="false")


def test_the_weekly_cap_holds() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        await allow_email(client)
        for number in range(2):
            sent = {"event_id": f"m{number}", "user_id": "anna", "event_type": "email_sent"}
            await post(client, "/api/v1/behavior/track", sent)
        answer = await get(client, "/api/v1/personalize/send-time/anna")
        assert (answer["send"], answer["reason"], answer["sent_in_window"]) == (False, "cap_reached", 2)

    run(scenario, ATTUNE_MESSAGES_PER_WEEK="2")


# offers, prices, bundles


def test_offers_name_their_reason_score_and_expected_response() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(client, "/api/v1/offers/anna")
        OfferAnswer.model_validate(answer)
        assert (answer["customer_tier"], answer["segment"]) == ("VIP", "high")
        first = answer["offers"][0]
        assert (first["item_id"], first["price"]) == ("mug", 3.6)
        assert first["basis"]["source"] == "prior"
        assert first["offer_id"] == f"{answer['decision_id']}-1"

    run(scenario)


def test_loyalty_offers_are_of_all_four_types() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(client, "/api/v1/loyalty/offers/anna", {"limit": 4})
        OfferAnswer.model_validate(answer)
        assert len({offer["offer_type"] for offer in answer["offers"]}) == 4
        lower = await post(client, "/api/v1/loyalty/offers/anna", {"customer_tier": "New"})
        assert lower["customer_tier"] == "New"
        assert "early_access_privileges" not in {offer["offer_type"] for offer in lower["offers"]}

    run(scenario)


def test_who_may_not_be_personalized_is_offered_nothing() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(client, "/api/v1/offers/anna", None, DNT="1")
        assert (answer["offers"], answer["personalized"], answer["reason"]) == ([], False, "do_not_track")

    run(scenario)


def test_what_became_of_an_offer_is_recorded_once() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        offered = await post(client, "/api/v1/offers/anna")
        offer = offered["offers"][0]
        path = f"/api/v1/offers/{offer['offer_id']}/performance"
        body = {"customer_id": "anna", "event": "redeemed", "offer_type": offer["offer_type"], "value": 3.6}
        first, again = await post(client, path, body), await post(client, path, body)
        assert (first["status"], again["status"]) == ("accepted", "duplicate")
        receipt = await get(client, f"/api/v1/decisions/{offered['decision_id']}")
        assert receipt["status"] == "converted"

    run(scenario)


def test_prices_are_list_prices_unless_switched_on() -> None:
    async def scenario(client: httpx.AsyncClient, store: FakeUserStore) -> None:
        answer = await get(client, "/api/v1/pricing/lamp", user_id="anna")
        PriceAnswer.model_validate(answer)
        assert (answer["price"], answer["list_price"], answer["dynamic_pricing"]) == (30.0, 30.0, False)
        assert answer["reason"] == "ENABLE_DYNAMIC_PRICING=false"
        assert "list price" in answer["disclosure"]
        assert all("anna" not in ids for _, ids in store.reads)
        unknown = await client.get("/api/v1/pricing/nothing")
        assert unknown.status_code == 404

    run(scenario)


def test_a_personal_price_is_lower_within_bounds_and_discloses_itself() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await get(client, "/api/v1/pricing/lamp", user_id="anna")
        assert (answer["price"], answer["reasons"]) == (27.0, ["loyalty_vip"])
        assert "adjusted for you" in answer["disclosure"]
        everybody = await get(client, "/api/v1/pricing/lamp")
        assert everybody["price"] == 30.0

    run(scenario, ENABLE_DYNAMIC_PRICING="true")


def test_pricing_reads_nothing_protected() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        person = {
            "customer_id": "anna",
            "name": "Anna",
            "email": "a@example.com",
            "age": 70,
            "gender": "female",
        }
        await client.post("/customer/create", json={**person, "location": "Lisbon"})
        answer = await get(client, "/api/v1/pricing/lamp", user_id="anna")
        receipt = await get(client, f"/api/v1/decisions/{answer['decision_id']}")
        from serving.decisions.pricing import ALLOWED_INPUTS

        assert set(receipt["inputs"]) == ALLOWED_INPUTS

    run(scenario, ENABLE_DYNAMIC_PRICING="true")


def test_bundles_in_both_spellings() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(client, "/analytics/bundles", {"user_id": "anna", "limit": 5})
        BundleAnswer.model_validate(answer)
        [first] = [each for each in answer["bundles"] if set(each["items"]) == {"mug", "pot"}]
        assert first["price"] < first["list_price"] == 16.0
        assert (first["lift"], answer["personalized"]) == (3.0, True)
        canonical = await post(client, "/api/v1/bundles/anna", {"limit": 5})
        assert [each["items"] for each in canonical["bundles"]] == [
            each["items"] for each in answer["bundles"]
        ]
        around = await post(client, "/api/v1/bundles/anna", {"product_id": "lamp"})
        assert all("lamp" in each["items"] for each in around["bundles"])

    run(scenario)


def mined_bundle(key: str, kind: str, *items: str, **changes: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys((*OFFER, *EVIDENCE)),
        "bundle_key": key,
        "bundle_type": kind,
        "items": list(items),
        "instead_of": None,
        "list_price": 7.0,
        "discount": 0.1,
        "cost": 3.0,
        "counted_cost": 3.0,
        "anchor_margin": 3.0,
        "rest_price": 3.0,
        "attach": 0.2,
        "elasticity": 2.5,
        "is_cost_assumed": False,
        "support": 0.01,
        "lift": 4.0,
        "q_value": 0.001,
        "first_date": date(2023, 2, 1),
    } | changes


def with_bundles(*rows: dict[str, Any]) -> Release:
    return replace(tiny_release(), tables={"bundles": pa.Table.from_pylist(list(rows))})


def test_mined_bundles_answer_with_their_evidence_and_no_margin() -> None:
    release = with_bundles(
        mined_bundle("m", "complementary", "mug", "cup"),
        mined_bundle("l", "cross_sell", "lamp", "bulb", attach=0.3),
        mined_bundle("u", "upsell", "lamp", "cup", instead_of="mug", moved_count=9),
    )

    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(client, "/analytics/bundles", {"user_id": "anna", "limit": 5})
        BundleAnswer.model_validate(answer)
        found = {each["bundle_key"]: each for each in answer["bundles"]}
        assert set(found) == {"m", "l", "u"}
        assert found["u"]["instead_of"] == "mug"
        assert found["m"]["evidence"] == {
            "lift": 4.0,
            "support": 0.01,
            "q_value": 0.001,
            "first_date": "2023-02-01",
        }
        assert found["u"]["evidence"]["moved_count"] == 9
        assert not found["m"].keys() & {"expected_profit", "unit_profit"}
        assert (found["m"]["price"], answer["personalized"]) == (6.3, True)
        receipt = await get(client, f"/api/v1/decisions/{answer['decision_id']}")
        assert receipt["identical"]
        assert receipt["output"]["bundles"][0]["unit_profit"] > 0
        around = await post(client, "/api/v1/bundles/anna", {"product_id": "bulb"})
        assert [each["bundle_key"] for each in around["bundles"]] == ["l"]
        newcomer = await post(client, "/api/v1/bundles/nobody", {"bundle_types": ["cross_sell"]})
        assert ([each["bundle_key"] for each in newcomer["bundles"]], newcomer["personalized"]) == (
            ["l"],
            False,
        )

    run(scenario, release=release)


def test_a_newcomer_gets_bundles_around_what_is_popular() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await post(client, "/api/v1/bundles/nobody")
        assert answer["bundles"]
        assert not answer["personalized"]

    run(scenario)


# all of them

EVERY: list[tuple[str, str, JSON | None]] = [
    ("GET", "/api/v1/personalize/homepage/anna", None),
    ("GET", "/api/v1/personalize/layout/anna", None),
    ("GET", "/api/v1/personalize/content/anna", None),
    ("POST", EXPERIENCE, {"customer_id": "anna"}),
    ("POST", "/api/v1/personalize/search/anna", {"item_ids": ["lamp", "mug"]}),
    ("POST", "/api/v1/personalize/email/anna", None),
    ("GET", "/api/v1/personalize/send-time/anna", None),
    ("POST", "/api/v1/offers/anna", None),
    ("POST", "/api/v1/loyalty/offers/anna", None),
    ("GET", "/api/v1/pricing/lamp?user_id=anna", None),
    ("POST", "/api/v1/bundles/anna", None),
]


def test_every_decision_has_a_receipt_that_comes_out_the_same() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        await allow_email(client)
        for method, path, body in EVERY:
            answer = (await client.request(method, path, json=body)).json()
            receipt = await get(client, f"/api/v1/decisions/{answer['decision_id']}")
            assert (receipt["recomputed"], receipt["identical"]) == (True, True), path
            assert receipt["release"] == answer["release"]

    run(scenario, ENABLE_DYNAMIC_PRICING="true")


def test_a_silent_online_store_is_named_and_every_answer_still_comes() -> None:
    async def scenario(client: httpx.AsyncClient, store: FakeUserStore) -> None:
        await allow_email(client)
        store.hang()
        for method, path, body in EVERY:
            response = await client.request(method, path, json=body)
            assert response.status_code == 200, path
            assert any("online_store" in each for each in response.json()["degraded"]), path

    run(scenario, ATTUNE_ONLINE_DEADLINE_MS="50", ENABLE_DYNAMIC_PRICING="true")


def test_a_release_without_tables_still_answers() -> None:
    assert tiny_release().tables == {}
    assert tiny_release().manifest.data_until == date(2024, 1, 31)


def test_settings_that_cannot_be_used_are_refused_by_name() -> None:
    for name, value in (
        ("ATTUNE_QUIET_HOURS", "9pm-8am"),
        ("ATTUNE_TIME_ZONE", "Mars/Base"),
        ("ATTUNE_MARGIN_FLOOR", "2"),
        ("ATTUNE_CONFIDENCE_THRESHOLD", "0.2"),
    ):
        with pytest.raises(InvalidSetting, match=name):
            read_settings({name: value})
    assert read_settings({"ATTUNE_QUIET_HOURS": "0-0"}).quiet_hours == (0, 0)
    assert isinstance(read_settings({}), Settings)
