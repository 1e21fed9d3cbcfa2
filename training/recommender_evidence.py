"""What the gate is shown of a recommender: its own files read back, beside the champion's."""

from datetime import date
from pathlib import Path

import numpy as np

from training import collaborative, evidence
from training.candidates import blend
from training.collaborative import CollaborativeScorer
from training.config import GateConfig
from training.evidence import Evidence, FoldFigure, Newcomers, Overlap
from training.hybrid import share_sources
from training.identifiers import Positions
from training.interactions import Interactions
from training.intervals import Estimate
from training.recommenders import Recommender, TrainingResult, load_recommender
from training.rolling import recommender_folds

SAMPLED_USERS = 300
TIMED_USERS = 200
NEWCOMER_BUCKET = "1"


def recommender_evidence(
    result: TrainingResult,
    recommender: Recommender,
    interactions: Interactions,
    mart_glob: str,
    first: date,
    horizon_days: int,
    files: Path,
    champion: Path | None,
    gate: GateConfig,
) -> Evidence:
    """Everything that is measured of the recommender that would be released, and of its recipe.

    `interactions` is all that it was fitted on, from the mart at `mart_glob`, whose first day is `first`.
    """
    seed = result.recipe.seed
    draw = np.random.default_rng(seed)
    count = min(SAMPLED_USERS, len(interactions.users))
    users = np.sort(draw.choice(len(interactions.users), count, replace=False)).astype(np.int64)
    read = load_recommender(files)
    scorer = recommender.scorer(interactions)
    theirs = None if champion is None else load_recommender(champion)
    other = None if theirs is None else share_sources(theirs.scorer(interactions), scorer)
    timed = users[:TIMED_USERS]
    return Evidence(
        answers=evidence.list_answers(scorer, users),
        readback=evidence.list_readback(scorer, share_sources(read.scorer(interactions), scorer), users),
        memory=evidence.memory(
            lambda told: CollaborativeScorer(told, read.factors, trend=False), interactions, users
        ),
        newcomers=_recommender_newcomers(result),
        folds=recommender_folds(
            mart_glob,
            first,
            result.report.cutoff.date(),
            horizon_days,
            gate.folds,
            result.recipe,
            None if theirs is None else theirs.recipe,
            _measured(result),
        ),
        overlap=(
            _seed_overlap(interactions, read, users)
            if other is None
            else evidence.list_overlap(scorer, other, users, "candidate and champion", False)
        ),
        size=evidence.size_cost(files, champion),
        seconds=evidence.scoring_cost(
            lambda: scorer.scores(timed),
            None if other is None else lambda: other.scores(timed),
            len(timed),
        ),
    )


def _seed_overlap(interactions: Interactions, recommender: Recommender, users: Positions) -> Overlap:
    """Of the blend's lists with vectors of another seed; trees are averaged over seeds as it is."""
    recipe = recommender.recipe
    again = collaborative.fit(interactions, recipe.als, recipe.seed + 1).factors
    one, other = (blend(interactions, factors, recipe.choice) for factors in (recommender.factors, again))
    return evidence.list_overlap(one, other, users, "two seeds of its vectors", True)


def _measured(result: TrainingResult) -> FoldFigure:
    report = result.report
    champion = report.champion
    theirs = None if champion is None else champion.metrics[report.primary].value
    gain = report.row("buy_again").differences.get(report.primary)
    return FoldFigure(report.cutoff, report.candidate.metrics[report.primary].value, theirs, gain)


def _recommender_newcomers(result: TrainingResult) -> Newcomers | None:
    """Users who had bought one product before the cut-off: against the champion, or the best baseline."""
    report = result.report
    rows = [report.champion] if report.champion else report.baselines
    found = {
        row.name: result.recall_by_activity[row.name][NEWCOMER_BUCKET]
        for row in rows
        if NEWCOMER_BUCKET in result.recall_by_activity.get(row.name, {})
    }
    mine = result.recall_by_activity[report.candidate.name].get(NEWCOMER_BUCKET)
    if mine is None or not found:
        return None
    best = max(found, key=lambda name: found[name].value)
    other = found[best].value
    difference = Estimate(mine.value - other, mine.low - other, mine.high - other)
    return Newcomers("one product bought before", report.primary, mine.value, other, best, difference)
