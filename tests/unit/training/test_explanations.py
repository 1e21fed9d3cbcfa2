"""Explanations add up: history to each source's score, features to the ranker's margin."""

import numpy as np
import pytest

from tests.unit.training.test_hybrid import ALS, shop
from tests.unit.training.test_updates import SOURCES, order
from training import collaborative
from training.candidate_table import CandidateTable
from training.explanations import explain, history_contributions, ranker_contributions
from training.hybrid import HybridScorer
from training.identifiers import UNKNOWN
from training.ranker import Ranker, RankerConfig, fit_ranker
from training.two_stage import Order, Plan, thin

USER = 7


def scorer_with(orders: dict[str, Order]) -> HybridScorer:
    plan = Plan(SOURCES, False, 0.5, 20, orders)  # type: ignore[arg-type]
    return HybridScorer(shop(), collaborative.fit(shop(), ALS, 1).factors, plan, 1)


@pytest.fixture(scope="module")
def scorer() -> HybridScorer:
    blend = order(SOURCES)
    plain = scorer_with({"all": blend, "new": blend})
    thinned = thin(plain.fitted.sweep(np.arange(60)).table, blend.weights, 20)
    ranked = Order("ranker", "als", blend.weights, 20, toy_ranker(thinned), {})
    return scorer_with({"all": ranked, "new": ranked})


def toy_ranker(table: CandidateTable) -> Ranker:
    return fit_ranker(table, table.item % 3 == 0, RankerConfig(rounds=5, min_child_weight=0.1), 0)


def test_what_the_history_adds_sums_to_each_source_s_score(scorer: HybridScorer) -> None:
    found = history_contributions(scorer, USER, 5)
    assert set(found) == {"graph_filter", "transitions", "ease", "als"}
    for source in scorer.fitted.scorers:
        if source.name in found:
            score = float(source.scores(np.array([USER]))[0, 5])
            assert sum(found[source.name].values()) == pytest.approx(score, rel=1e-3, abs=1e-5)


def test_only_what_the_user_did_is_a_reason(scorer: HybridScorer) -> None:
    taken = set(scorer.interactions.bought[USER].indices.tolist())
    found = history_contributions(scorer, USER, 5)
    assert all(set(summands) <= taken for summands in found.values())


def test_contributions_of_features_sum_to_the_margin(scorer: HybridScorer) -> None:
    blend = scorer.plan.orders["all"]
    assert blend.ranker is not None
    table = thin(scorer.fitted.sweep(np.array([USER])).table, blend.weights, blend.kept)
    total = ranker_contributions(blend.ranker, table.features).sum(axis=1)
    np.testing.assert_allclose(total, blend.ranker.score(table), atol=1e-4)


def test_a_recommended_item_names_its_sources_its_history_and_its_features(scorer: HybridScorer) -> None:
    table = scorer.fitted.sweep(np.array([USER])).table
    positions, margins = scorer.plan.rank(table, "all", 5)
    found = explain(scorer, USER, positions[0], "all")
    assert [one.item_id for one in found] == [scorer.interactions.items.ids[at] for at in positions[0]]
    assert [one.margin for one in found] == pytest.approx(margins[0].tolist(), abs=1e-4)
    first = found[0]
    assert first.margin == pytest.approx(sum(first.features.values()) + first.bias, abs=1e-4)
    assert min(first.sources.values()) >= 1
    listed = scorer.fitted.sweep(np.array([USER])).lists
    assert first.sources == {
        name: place + 1
        for name, items in listed.items()
        for place, item in enumerate(items[0])
        if item == positions[0, 0] != UNKNOWN
    }
    sizes = [abs(value) for value in first.history["als"].values()]
    assert sizes == sorted(sizes, reverse=True)


def test_what_is_no_candidate_has_no_explanation(scorer: HybridScorer) -> None:
    bought = scorer.interactions.bought[USER].indices[:1].astype(np.int64)
    assert explain(scorer, USER, bought, "new") == []


def test_where_a_blend_orders_its_sources_add_up_to_the_score() -> None:
    blend = order(SOURCES)
    plain = scorer_with({"all": blend, "new": blend})
    positions, scores = plain.plan.rank(plain.fitted.sweep(np.array([USER])).table, "all", 5)
    found = explain(plain, USER, positions[0], "all")
    assert [one.margin for one in found] == pytest.approx(scores[0].tolist(), abs=1e-4)
    assert all(set(one.features) <= set(blend.weights) or blend.method == "single" for one in found)
    assert all(one.bias == 0.0 for one in found)
