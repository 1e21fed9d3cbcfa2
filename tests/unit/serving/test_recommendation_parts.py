"""The parts of a recommendation where a whole one does not reach: weights, kept fold-ins, full memories."""

import asyncio
from typing import Any

import pytest

from serving.recommendations import fold_ins, stored
from serving.recommendations.ask import RecommendAsk, weights_of
from serving.recommendations.fold_ins import FoldIns
from serving.recommendations.knowledge import Known, has_list, standing
from serving.recommendations.stored import StoredAnswers
from serving.releases import serve_form
from serving.rules import BusinessRules, RuleBook
from tests.fakes import tiny_release

RELEASE = serve_form(tiny_release())
PERSONAL: dict[str, Any] = {"degraded": [], "personalized": True}


@pytest.mark.parametrize(
    ("asked", "experiment", "weights"),
    [
        ({"content": 1.0}, {"recommendations.algorithm": "hybrid"}, {"content": 1.0}),
        (None, {"recommendations.algorithm": "collaborative_filtering"}, {"collaborative": 1.0}),
        (
            None,
            {"recommendations.weights": {"content_based": 2, "hybrid": 1, "magic": 5, "collaborative": -1}},
            {"content": 2.0, "hybrid": 1.0},
        ),
        (None, {"recommendations.weights": {"content": 0}}, None),
        (None, {"recommendations.weights": "content"}, None),
        (None, {}, None),
    ],
)
def test_weights_are_those_of_the_request_then_those_of_an_experiment(
    asked: dict[str, float] | None, experiment: dict[str, Any], weights: dict[str, float] | None
) -> None:
    assert weights_of(RecommendAsk("anna", weights=asked), experiment) == weights


def test_a_history_is_folded_in_once_and_a_large_model_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newcomer = Known(recent={"recent_items": ["cup", "no-such-item"]})
    kept = FoldIns()
    first = asyncio.run(kept.find(newcomer, RELEASE))
    assert first is not None and first[0][1] == 1.0
    assert asyncio.run(kept.find(newcomer, RELEASE)) is first
    monkeypatch.setattr(fold_ins, "INLINE_FOLD_IN_CELLS", 0)
    assert asyncio.run(FoldIns().find(newcomer, RELEASE)) == first


def test_only_histories_of_known_items_without_a_stored_list_are_folded_in() -> None:
    for known in (
        Known(),
        Known(recent={"recent_items": ["no-such-item"]}),
        Known(recent={"recent_items": ["cup"]}, row={"item_ids": ["mug"]}),
    ):
        assert asyncio.run(FoldIns().find(known, RELEASE)) is None


def test_the_oldest_answers_leave_a_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "KEPT_STORED", 2)
    answers = StoredAnswers(60.0, BusinessRules(), None)
    asks = {visitor: RecommendAsk(visitor) for visitor in ("anna", "bert", "carl")}
    for ask in asks.values():
        answers.keep(ask, PERSONAL, RELEASE)
    found = {visitor: asyncio.run(answers.find(visitor, ask, RELEASE)) for visitor, ask in asks.items()}
    assert found == {"anna": None, "bert": PERSONAL | {"stored": True}, "carl": PERSONAL | {"stored": True}}


def test_only_personal_answers_that_miss_nothing_are_stored() -> None:
    answers = StoredAnswers(60.0, BusinessRules(), None)
    ask = RecommendAsk("anna")
    for answer in (PERSONAL | {"personalized": False}, PERSONAL | {"degraded": ["online_store_timeout"]}):
        answers.keep(ask, answer, RELEASE)
        assert asyncio.run(answers.find("anna", ask, RELEASE)) is None


def test_beside_other_workers_memory_is_not_believed() -> None:
    answers, ask = StoredAnswers(60.0, BusinessRules(), None, shares_store=True), RecommendAsk("anna")
    answers.keep(ask, PERSONAL, RELEASE)
    assert asyncio.run(answers.find("anna", ask, RELEASE)) is None


def test_an_answer_of_other_rules_is_not_given_again() -> None:
    rules = BusinessRules()
    answers, ask = StoredAnswers(60.0, rules, None), RecommendAsk("anna")
    answers.keep(ask, PERSONAL, RELEASE)
    rules.use(RuleBook(rules.book.version + 1, "api", rules.book.rules))
    assert asyncio.run(answers.find("anna", ask, RELEASE)) is None
    answers.keep(ask, PERSONAL, RELEASE)
    assert asyncio.run(answers.find("anna", ask, RELEASE)) == PERSONAL | {"stored": True}


def test_a_list_of_a_withdrawn_release_is_not_there_and_what_was_bought_still_is() -> None:
    row = {"release_id": "bad", "item_ids": ["cup"], "scores": [1.0], "algorithms": ["x"], "seen": ["mug"]}
    found = standing(row, frozenset({"bad"}))
    assert not has_list(found)
    assert found is not None and found["seen"] == ["mug"]
    assert standing(row, frozenset({"other"})) is row
    assert standing(None, frozenset({"bad"})) is None
