"""Why an item is recommended to a user, exactly: who proposed it, what of the history counts, what trees say.

- A source that multiplies a profile by an item-item matrix scores an item as a sum over the user's items; the
  summands are the reasons.
- ALS scores are such a sum too (Hu, Koren & Volinsky 2008, section 5): with W = (Yt C Y + reg I)^-1, the
  score of item i is the sum over the history's items j of c_j * (y_i^T W y_j).
- The ranker's margin is the sum of one contribution for each feature and a bias (TreeSHAP, Lundberg et al.
  2018, as XGBoost computes it), averaged over the boosters as the margins are.

Each sums up to what the model computes, so a share of a score means what it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xgboost
from scipy import sparse

from training.candidate_table import CandidateTable
from training.hybrid import HybridScorer
from training.ranker import Ranker
from training.sources.history import Single
from training.sources.latent import FactorScorer
from training.sources.linear import LinearScorer
from training.two_stage import Order, Scope, thin

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """One recommended item.

    `sources` gives the place in the list of each source that proposed the item; `history`, by source, what
    each item of the user's history (by id) adds to the source's score, largest first; `features` what each
    feature adds to the `margin` that orders the list, with `bias` beside them: features of the ranker, or
    sources where a blend or one of them orders. None and empty for what is a candidate and not ranked.
    """

    item_id: str
    sources: Mapping[str, int]
    history: Mapping[str, Mapping[str, float]]
    features: Mapping[str, float]
    bias: float
    margin: float | None


def explain(scorer: HybridScorer, user: int, items: npt.NDArray[np.int64], scope: Scope) -> list[Explanation]:
    """Explanations of those of `items` (positions) that are among the user's candidates, in their order."""
    if not len(items):
        return []
    plan = scorer.plan
    order = plan.orders[scope]
    table = scorer.fitted.sweep(np.array([user])).table
    if scope == "new" and not plan.exclude_taken:
        table = table.select(~table.taken)
    depth = scorer.fitted.config.depth
    ranks = {name: table.names.index(f"rank_{name}") for name in table.names[: table.source_count]}
    chosen = np.isin(table.item, items)
    names, ranked, contributions = order_contributions(order, table)
    contributed = np.full((len(table), len(names) + 1), np.nan)
    contributed[ranked] = contributions
    found = {}
    for row in np.flatnonzero(chosen):
        item, parts = int(table.item[row]), contributed[row]
        is_ranked = bool(np.isfinite(parts).all())
        found[item] = Explanation(
            scorer.interactions.items.ids[item],
            {
                name: int(table.features[row, column])
                for name, column in ranks.items()
                if table.features[row, column] <= depth
            },
            {
                source: _by_id(scorer, summands)
                for source, summands in history_contributions(scorer, user, item).items()
            },
            _largest_first(dict(zip(names, parts[:-1], strict=True))) if is_ranked else {},
            float(parts[-1]) if is_ranked else 0.0,
            float(parts.sum()) if is_ranked else None,
        )
    return [found[int(item)] for item in items if int(item) in found]


def order_contributions(
    order: Order, table: CandidateTable
) -> tuple[tuple[str, ...], npt.NDArray[np.int64], Floats]:
    """Names of what adds to the score that orders one user's candidates, the rows that have one, summands.

    One column for each name, and a last one for the bias.
    """
    if order.method == "ranker" and order.ranker is not None:
        thinned = thin(table, order.weights, order.kept)
        rows = np.searchsorted(table.item, thinned.item)
        return thinned.names, rows, ranker_contributions(order.ranker, thinned.features)
    weights = order.weights if order.method == "blend" else {order.single: 1.0}
    names = tuple(name for name in table.names[: table.source_count] if weights.get(name))
    columns = [weights[name] * table.features[:, table.names.index(name)] for name in names]
    return names, np.arange(len(table)), np.column_stack([*columns, np.zeros(len(table))])


def history_contributions(scorer: HybridScorer, user: int, item: int) -> dict[str, dict[int, float]]:
    """By source, what each item of the user's history adds to the source's score of `item`."""
    found = {}
    for source in (*scorer.fitted.scorers, *scorer.fitted.further):
        if isinstance(source, LinearScorer):
            found[source.name] = linear_contributions(source, user, item)
        elif isinstance(source, FactorScorer):
            row = source.config.weights(scorer.fitted.features.history)[user]
            found[source.name] = als_contributions(
                source.outputs, source.config.regularization, row.indices, row.data, item
            )
    return {name: summands for name, summands in found.items() if summands}


def linear_contributions(source: LinearScorer, user: int, item: int) -> dict[int, float]:
    """Summands of `profile @ left [@ right]`, times the item's weight."""
    profile = source.profile[user]
    left = source.left[profile.indices]
    column = left[:, [item]] if source.right is None else left @ source.right[:, [item]]
    values = np.asarray(column.todense() if sparse.issparse(column) else column, dtype=np.float64).ravel()
    weight = 1.0 if source.item_weights is None else float(source.item_weights[item])
    summands = profile.data * values * weight
    return {int(at): float(value) for at, value in zip(profile.indices, summands, strict=True) if value}


def als_contributions(
    vectors: Single, regularization: float, positions: npt.ArrayLike, confidences: npt.ArrayLike, item: int
) -> dict[int, float]:
    """Summands of the score of `item` for a history of items with confidences."""
    at, weight = np.asarray(positions), np.asarray(confidences, dtype=np.float64)
    all_items = vectors.astype(np.float64)
    own = all_items[at]
    normal = all_items.T @ all_items + (own.T * (weight - 1.0)) @ own
    normal[np.diag_indices_from(normal)] += regularization
    summands = weight * (own @ np.linalg.solve(normal, all_items[item]))
    return {int(place): float(value) for place, value in zip(at, summands, strict=True)}


def ranker_contributions(ranker: Ranker, features: Single) -> Floats:
    """One row for each candidate: a contribution for each feature, then the bias; rows sum to the margins."""
    data = xgboost.DMatrix(features)
    parts = [booster.predict(data, pred_contribs=True) for booster in ranker.boosters]
    return np.asarray(np.mean(parts, axis=0), dtype=np.float64)


def _by_id(scorer: HybridScorer, summands: Mapping[int, float]) -> dict[str, float]:
    ids = scorer.interactions.items.ids
    return _largest_first({ids[at]: value for at, value in summands.items()})


def _largest_first(values: Mapping[str, float]) -> dict[str, float]:
    ordered = sorted(values.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    return {name: float(value) for name, value in ordered}
