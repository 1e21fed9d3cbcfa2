"""Search, prices, bundles, offers, e-mails and send times: what may never happen, and what should."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decisions import bundles, email, offers, pricing, search, send_time

SHARES = st.floats(0, 1)
MONEY = st.floats(0.01, 10_000).map(lambda value: round(value, 2))

# search


@given(st.data(), st.integers(1, 60), st.booleans(), st.floats(0.5, 10))
def test_reranking_is_a_permutation_within_reach(
    data: Any, count: int, has_scores: bool, reach: float
) -> None:
    personal = data.draw(st.lists(SHARES, min_size=count, max_size=count))
    scores = data.draw(st.lists(st.floats(-100, 100), min_size=count, max_size=count))
    relevance = sorted(scores, reverse=True) if has_scores else None
    order = search.rerank(personal, relevance, reach)
    assert sorted(order) == list(range(count))
    assert max(abs(place - index) for place, index in enumerate(order)) <= reach


@given(st.integers(1, 60), SHARES)
def test_nothing_moves_where_everything_suits_alike(count: int, score: float) -> None:
    assert search.rerank([score] * count, None) == list(range(count))


def test_what_suits_better_comes_first_among_equals() -> None:
    assert search.rerank([0.0, 0.0, 1.0], [5.0, 5.0, 5.0]) == [2, 0, 1]


def test_a_gap_in_relevance_is_not_jumped_over() -> None:
    personal = [0.0, 0.0, 1.0, 0.0]
    assert search.rerank(personal, [9.0, 8.9, 8.8, 8.7]) == [2, 0, 1, 3]
    assert search.rerank(personal, [9.0, 8.9, 0.1, 0.0], reach=2) == [0, 1, 2, 3]


def test_personal_scores_are_shares() -> None:
    scores = search.personal_scores([2.0, None, 4.0], ["home", "pets", None], {"home": 0.6, "pets": 0.3})
    assert scores == [pytest.approx(0.3), pytest.approx(0.15), pytest.approx(0.7)]
    assert search.personal_scores([None], ["home"], {}) == [0.0]


# prices


def ask(**changes: Any) -> dict[str, Any]:
    return {
        "list_price": 100.0,
        "cost": 60.0,
        "stock": 50,
        "loyalty_tier": None,
        "price_tier": None,
        "churn_probability": None,
        "max_discount": 0.2,
        "max_increase": 0.0,
        "margin_floor": 0.1,
    } | changes


@given(
    MONEY,
    st.one_of(st.none(), MONEY),
    st.sampled_from([None, "VIP", "Premium", "Standard", "New"]),
    st.sampled_from([None, "Budget", "Regular", "Premium"]),
    st.one_of(st.none(), SHARES),
    st.integers(0, 1000),
    st.floats(0, 0.9),
    st.floats(0, 0.5),
    st.floats(0, 0.95),
)
def test_a_price_stays_in_its_bounds_and_above_the_margin_floor(
    price: float,
    cost: float | None,
    loyalty: str | None,
    tier: str | None,
    churn: float | None,
    stock: int,
    discount: float,
    increase: float,
    floor: float,
) -> None:
    found = pricing.decide(
        ask(
            list_price=price,
            cost=cost,
            loyalty_tier=loyalty,
            price_tier=tier,
            churn_probability=churn,
            stock=stock,
            max_discount=discount,
            max_increase=increase,
            margin_floor=floor,
        )
    )["price"]
    assert price * (1 - discount) - 1e-6 <= found <= price * (1 + increase) + 1e-6
    if found < price:
        assert cost is not None
        assert pricing.margin(found, cost) >= floor - 1e-9


def test_reasons_for_a_lower_price_add_up_to_the_largest_discount() -> None:
    assert pricing.decide(ask(loyalty_tier="VIP"))["price"] == 90.0
    every = ask(loyalty_tier="VIP", price_tier="Budget", churn_probability=0.9, stock=500)
    assert pricing.decide(every)["price"] == 80.0
    assert "adjusted for you" in pricing.decide(every)["disclosure"]


def test_without_reasons_or_cost_the_list_price_stands() -> None:
    assert pricing.decide(ask())["reasons"] == ["list_price"]
    unknown = pricing.decide(ask(cost=None, loyalty_tier="VIP"))
    assert (unknown["price"], unknown["reasons"]) == (100.0, ["cost_unknown"])
    tight = pricing.decide(ask(cost=95.0, loyalty_tier="VIP"))
    assert (tight["price"], tight["reasons"]) == (100.0, ["margin_floor"])


def test_a_price_that_follows_stock_is_not_called_personal() -> None:
    assert pricing.decide(ask(stock=500))["disclosure"] == pricing.SUPPLY_DISCLOSURE
    scarce = pricing.decide(ask(stock=2, max_increase=0.1))
    assert (scarce["price"], scarce["disclosure"]) == (110.0, pricing.SUPPLY_DISCLOSURE)


def test_pricing_may_see_nothing_protected() -> None:
    assert not pricing.ALLOWED_INPUTS & pricing.PROTECTED
    for name in sorted(pricing.PROTECTED):
        with pytest.raises(ValueError, match=name):
            pricing.decide(ask(**{name: "x"}))


# bundles


def candidate(kind: str, *names: str, lift: float = 4.0, affinity: float = 0.5) -> dict[str, Any]:
    items = [{"item_id": name, "price": 10.0, "cost": 4.0} for name in names]
    return {"bundle_type": kind, "items": items, "support": 0.01, "lift": lift, "affinity": affinity}


def bundle(candidates: list[dict[str, Any]], limit: int = 5, **changes: Any) -> list[dict[str, Any]]:
    inputs = {
        "types": list(bundles.TYPE_SHARES),
        "candidates": candidates,
        "max_discount": 0.2,
        "margin_floor": 0.1,
        "limit": limit,
    }
    found: list[dict[str, Any]] = bundles.decide(inputs | changes)["bundles"]
    return found


def test_types_take_turns_and_no_goods_come_twice() -> None:
    found = bundle(
        [
            candidate("complementary", "a", "b"),
            candidate("complementary", "c", "d"),
            candidate("promotional", "b", "a"),
            candidate("upsell", "e", "f"),
        ]
    )
    assert sorted(each["bundle_type"] for each in found) == ["complementary", "promotional", "upsell"]
    assert len({frozenset(each["items"]) for each in found}) == len(found) == 3


def test_goods_that_sell_together_anyway_need_less_discount() -> None:
    [loose] = bundle([candidate("complementary", "a", "b", lift=1.1)])
    [close] = bundle([candidate("complementary", "a", "b", lift=30.0)])
    assert loose["discount"] > close["discount"] > 0
    assert close["price"] == pytest.approx(20.0 * (1 - close["discount"]), abs=0.01)


def test_types_that_were_not_asked_for_are_left_out() -> None:
    assert bundle([candidate("complementary", "a", "b")], types=["upsell"]) == []


@given(
    st.lists(st.one_of(st.none(), MONEY), min_size=2, max_size=4),
    st.lists(st.one_of(st.none(), MONEY), min_size=4, max_size=4),
    st.floats(0, 0.9),
    st.floats(0, 0.95),
)
def test_a_bundle_keeps_the_margin_floor(
    prices: list[float | None], costs: list[float | None], discount: float, floor: float
) -> None:
    costs = costs[: len(prices)]
    total, price, found = bundles.price_bundle(prices, costs, discount, floor)
    if total is None or price is None:
        assert None in prices
        return
    assert total * (1 - discount) - 0.01 <= price <= total
    if found > 0:
        assert None not in costs
        assert pricing.margin(price, sum(cost for cost in costs if cost is not None)) >= floor - 1e-9


def mined(key: str, affinity: float = 0.5, **changes: Any) -> dict[str, Any]:
    offer = {
        "list_price": 20.0,
        "discount": 0.15,
        "cost": 8.0,
        "counted_cost": 8.0,
        "anchor_margin": 6.0,
        "rest_price": 10.0,
        "attach": 0.2,
        "elasticity": 3.0,
        "is_cost_assumed": False,
    }
    bare = candidate("complementary", f"{key}1", f"{key}2", affinity=affinity)
    return bare | {"bundle_key": key, "instead_of": None, "offer": offer | changes}


def test_a_mined_bundle_has_its_best_discount_and_what_is_expected_of_it() -> None:
    [found] = bundle([mined("a")])
    assert (found["price"], found["discount"]) == (17.0, 0.15)
    assert found["expected_attach"] == pytest.approx(0.2 * 0.7**-3, rel=1e-4)
    assert found["unit_profit"] == 9.0
    share = found["expected_attach"]
    assert found["expected_profit"] == pytest.approx(share * 9.0 + (1 - share) * 6.0, rel=1e-4)


def test_the_bounds_in_force_hold_for_mined_bundles() -> None:
    [capped] = bundle([mined("a")], max_discount=0.05)
    assert capped["discount"] == 0.05
    assert capped["expected_attach"] == pytest.approx(0.2 * 0.9**-3, rel=1e-4)
    [floored] = bundle([mined("a", cost=17.5)])
    assert pricing.margin(floored["price"], 17.5) >= 0.1
    [none] = bundle([mined("a", cost=19.0)])
    assert (none["price"], none["discount"]) == (20.0, 0.0)


def test_mined_bundles_are_ranked_by_interest_times_what_they_earn() -> None:
    loved, rich, poor = mined("loved", 0.9), mined("rich", 0.2, attach=0.6), mined("poor", 0.2)
    assert [each["bundle_key"] for each in bundle([poor, rich, loved])] == ["loved", "rich", "poor"]


# offers


def offer_inputs(**changes: Any) -> dict[str, Any]:
    product = {"item_id": "mug", "category": "home", "brand": "A", "price": 10.0, "cost": 4.0, "score": 1.0}
    return {
        "weights": offers.normalised({}),
        "types": list(offers.OFFER_TYPES),
        "tier": "VIP",
        "churn": 0.1,
        "engagement": 0.5,
        "products": [product, product | {"item_id": "pot", "cost": None}],
        "affinity": {"home": 0.7, "pets": 0.3},
        "season": {"home": 0.2},
        "brands": {"A": 1.0},
        "responses": {},
        "max_discount": 0.2,
        "margin_floor": 0.1,
        "limit": 6,
    } | changes


def test_the_documented_weights_make_the_personalization_score() -> None:
    [discount] = offers.decide(offer_inputs(types=["product_discounts"]))["offers"]
    assert discount["item_id"] == "mug"
    assert discount["personalization_score"] == pytest.approx(0.4 * 1 + 0.3 * 0.5 + 0.2 * 0.2 + 0.1 * 1)
    assert (discount["price"], discount["discount"]) == (9.0, 0.1)


def test_all_four_types_are_made_for_a_vip_and_take_turns() -> None:
    found = offers.decide(offer_inputs())["offers"]
    assert {each["offer_type"] for each in found[:4]} == set(offers.OFFER_TYPES)


def test_somebody_who_is_leaving_is_offered_more() -> None:
    assert offers.discount_for("Standard", 0.9) > offers.discount_for("Standard", 0.1)
    [kept] = offers.decide(offer_inputs(types=["product_discounts"], churn=0.9))["offers"]
    assert "see you again" in kept["reason"]


def test_no_discount_without_a_known_cost_or_above_the_bounds() -> None:
    unknown = offer_inputs(types=["product_discounts"])
    unknown["products"] = unknown["products"][1:]
    assert offers.decide(unknown)["offers"] == []
    assert offers.decide(offer_inputs(types=["product_discounts"], max_discount=0.0))["offers"] == []


def test_an_expected_response_names_what_it_rests_on() -> None:
    [prior] = offers.decide(offer_inputs(types=["experience_rewards"]))["offers"]
    assert prior["basis"] == {"source": "prior", "shown": 0, "responded": 0}
    responses = {"experience_rewards": {"segment": [400, 80], "all": [1000, 100]}}
    [seen] = offers.decide(offer_inputs(types=["experience_rewards"], responses=responses))["offers"]
    assert seen["basis"] == {"source": "segment", "shown": 1000, "responded": 100}
    assert 0.1 < seen["expected_response_rate"] < 0.2


# e-mail


def mail(**changes: Any) -> dict[str, Any]:
    inputs = {
        "send": True,
        "reason": None,
        "name": "Inês",
        "offer": {"discount": 0.1, "category": "home", "title": None},
        "hero": {"item_id": "mug", "title": "Mug"},
        "grid": ["mug", "pot"],
        "articles": [],
        "social_proof": [],
        "use_customer_name": True,
        "include_personalized_offer": True,
        "responses": {},
    }
    return email.decide(inputs | changes)


def counted(sent: int, opened: int) -> dict[str, list[int]]:
    return {"segment": [0, 0], "all": [sent, opened]}


def test_without_consent_nothing_is_composed() -> None:
    assert mail(send=False, reason="no_consent_for_email") == {
        "send": False,
        "reason": "no_consent_for_email",
        "subject": None,
        "blocks": None,
    }


def test_the_kind_of_subject_that_is_opened_most_is_chosen() -> None:
    assert mail()["subject"]["text"] == "Inês, picked for you: Mug"
    responses = {
        "personal_name": counted(2000, 300),
        "offer": counted(2000, 700),
        "plain": counted(2000, 400),
    }
    subject = mail(responses=responses)["subject"]
    assert (subject["kind"], subject["text"], subject["basis"]) == ("offer", "10% off home", "observed")
    assert subject["expected_open_rate"] == pytest.approx(0.346, abs=0.01)


def test_a_subject_says_only_what_is_known_and_allowed() -> None:
    assert mail(name=None, offer=None)["subject"]["kind"] == "plain"
    assert mail(use_customer_name=False, include_personalized_offer=False)["subject"]["kind"] == "plain"
    assert mail(name=None, offer=None, hero=None)["subject"]["text"] == "New for you: something new"


def test_the_hero_is_not_in_the_grid_and_a_subject_is_short() -> None:
    assert mail()["blocks"]["product_grid"] == ["pot"]
    assert len(mail(hero={"item_id": "x", "title": "y" * 500})["subject"]["text"]) <= email.MAX_SUBJECT_LENGTH


# send time

NOW = datetime(2024, 5, 6, 9, 30, tzinfo=UTC)
HOURS = st.lists(st.floats(0, 100), min_size=24, max_size=24)


def when(**changes: Any) -> dict[str, Any]:
    nothing = [0.0] * 24
    inputs = {
        "allowed": True,
        "reason": None,
        "now": NOW.isoformat(),
        "timezone": "UTC",
        "quiet_from": 21,
        "quiet_until": 8,
        "sent": 0,
        "cap": 3,
        "cap_days": 7,
        "oldest_sent": None,
        "own": nothing,
        "segment": nothing,
        "everybody": nothing,
    }
    return send_time.decide(orjson.loads(orjson.dumps(inputs | changes)))


@given(
    HOURS,
    st.integers(0, 23),
    st.integers(0, 23),
    st.sampled_from(["UTC", "Europe/Lisbon", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - hypothesis draws naive ones
)
def test_quiet_hours_are_never_broken(
    own: list[float], quiet_from: int, quiet_until: int, zone: str, now: datetime
) -> None:
    found = when(
        own=own,
        quiet_from=quiet_from,
        quiet_until=quiet_until,
        timezone=zone,
        now=now.replace(tzinfo=UTC).isoformat(),
    )
    if found["send_at"] is not None:
        at = datetime.fromisoformat(found["send_at"])
        local = at.astimezone(ZoneInfo(zone))
        assert not send_time.is_quiet(local.hour, quiet_from, quiet_until)
        assert now.replace(tzinfo=UTC) <= at <= now.replace(tzinfo=UTC) + timedelta(days=1)


def test_own_hours_win_once_there_are_enough_of_them() -> None:
    everybody = [0.0] * 24
    everybody[10] = 10_000.0
    own = [0.0] * 24
    own[19] = 1.0
    assert when(everybody=everybody, own=own)["local_hour"] == 10
    own[19] = 60.0
    assert when(everybody=everybody, own=own)["local_hour"] == 19


def test_a_segment_stands_between_the_visitor_and_everybody() -> None:
    everybody, segment = [0.0] * 24, [0.0] * 24
    everybody[10], segment[16] = 10_000.0, 500.0
    assert when(everybody=everybody, segment=segment)["local_hour"] == 16


def test_above_the_cap_nothing_is_sent_before_a_message_has_left_the_window() -> None:
    oldest = NOW - timedelta(days=5)
    found = when(sent=3, oldest_sent=oldest.isoformat())
    assert (found["send"], found["reason"]) == (False, "cap_reached")
    assert datetime.fromisoformat(found["send_at"]) >= oldest + timedelta(days=7)


def test_without_consent_there_is_no_time() -> None:
    found = when(allowed=False, reason="no_consent_for_email")
    assert (found["send"], found["send_at"], found["reason"]) == (False, None, "no_consent_for_email")


def test_hours_are_local() -> None:
    at = int(datetime(2024, 7, 1, 12, tzinfo=UTC).timestamp() * 1e6)
    assert send_time.local_hours([at], "Europe/Lisbon")[13] == 1.0
