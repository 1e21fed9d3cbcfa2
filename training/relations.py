"""Relations between items, computed once per release: similar, complementary, rising, by value segment.

- **Similar by behaviour**: cosine of the item factors, for items that have some.
- **Similar by attributes**, for the others: within their category, 0.7 x cosine of TF-IDF over title, brand
  and description + 0.3 x nearness in price (`2 ** -|log2 of the ratio|`).
- **Complementary**: pairs of the mart `item_pairs` bought together more often than by chance, scored
  `pairs / (orders of the item + shrinkage) x (1 - 1 / lift)`.
- **Rising**: visitors of the last days over those of the days before, both with a prior, above 1.
- **By segment**: buyers among the customers whom the last predictions before this instant put in a segment.

Everything is done in blocks of rows, so that a hundred thousand items need no matrix of items by items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from training.factors import ItemFactors
from training.interactions import Interactions
from training.item_relations import BY_ATTRIBUTES, BY_BEHAVIOUR, WIDTH, Floats, Ints, Relations
from training.item_texts import TEXT_COLUMNS, item_texts
from training.rankings import RankedList
from training.top_items import BLOCK_CELLS, top_items

ITEM_COLUMNS = ("item_id", "category", "price", *TEXT_COLUMNS)


@dataclass(frozen=True)
class RelationsConfig:
    """How relations are computed.

    `recent_days` against the `base_days` before decide what rises, each with `trend_prior` visitors more;
    an item needs `trend_floor` recent visitors. `shrinkage` is the number of orders that a complementary
    pair's share is damped by. `terms` bounds the vocabulary of the texts.
    """

    recent_days: int = 7
    base_days: int = 28
    trend_prior: float = 5.0
    trend_floor: int = 3
    shrinkage: float = 5.0
    min_similarity: float = 0.05
    terms: int = 1000
    trending_length: int = 100
    category_length: int = 50
    segment_length: int = 100


def relate_items(
    items: pa.Table,
    factors: ItemFactors,
    interactions: Interactions,
    pairs_glob: str,
    predictions: Path,
    as_of: datetime,
    config: RelationsConfig | None = None,
) -> Relations:
    """The relations between the rows of `items` (the columns of `ITEM_COLUMNS`), in their order."""
    config = config or RelationsConfig()
    ids: list[str] = items["item_id"].to_pylist()
    position = {item_id: number for number, item_id in enumerate(ids)}
    categories: list[str | None] = items["category"].to_pylist()
    similar, similar_scores, similar_by = similar_items(items, factors, position, config)
    pairs = complementary_items(pairs_glob, position, config)
    growth = trend_growth(interactions, config)
    return Relations(
        similar,
        similar_scores,
        similar_by,
        *pairs,
        trending=_ranked(interactions, growth, config.trending_length),
        trending_by_category=_by_category(interactions, growth, position, categories, config),
        by_segment=segment_lists(interactions, read_segments(predictions, as_of), config.segment_length),
    )


def similar_items(
    items: pa.Table, factors: ItemFactors, position: Mapping[str, int], config: RelationsConfig
) -> tuple[Ints, Floats, npt.NDArray[np.int8]]:
    """Positions, scores and the kind of each similarity."""
    count = items.num_rows
    similar = np.full((count, WIDTH), -1, dtype=np.int32)
    scores = np.zeros((count, WIDTH), dtype=np.float32)
    kinds = np.zeros((count, WIDTH), dtype=np.int8)
    rows = np.fromiter((position.get(item, -1) for item in factors.item_ids), np.int64, len(factors.item_ids))
    norms = np.linalg.norm(factors.vectors, axis=1) if len(rows) else np.zeros(0)
    usable = np.flatnonzero((rows >= 0) & (norms > 0))
    if len(usable) > 1:
        vectors = factors.vectors[usable] / norms[usable, None]
        for start, stop in _blocks(len(usable), len(usable)):
            block = vectors[start:stop] @ vectors.T
            block[np.arange(stop - start), np.arange(start, stop)] = -np.inf
            block[block < config.min_similarity] = -np.inf
            best = top_items(block.astype(np.float32), WIDTH)
            own = rows[usable[start:stop]]
            width = best.positions.shape[1]
            found = best.positions >= 0
            similar[own, :width] = np.where(found, rows[usable[best.positions]], -1)
            scores[own, :width] = np.where(found, np.minimum(best.scores, 1.0), 0.0)
            kinds[own, :width] = np.where(found, BY_BEHAVIOUR, 0)
    lonely = np.flatnonzero(similar[:, 0] < 0)
    if len(lonely):
        by_attributes(items, lonely, config, similar, scores, kinds)
    return similar, scores, kinds


def by_attributes(
    items: pa.Table,
    wanted: npt.NDArray[np.int64],
    config: RelationsConfig,
    similar: Ints,
    scores: Floats,
    kinds: npt.NDArray[np.int8],
) -> None:
    """Fill the rows of `wanted` items by text and price, within each category."""
    texts = item_texts(items)
    if not any(texts):
        return
    words = TfidfVectorizer(max_features=config.terms, dtype=np.float32, token_pattern=r"(?u)\b\w+\b")
    try:
        terms = words.fit_transform(texts)
    except ValueError:  # no text has a word
        return
    prices = items["price"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    log_prices = np.log2(np.where(prices > 0, prices, np.nan))
    names = np.array([name or "" for name in items["category"].to_pylist()], dtype=object)
    for name in sorted(set(names[wanted])):
        members = np.flatnonzero(names == name)
        own = wanted[names[wanted] == name]
        if len(members) < 2:
            continue
        others = terms[members].T.tocsc()
        for start, stop in _blocks(len(own), len(members)):
            rows = own[start:stop]
            text = (terms[rows] @ others).toarray()
            gaps = np.abs(log_prices[rows][:, None] - log_prices[members][None, :])
            near = np.nan_to_num(np.exp2(-gaps), nan=0.0).astype(np.float32)
            block = np.where(text > 0, 0.7 * text + 0.3 * near, -np.inf).astype(np.float32)
            block[members[None, :] == rows[:, None]] = -np.inf
            best = top_items(block, WIDTH)
            width = best.positions.shape[1]
            found = best.positions >= 0
            similar[rows, :width] = np.where(found, members[best.positions], -1)
            scores[rows, :width] = np.where(found, np.minimum(best.scores, 1.0), 0.0)
            kinds[rows, :width] = np.where(found, BY_ATTRIBUTES, 0)


def complementary_items(
    pairs_glob: str, position: Mapping[str, int], config: RelationsConfig
) -> tuple[Ints, Floats, Floats, Floats]:
    """Positions, scores, lift and support of what is bought together more often than by chance."""
    empty = np.zeros((len(position), WIDTH), dtype=np.float32)
    table = np.full((len(position), WIDTH), -1, dtype=np.int32)
    scores, lifts, supports = empty, empty.copy(), empty.copy()
    pairs = read_pairs(pairs_glob, config.shrinkage)
    item = np.fromiter((position.get(each, -1) for each in pairs["item_id"].to_pylist()), np.int64)
    other = np.fromiter((position.get(each, -1) for each in pairs["other_item_id"].to_pylist()), np.int64)
    known = np.flatnonzero((item >= 0) & (other >= 0))
    item, other = item[known], other[known]
    # Rows come item by item, best first: the place is the distance from the item's first row.
    is_first = np.r_[True, item[1:] != item[:-1]][: len(item)]
    place = np.arange(len(item)) - np.maximum.accumulate(np.where(is_first, np.arange(len(item)), 0))
    near = place < WIDTH
    known, item, other, place = known[near], item[near], other[near], place[near]
    table[item, place] = other
    for target, column in ((scores, "score"), (lifts, "lift"), (supports, "support")):
        target[item, place] = pairs[column].to_numpy()[known]
    return table, scores, lifts, supports


def read_pairs(pairs_glob: str, shrinkage: float) -> pa.Table:
    """Bought pairs with a lift above 1, item by item, each item's best first."""
    pattern = Path(pairs_glob)
    files = [str(path) for path in sorted(pattern.parent.glob(pattern.name))]
    query = """
        select item_id, other_item_id, lift, support,
               pair_count / (item_count + $shrinkage) * (1 - 1 / lift) as score
        from read_parquet($files) where relation = 'bought' and lift > 1
        order by item_id, score desc, other_item_id
    """
    if not files:
        names = {"item_id": pa.string(), "other_item_id": pa.string()}
        names |= {name: pa.float64() for name in ("score", "lift", "support")}
        return pa.schema(names).empty_table()
    with duckdb.connect(config={"threads": 2}) as connection:
        return connection.execute(query, {"files": files, "shrinkage": shrinkage}).to_arrow_table()


def trend_growth(interactions: Interactions, config: RelationsConfig) -> npt.NDArray[np.float64]:
    """Growth of each item's daily visitors; 0 where too few came lately to say."""
    recent = _visitors(interactions, 0, config.recent_days)
    before = _visitors(interactions, config.recent_days, config.recent_days + config.base_days)
    expected = before * config.recent_days / config.base_days
    growth = (recent + config.trend_prior) / (expected + config.trend_prior)
    return np.where((recent >= config.trend_floor) & (growth > 1.0), growth, 0.0)


def segment_lists(
    interactions: Interactions, segments: Mapping[str, str], length: int
) -> dict[str, RankedList]:
    """What the customers of each segment bought, by number of buyers."""
    codes = {name: number for number, name in enumerate(sorted(set(segments.values())))}
    members = [
        (row, codes[segments[user]]) for row, user in enumerate(interactions.users.ids) if user in segments
    ]
    if not members:
        return {}
    rows, columns = (np.array(each) for each in zip(*members, strict=True))
    shape = (len(codes), len(interactions.users))
    counts = sparse.csr_matrix((np.ones(len(rows)), (columns, rows)), shape=shape) @ interactions.bought
    found = {
        name: _ranked(interactions, counts[code].toarray().ravel(), length) for name, code in codes.items()
    }
    return {name: ranked for name, ranked in found.items() if len(ranked)}


def read_segments(predictions: Path, as_of: datetime) -> dict[str, str]:
    """Customer -> value segment, from the last predictions of an instant before `as_of`; {} without any.

    Those of `as_of` itself are made with the release, after this.
    """
    files = sorted(path for path in predictions.glob("*.parquet") if path.stem < f"{as_of:%Y-%m-%d}")
    if not files:
        return {}
    table = pq.read_table(files[-1], columns=["user_id", "value_segment"]).drop_null()
    return dict(zip(table["user_id"].to_pylist(), table["value_segment"].to_pylist(), strict=True))


def _visitors(interactions: Interactions, first: int, end: int) -> npt.NDArray[np.float64]:
    """Visitor-days of each item with an age of `first` up to before `end` days."""
    chosen = (interactions.age_days >= first) & (interactions.age_days < end)
    return np.bincount(interactions.item[chosen], minlength=len(interactions.items)).astype(np.float64)


def _by_category(
    interactions: Interactions,
    growth: npt.NDArray[np.float64],
    position: Mapping[str, int],
    categories: Sequence[str | None],
    config: RelationsConfig,
) -> dict[str, RankedList]:
    names = np.array(
        [categories[position[item]] or "" if item in position else "" for item in interactions.items.ids],
        dtype=object,
    )
    found = {
        str(name): _ranked(interactions, np.where(names == name, growth, 0.0), config.category_length)
        for name in sorted(set(names) - {""})
    }
    return {name: ranked for name, ranked in found.items() if len(ranked)}


def _ranked(interactions: Interactions, values: npt.NDArray[np.float64], length: int) -> RankedList:
    order = np.argsort(-values, kind="stable")[:length]
    order = order[values[order] > 0]
    return RankedList(
        tuple(interactions.items.external(order)), tuple(round(float(each), 6) for each in values[order])
    )


def _blocks(rows: int, columns: int) -> list[tuple[int, int]]:
    size = max(1, BLOCK_CELLS // max(1, columns))
    return [(start, min(rows, start + size)) for start in range(0, rows, size)]
