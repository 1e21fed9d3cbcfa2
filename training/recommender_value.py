"""What a recommender would have earned on the shop's own recommendation log."""

from datetime import date, timedelta
from pathlib import Path

from training.interactions import Interactions
from training.logged_decisions import (
    HORIZON_DAYS,
    LoggedValues,
    Reward,
    explored_places,
    judge_lists,
    read_impressions,
)
from training.recommenders import Recipe, fit_recommender
from training.top_items import Scorer, recommend


def logged_values(
    events: Path, mart_glob: str, recipe: Recipe, cutoff: date, until: date, reward: Reward = "clicked"
) -> LoggedValues | None:
    """A recipe, fitted on everything before `cutoff`, judged by what was shown from then on.

    `events` is the folder of landed days, `until` the last of them. None where nothing was explored in that
    time, or only for people whom the model does not know; a log that is merely thin gives results that
    abstain.
    """
    rows = explored_places(read_impressions(events, cutoff, until + timedelta(days=1 - HORIZON_DAYS)))
    if rows.empty:
        return None
    interactions, recommender = fit_recommender(mart_glob, cutoff, recipe)
    people = sorted({user for user in rows["user_id"] if user in interactions.users})
    if not people:
        return None
    lists = ranked_lists(recommender.scorer(interactions), interactions, people, int(rows["place"].max()))
    return judge_lists(rows, lists, reward)


def ranked_lists(
    scorer: Scorer, interactions: Interactions, people: list[str], depth: int
) -> dict[str, list[str]]:
    """The first `depth` items of each of these users, best first."""
    top = recommend(scorer, interactions.users.positions(people), depth)
    lengths = top.lengths()
    return {
        user: interactions.items.external(row[:length])
        for user, row, length in zip(people, top.positions, lengths, strict=True)
    }
