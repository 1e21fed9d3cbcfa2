"""The live row: a function of the set of a visitor's events, never of their order of arrival."""

import math
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo import live
from feature_repo.events import EVENT_TYPES, SHOP_ACTS
from feature_repo.live import DAY, SECOND, Act, LiveHistory, LiveUser, Window, act_of, derive, significance

SINCE = 20_000 * DAY
WINDOW = Window(since=SINCE, landed_at=SINCE + 3 * DAY)
CATEGORIES: dict[str | None, str | None] = {
    "mug": "kitchen",
    "cup": "kitchen",
    "lamp": "light",
    "rug": "floor",
}


@dataclass(frozen=True)
class Event:
    """An event as the log has it."""

    event_type: str
    event_at: int
    item_id: str | None = None
    event_id: str = ""
    sequence: int = 1
    received_at: int = 0
    fields: dict[str, Any] = field(default_factory=dict)


def act(event_type: str, seconds: float, item: str | None = None, **fields: Any) -> Act:
    """An act this many seconds after the batch, received at once."""
    at = SINCE + int(seconds * SECOND)
    identity = f"{event_type}-{seconds}-{item}-{sorted(fields.items())}"
    return act_of(Event(event_type, at, item, identity, int(seconds) + 1, at, fields))


def row_of(*acts: Act) -> LiveUser:
    row = derive(acts, WINDOW, CATEGORIES.get)
    assert row is not None
    return row


def judged(*acts: Act) -> float:
    """Significance of the last of these acts."""
    return significance(acts[-1], acts[:-1], CATEGORIES.get)


acts = st.lists(
    st.builds(
        act,
        st.sampled_from(sorted(EVENT_TYPES)),
        st.integers(-100_000, 400_000).map(lambda tenth: tenth / 10),
        st.sampled_from([None, "mug", "cup", "lamp", "rug", "unheard of"]),
        query=st.sampled_from([None, "red mug", "lamp"]),
        session_id=st.sampled_from([None, "s1", "s2"]),
        context=st.sampled_from([{}, {"category": "garden"}, {"scroll_depth": 70, "session_duration": 450}]),
    ),
    max_size=40,
    unique_by=lambda each: each.event_id,
)


@given(acts, st.randoms(use_true_random=False), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_any_split_and_order_of_arrival_gives_the_row_of_one_pass(
    given_acts: list[Act], chance: random.Random, parts: int
) -> None:
    arrived = given_acts + given_acts[:5]
    chance.shuffle(arrived)
    histories = [LiveHistory() for _ in range(parts)]
    for each in arrived:
        chance.choice(histories).add(each, WINDOW)
    whole = LiveHistory()
    for history in histories:
        whole.merge(history, WINDOW)
    assert whole.derive(WINDOW, CATEGORIES.get) == derive(given_acts, WINDOW, CATEGORIES.get)


@given(acts)
@settings(max_examples=100, deadline=None)
def test_scores_stay_between_nought_and_one(given_acts: list[Act]) -> None:
    row = derive(given_acts, WINDOW, CATEGORIES.get)
    if row is not None:
        assert 0 <= row.significance <= 1
        did_something = any(WINDOW.holds(each) and each.event_type not in SHOP_ACTS for each in given_acts)
        assert (row.engagement_score > 0) == did_something
        assert row.engagement_score <= 1


@given(acts)
@settings(max_examples=100, deadline=None)
def test_what_changes_what_is_shown_is_what_is_significant(given_acts: list[Act]) -> None:
    history = LiveHistory()
    for each in given_acts:
        history.add(each, WINDOW)
    for each in history.acts.values():
        earlier = sorted(other for other in history.acts.values() if other < each)
        expected = significance(each, earlier, CATEGORIES.get) > live.SIGNIFICANT
        assert history.is_significant(each, CATEGORIES.get) == expected


@given(acts, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_what_is_significant_is_so_in_any_order_of_arrival(
    given_acts: list[Act], chance: random.Random
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "COMPARED_ACTS", 3)  # so that the history is longer than what is kept in order
        history = LiveHistory()
        arrived = sorted(
            given_acts, key=lambda each: each.event_at + chance.choice([0, 0, 0, 10_000 * SECOND])
        )
        for each in arrived:
            if history.add(each, WINDOW):
                earlier = sorted(other for other in history.acts.values() if other < each)
                expected = significance(each, earlier, CATEGORIES.get) > live.SIGNIFICANT
                assert history.is_significant(each, CATEGORIES.get) == expected


def test_a_visitor_with_more_acts_than_are_kept_has_the_row_of_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "KEPT_ACTS", 6)
    many = [act("product_view", 10 * number, "mug") for number in range(40)]
    shuffled = random.Random(7).sample(many, len(many))
    history = LiveHistory()
    for each in shuffled:
        history.add(each, WINDOW)
    row = history.derive(WINDOW, CATEGORIES.get)
    assert row == derive(many, WINDOW, CATEGORIES.get)
    assert row is not None and row.counts == {"product_view": 40}
    assert len(row.recent) == 6 and len(history.acts) <= 12


def test_recent_items_come_latest_first_with_type_and_instant() -> None:
    row = row_of(act("add_to_cart", 20, "lamp"), act("product_view", 10, "mug"), act("page_view", 30))
    assert row.recent == (
        ("lamp", "add_to_cart", SINCE + 20 * SECOND),
        ("mug", "product_view", SINCE + 10 * SECOND),
    )
    assert row.categories == ("light", "kitchen")
    assert row.last_event_at == SINCE + 30 * SECOND


def test_fifty_items_are_recent_at_most() -> None:
    row = row_of(*(act("product_view", number, f"item {number}") for number in range(70)))
    assert [item for item, _, _ in row.recent] == [f"item {number}" for number in range(69, 19, -1)]


def test_a_session_ends_after_half_an_hour_without_an_act() -> None:
    row = row_of(
        act("page_view", 0), act("page_view", 1800), act("page_view", 3600.5), act("page_view", 3700)
    )
    assert row.session_event_count == 2
    assert row.session_started_at == SINCE + int(3600.5 * SECOND)
    assert row_of(act("page_view", 0), act("page_view", 1800)).session_event_count == 2


def test_a_late_act_joins_two_sessions() -> None:
    apart = (act("page_view", 0), act("page_view", 3000))
    assert row_of(*apart).session_event_count == 1
    assert row_of(*apart, act("page_view", 1500)).session_event_count == 3


def test_a_session_is_named_by_its_acts_or_by_its_start() -> None:
    named = row_of(act("page_view", 0, session_id="old"), act("page_view", 5, session_id="s7"))
    assert named.session_id == "s7"
    first, second = act("page_view", 0), act("page_view", 5)
    assert row_of(first).session_id == row_of(first, second).session_id != row_of(second).session_id


def test_what_the_shop_sends_is_no_act_of_the_visitor() -> None:
    row = row_of(act("product_view", 0, "mug"), act("email_sent", 500, "lamp"))
    assert row.session_event_count == 1
    assert [item for item, _, _ in row.recent] == ["mug"]
    assert row.last_event_at == SINCE
    assert row.counts == {"email_sent": 1, "product_view": 1}


def test_only_the_shop_spoke_so_there_is_no_session_and_no_engagement() -> None:
    row = row_of(act("email_sent", 5))
    assert (row.session_id, row.session_event_count, row.engagement_score) == (None, 0, 0.0)


def test_counts_are_of_what_the_batch_cannot_know() -> None:
    yesterday = act("product_view", -3600, "mug")
    late = act("purchase", -90 * 86_400, "cup")._replace(received_at=WINDOW.landed_at)
    known = act("purchase", -90 * 86_400, "rug")
    row = row_of(yesterday, late, known, act("click", 3))
    assert row.counts == {"click": 1, "purchase": 1}, "late counts, yesterday is in the batch"
    assert [item for item, _, _ in row.recent] == ["mug", "cup"], "the day before the batch's end is kept"
    assert row.counts_since == SINCE


def test_nothing_in_the_window_is_no_row() -> None:
    assert derive([], WINDOW, CATEGORIES.get) is None
    assert derive([act("page_view", -200_000)], WINDOW, CATEGORIES.get) is None


def test_the_catalogue_names_categories_and_the_event_where_it_does_not() -> None:
    unknown = act("product_view", 2, "novelty", context={"category": "garden"})
    mistaken = act("product_view", 1, "mug", context={"category": "wrong"})
    assert row_of(mistaken, unknown).categories == ("garden", "kitchen")


def test_searches_are_listed_once_latest_first() -> None:
    row = row_of(act("search", 1, query="mug"), act("search", 2, query="lamp"), act("search", 3, query="mug"))
    assert row.searches == ("mug", "lamp")


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (act("purchase", 9, "mug"), 1.0),
        (act("add_to_cart", 9, "mug"), 0.9),
        (act("search", 9, query="pans", context={"category": "cooking"}), 0.85),
        (act("search", 9, query="blue mug", context={"category": "kitchen"}), 0.6),
        (act("search", 9, query="red mug", context={"category": "kitchen"}), 0.3),
        (act("behavior_detected", 9, context={"significance_score": 0.83}), 0.83),
        (act("behavior_detected", 9, context={"significance_score": "much"}), 0.0),
        (act("email_sent", 9), 0.0),
    ],
)
def test_acts_of_declared_significance(last: Act, expected: float) -> None:
    before = act("search", 0, query="red mug", context={"category": "kitchen"})
    assert judged(before, last) == expected


def test_a_view_in_a_category_never_touched_is_significant_for_a_settled_visitor() -> None:
    settled = [act("product_view", number, "mug") for number in range(20)]
    assert judged(*settled, act("product_view", 30, "lamp")) > live.SIGNIFICANT
    assert judged(*settled, act("product_view", 30, "cup")) < 0.41
    assert judged(*settled[:2], act("product_view", 30, "lamp")) < live.SIGNIFICANT, "little is known yet"
    assert judged(act("product_view", 0, "mug")) == 0.4


def test_engagement_grows_with_every_kind_of_involvement() -> None:
    one = row_of(act("product_view", 0, "mug")).engagement_score
    clicked = row_of(act("click", 0, "mug")).engagement_score
    longer = row_of(act("product_view", 0, "mug"), act("product_view", 600, "mug")).engagement_score
    deeper = row_of(act("product_view", 0, "mug"), act("product_view", 600, "lamp")).engagement_score
    assert 0 < one < clicked < longer < deeper < 1


def test_engagement_is_the_documented_formula() -> None:
    row = row_of(act("product_view", 0, "mug"), act("purchase", 450, "mug"))
    points = 6 + 2 ** (-450 / (7 * 86_400))
    expected = 0.6 * (1 - 2 ** (-points / 20)) + 0.2 * 0.5 + 0.2 * (1 - 2 ** (-1 / 5))
    assert math.isclose(row.engagement_score, expected, abs_tol=1e-6)


def test_reported_depth_and_duration_count() -> None:
    plain = row_of(act("page_view", 0)).engagement_score
    for context in (
        {"session_duration": 450},
        {"interaction_depth": "high"},
        {"pages_viewed": 5},
        {"scroll_depth": 0.8},
    ):
        assert row_of(act("page_view", 0, context=context)).engagement_score > plain + 0.09
    for nonsense in ({"session_duration": float("inf")}, {"scroll_depth": True}, {"pages_viewed": -3}):
        assert row_of(act("page_view", 0, context=nonsense)).engagement_score == plain
