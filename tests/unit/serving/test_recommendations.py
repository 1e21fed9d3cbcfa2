"""Recommendations as they are served: the ladder, consent, rules, receipts, stored answers, statuses."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from feature_repo.layout import Home
from serving.api.application import connect, create_application
from serving.api.schemas.decisions import DecisionAnswer
from serving.api.schemas.recommendations import RecommendationAnswer
from serving.api.schemas.rules import RulesAnswer
from serving.decision_log import new_decision_id
from serving.decisions.rules import REQUEST, RuleSet
from serving.errors import InvalidDeclarations
from serving.recommendations.ask import RecommendAsk
from serving.releases import serve_form
from serving.requests import RequestMiddleware
from serving.rules import RULES_FILE, read_rules_file
from serving.runtime import Runtime, open_runtime
from serving.settings import read_settings
from tests.fakes import FakeUserStore, tiny_release
from tests.unit.serving.test_api import FEATURE_AT, PROFILE, ROWS, item_ids

Scenario = Callable[[httpx.AsyncClient, Runtime, FakeUserStore], Awaitable[None]]
URL = "/api/v1/recommendations/"
VALUED = {"value_segment": "high", "feature_at": FEATURE_AT}


def run(scenario: Scenario, env: dict[str, str] | None = None, rules: str | None = None) -> None:
    """Run a scenario against the served application with a real operational store and no chance."""
    rows = {view: dict(stored) for view, stored in ROWS.items()}
    rows["user_predictions"]["valued"] = VALUED

    async def served(folder: Path) -> None:
        given = {"ATTUNE_EXPLORATION": "0", "ATTUNE_DIVERSITY": "0", **(env or {})}
        settings = replace(read_settings(given), home=Home(folder))
        store = FakeUserStore(rows)
        runtime = await open_runtime(settings, serve_form(tiny_release()), lambda: store, PROFILE)
        application = create_application()
        connect(application, runtime)
        transport = httpx.ASGITransport(app=RequestMiddleware(application, application.state))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                await scenario(client, runtime, store)
        finally:
            store.recover()
            await runtime.close()

    with TemporaryDirectory() as folder:
        if rules is not None:
            Path(folder, RULES_FILE).write_text(rules)
        asyncio.run(served(Path(folder)))


async def track(client: httpx.AsyncClient, user_id: str, event_type: str, **fields: Any) -> None:
    event = {"user_id": user_id, "event_type": event_type, "timestamp": "2026-11-20T10:00:00Z", **fields}
    response = await client.post("/api/v1/behavior/track", json=event)
    assert response.status_code < 300, response.text


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    response = await client.get(path, params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


# the ladder


def test_every_rung_of_the_ladder_is_taken_where_the_one_above_has_nothing() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, store: FakeUserStore) -> None:
        await track(client, "shopper", "product_view", product_id="lamp")
        rungs = {
            visitor: (await get(client, URL + visitor))["rung"]
            for visitor in ("shopper", "anna", "valued", "nobody")
        }
        assert rungs == {"shopper": "live", "anna": "batch", "valued": "segment", "nobody": "popular"}
        await track(client, "anna", "product_view", product_id="lamp")
        assert (await get(client, URL + "anna"))["rung"] == "live"
        store.hang()
        silent = await get(client, URL + "bert")
        assert (silent["rung"], silent["degraded"]) == ("popular", ["online_store_timeout"])
        still = await get(client, URL + "anna")
        assert (still["rung"], still["fallback_reason"]) == ("live", "online_store_unavailable")

    run(scenario)


def test_what_was_just_done_changes_the_next_answer() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        assert "bulb" not in item_ids(await get(client, URL + "anna", limit=2))
        await track(client, "anna", "add_to_cart", product_id="lamp")
        answer = await get(client, URL + "anna", limit=3)
        [bulb] = [item for item in answer["recommendations"] if item["item_id"] == "bulb"]
        assert bulb["reason"] in ("similar to Lamp", "often bought with Lamp")
        assert set(answer["feature_ages"]) == {"candidates", "live"}

    run(scenario)


def test_an_item_that_was_just_bought_is_not_shown() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        assert "mug" in item_ids(await get(client, URL + "anna"))
        await track(client, "anna", "purchase", product_id="mug", quantity=1, price=4.0)
        assert "mug" not in item_ids(await get(client, URL + "anna"))

    run(scenario)


def test_with_live_reranking_off_the_batch_decides() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        await track(client, "anna", "product_view", product_id="lamp")
        assert (await get(client, URL + "anna"))["rung"] == "batch"

    run(scenario, {"REAL_TIME_PROCESSING": "false"})


def test_the_segment_gets_what_it_buys() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        answer = await get(client, URL + "valued", limit=2)
        assert [item["algorithm"] for item in answer["recommendations"]] == [
            "popular_in_segment",
            "popular_recently",
        ], "the segment's other item is sold out"
        assert answer["recommendations"][0]["item_id"] == "lamp"

    run(scenario)


# consent


@pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
def test_who_asks_not_to_be_tracked_gets_the_answer_of_everybody(header: str) -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        everybody = item_ids(await get(client, URL + "nobody"))
        response = await client.get(URL + "anna", headers={header: "1"})
        answer = response.json()
        RecommendationAnswer.model_validate(answer)
        assert item_ids(answer) == everybody
        assert (answer["personalized"], answer["rung"]) == (False, "popular")
        assert answer["reason"] == answer["fallback_reason"] != None  # noqa: E711
        receipt = await runtime.decision_log.explain(answer["decision_id"])
        assert receipt["customer_id"] is None
        assert "anna" not in str(receipt)

    run(scenario)


def test_switched_off_recommendations_are_the_same_for_everybody_and_say_so() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        answer = await get(client, URL + "anna")
        assert (answer["personalized"], answer["reason"]) == (
            False,
            "ENABLE_PERSONALIZED_RECOMMENDATIONS=false",
        )
        assert item_ids(answer) == item_ids(await get(client, URL + "nobody"))

    run(scenario, {"ENABLE_PERSONALIZED_RECOMMENDATIONS": "false"})


# spellings


def test_all_spellings_give_the_same_items() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        first = item_ids(await get(client, URL + "anna", limit=3))
        answers = [
            await client.get(URL + "anna?limit=3"),
            await client.get("/api/v1/personalization/recommendations?customer_id=anna&limit=3"),
            await client.get("/recommendations/anna?limit=3"),
            await client.post("/api/v1/personalize/recommendations/anna", json={"limit": 3}),
            await client.post("/analytics/recommendations", json={"user_id": "anna", "limit": 3}),
            await client.post("/analytics/recommendations", json={"customer_id": "anna", "limit": 3}),
        ]
        for response in answers:
            assert response.status_code == 200, response.text
            RecommendationAnswer.model_validate(response.json())
            assert item_ids(response.json()) == first
        assert (await client.post("/api/v1/personalize/recommendations/anna")).status_code == 200

    run(scenario)


def test_a_page_of_slots_has_the_kinds_asked_for() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        body = {
            "context": "product_detail_page",
            "current_product": "mug",
            "recommendation_types": {
                "similar_products": 1,
                "complementary_products": 1,
                "trending_in_category": 1,
                "personalized_picks": 2,
            },
            "algorithms": {"collaborative_filtering": 0.3, "content_based": 0.3, "hybrid_neural": 0.4},
            "business_rules": {"exclude_out_of_stock": True, "prefer_high_margin": True},
        }
        response = await client.post("/api/v1/personalize/recommendations/anna", json=body)
        assert response.status_code == 200, response.text
        answer = response.json()
        RecommendationAnswer.model_validate(answer)
        assert list(answer["slots"]) == list(body["recommendation_types"])
        assert item_ids({"recommendations": answer["slots"]["similar_products"]}) == ["cup"]
        shown = item_ids(answer)
        assert len(set(shown)) == len(shown)
        assert not {"mug", "pot"} & set(shown), "the page's own item, and what is sold out"

    run(scenario)


def test_a_calibrated_answer_keeps_the_mix_in_its_receipt() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        body = {"limit": 3, "business_rules": {"calibrate_categories": 0.4, "prefer_novelty": True}}
        answer = (await client.post("/api/v1/personalize/recommendations/anna", json=body)).json()
        receipt = (await client.get(f"/api/v1/decisions/{answer['decision_id']}")).json()
        assert receipt["identical"]
        assert sum(receipt["inputs"]["mix"].values()) == pytest.approx(1.0, abs=1e-3)
        then = {name: value for rule in receipt["inputs"]["rules"] for name, value in rule["then"].items()}
        assert (then["calibrate_categories"], then["prefer_novelty"]) == (0.4, 0.5)

    run(scenario)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"business_rules": {"calibrate_categories": 1.5}}, "calibrate_categories"),
        ({"recommendation_types": {"horoscopes": 1}}, "is no slot"),
        ({"recommendation_types": {"similar_products": 0}}, "asks for no item"),
        ({"algorithms": {"astrology": 1}}, "is no algorithm"),
        ({"algorithms": {"hybrid": 0}}, "no weight above 0"),
        ({"filters": {"price_min": -1}}, "filters.price_min=-1"),
        ({"filters": {"price_min": 9, "price_max": 5}}, "price_min=9 is above price_max=5"),
        ({"business_rules": {"sell_everything": True}}, "sell_everything"),
    ],
)
def test_a_wrong_page_request_is_refused_with_field_and_remedy(body: dict[str, Any], said: str) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        response = await client.post("/api/v1/personalize/recommendations/anna", json=body)
        assert response.status_code == 422
        assert said in response.json()["detail"]

    run(scenario)


def test_filters_leave_only_what_was_asked_for() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        body = {"filters": {"categories": ["light"], "exclude_items": ["lamp"]}}
        response = await client.post("/api/v1/personalize/recommendations/anna", json=body)
        assert item_ids(response.json()) == ["bulb"]

    run(scenario)


# rules


def test_rules_are_replaced_by_version_and_hold_at_once() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        before = await get(client, "/api/v1/rules")
        RulesAnswer.model_validate(before)
        assert (before["version"], before["source"]) == (0, "default")
        rules = {"rules": [{"id": "no_mugs", "then": {"ban": ["mug"], "pin": {"1": "rug"}}}]}
        response = await client.put("/api/v1/rules", json=rules)
        assert response.status_code == 200, response.text
        assert response.json()["version"] == 1
        answer = await get(client, URL + "anna")
        assert item_ids(answer)[0] == "rug"
        assert "mug" not in item_ids(answer)
        assert "pot" in item_ids(answer), "the default rules are replaced too"
        receipt = await get(client, f"/api/v1/decisions/{answer['decision_id']}")
        assert receipt["output"]["removed"] == {"no_mugs": {"count": 1, "items": ["mug"]}}
        assert receipt["inputs"]["rules_version"] == 1
        refused = await client.put("/api/v1/rules", json={"rules": [{"id": "x", "then": {"fly": 1}}]})
        assert refused.status_code == 422
        assert [each["version"] for each in (await get(client, "/api/v1/rules"))["history"]] == [1]

    run(scenario)


def test_conditions_look_at_page_segment_and_attributes() -> None:
    rules = """
    - id: cart_page
      when: {pages: [cart], attributes: {device: [mobile]}}
      then: {ban: [mug]}
    - id: low_value
      when: {segments: [low]}
      then: {ban: [lamp]}
    """

    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        url = "/api/v1/personalize/recommendations/anna"
        plain = item_ids((await client.post(url, json={})).json())
        assert ("mug" in plain, "lamp" in plain) == (True, False), "anna is of the low segment"
        body = {"context": "cart", "attributes": {"device": "mobile"}}
        assert "mug" not in item_ids((await client.post(url, json=body)).json())
        body = {"context": "cart", "attributes": {"device": "desktop"}}
        assert "mug" in item_ids((await client.post(url, json=body)).json())

    run(scenario, rules=rules)


def test_rules_of_the_file_become_a_version_once() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        answer = await get(client, "/api/v1/rules")
        assert (answer["version"], answer["source"]) == (1, "file")
        await runtime.rules.close()
        await runtime.rules.start()
        assert (await get(client, "/api/v1/rules"))["version"] == 1
        assert "mug" not in item_ids(await get(client, URL + "anna"))

    run(scenario, rules="rules: [{id: no_mugs, then: {ban: [mug]}}]")


def test_a_rules_file_that_cannot_be_used_stops_the_start_and_says_where(tmp_path: Path) -> None:
    path = tmp_path / RULES_FILE
    for text, problem in (
        ("- id: a\n  then: {fly: true}", r"line 2: then\.fly=True cannot be used"),
        ("rules:\n- id: a\n  then: {}\n  priority: 2000", r"line 4: priority=2000 cannot be used"),
        (
            "- {id: a, then: {}}\n- {id: a, then: {}}",
            "line 2: id='a' cannot be used: it stands above",
        ),
        (f"- {{id: {REQUEST}, then: {{}}}}", f"line 1: id='{REQUEST}' cannot be used"),
        ("when: {}", "line 1: write one list under `rules:`"),
        ("{", "line 1: "),
    ):
        path.write_text(text)
        with pytest.raises(InvalidDeclarations, match=f"rules.yaml {problem}"):
            read_rules_file(path)


def test_a_rules_file_is_a_list_with_or_without_its_key(tmp_path: Path) -> None:
    path = tmp_path / RULES_FILE
    assert read_rules_file(path) is None
    path.write_text("")
    assert read_rules_file(path) == RuleSet(rules=())
    path.write_text("- {id: a, then: {pin: {1: mug}}}")
    bare = read_rules_file(path)
    path.write_text("rules:\n  - {id: a, then: {pin: {1: mug}}}")
    assert bare is not None and bare == read_rules_file(path)


# receipts


def test_a_receipt_shows_what_was_seen_and_recomputes_to_the_same() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        await track(client, "anna", "product_view", product_id="lamp")
        for visitor in ("anna", "newcomer", "browser", "valued", "nobody"):
            answer = await get(client, URL + visitor)
            for _from_store in (False, True):
                receipt = await get(client, f"/api/v1/decisions/{answer['decision_id']}")
                DecisionAnswer.model_validate(receipt)
                assert (receipt["recomputed"], receipt["identical"]) == (True, True)
                assert [item["item_id"] for item in receipt["output"]["items"]] == item_ids(answer)
                assert receipt["customer_id"] == visitor
                assert receipt["status"] == "served"
                runtime.decision_log.flush()
                runtime.decision_log._recent.clear()
                await runtime.database.write(lambda _: None)
        seen = receipt_inputs = (await get(client, f"/api/v1/decisions/{answer['decision_id']}"))["inputs"]
        assert receipt_inputs["rules"][0]["id"] == "in_stock"
        assert "stored" not in seen

    run(scenario, {"ATTUNE_EXPLORATION": "0.5", "ATTUNE_DIVERSITY": "0.3"})


def test_a_receipt_is_not_shown_to_another_customer_and_unknown_ids_are_404() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        decision_id = (await get(client, URL + "anna"))["decision_id"]
        own = await client.get(f"/api/v1/decisions/{decision_id}?customer_id=anna")
        other = await client.get(f"/api/v1/decisions/{decision_id}?customer_id=bert")
        assert (own.status_code, other.status_code) == (200, 404)
        assert (await client.get("/api/v1/decisions/nothing")).status_code == 404

    run(scenario)


def test_a_receipt_of_a_release_that_is_gone_says_so() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        decision_id = (await get(client, URL + "anna"))["decision_id"]
        runtime.releases.current = serve_form(tiny_release("20240201-bbbbbbbb"))
        receipt = await get(client, f"/api/v1/decisions/{decision_id}")
        assert (receipt["recomputed"], receipt["identical"]) == (False, None)
        assert "20240131-aaaaaaaa is not kept" in receipt["not_recomputed_because"]

    run(scenario)


def test_clicks_and_purchases_become_the_status_of_their_decision() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        decision_id = (await get(client, URL + "anna"))["decision_id"]
        url = f"/api/v1/decisions/{decision_id}"
        for event_type, status, fields in (
            ("recommendation_click", "clicked", {}),
            ("purchase", "converted", {"quantity": 1, "price": 4.0}),
        ):
            await track(client, "anna", event_type, product_id="mug", recommendation_id=decision_id, **fields)
            await runtime.database.write(lambda _: None)
            assert (await get(client, url))["status"] == status
        assert [each["item_id"] for each in (await get(client, url))["outcomes"]] == ["mug", "mug"]

    run(scenario)


def test_without_receipts_nothing_is_written_down() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        decision_id = (await get(client, URL + "anna"))["decision_id"]
        assert (await client.get(f"/api/v1/decisions/{decision_id}")).status_code == 404

    run(scenario, {"ATTUNE_RECEIPTS": "false"})


def test_erased_visitors_leave_the_memory() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        await get(client, "/recommendations/anna")
        runtime.decision_log.forget(lambda visitor: visitor == "anna")
        runtime.personalizer.stored.forget(lambda visitor: visitor == "anna")
        assert not runtime.decision_log._recent
        assert not runtime.personalizer.stored._stored

    run(scenario)


def test_decision_ids_are_distinct_and_grow() -> None:
    ids = [new_decision_id() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 32 for each in ids)
    assert ids[0][:12] <= ids[-1][:12]


# stored answers


def test_a_stored_answer_is_given_again_until_something_significant_happens() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        url = "/recommendations/anna"
        first = await get(client, url)
        again = await get(client, url)
        assert (first["stored"], again["stored"]) == (False, True)
        assert again["recommendation_id"] == first["recommendation_id"]
        other = await get(client, url, limit=2)
        assert other["recommendation_id"] != first["recommendation_id"], "another question"
        await track(client, "anna", "product_view", product_id="mug")
        assert (await get(client, url))["stored"] is True, "an ordinary event only ages it"
        await track(client, "anna", "purchase", product_id="lamp", quantity=1, price=30.0)
        fresh = await get(client, url)
        assert fresh["stored"] is False
        assert "lamp" not in item_ids(fresh)

    run(scenario)


def test_a_stored_answer_outlives_the_process() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        url = "/recommendations/anna"
        first = await get(client, url)
        runtime.decision_log.flush()
        await runtime.database.write(lambda _: None)
        runtime.personalizer.stored._stored.clear()
        again = await get(client, url)
        assert again["stored"] is True
        for name in ("recommendation_id", "recommendations", "rung", "candidates_release", "fallback"):
            assert again[name] == first[name]
        runtime.personalizer.stored._stored.clear()
        assert (await get(client, url, limit=2))["stored"] is False, "another question"
        await track(client, "anna", "page_view")
        runtime.personalizer.stored._stored.clear()
        assert (await get(client, url))["stored"] is False, "something happened since"

    run(scenario)


def test_ordinary_events_age_a_stored_answer_out() -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        await get(client, "/recommendations/anna")
        for _number in range(12):
            await track(client, "anna", "page_view")
        assert (await get(client, "/recommendations/anna"))["stored"] is False

    run(scenario)


def test_a_stored_answer_outlives_neither_its_time_nor_its_release_nor_consent() -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime, _: FakeUserStore) -> None:
        await get(client, "/recommendations/anna")
        refused = await client.get("/recommendations/anna", headers={"DNT": "1"})
        assert (refused.json()["stored"], refused.json()["personalized"]) == (False, False)
        assert (await get(client, "/recommendations/anna"))["stored"] is True
        runtime.releases.current = serve_form(tiny_release("20240201-bbbbbbbb"))
        assert (await get(client, "/recommendations/anna"))["stored"] is False

    run(scenario)

    async def without_time(client: httpx.AsyncClient, _: Runtime, __: FakeUserStore) -> None:
        await get(client, "/recommendations/anna")
        assert (await get(client, "/recommendations/anna"))["stored"] is False

    run(without_time, {"CACHE_TTL": "0"})


def test_weights_of_the_request_decide_what_counts() -> None:
    async def scenario(_: httpx.AsyncClient, runtime: Runtime, __: FakeUserStore) -> None:
        ask = RecommendAsk("anna", 1, weights={"content": 1.0})
        answer = await runtime.personalizer.recommend(ask)
        assert answer["recommendations"][0]["category"] == "light", "anna bought a lamp"
        receipt = await runtime.decision_log.explain(answer["decision_id"])
        assert receipt["identical"] is True

    run(scenario)
