"""Segments found in made-up customers of two kinds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.clusters import (
    COLUMNS,
    find_clusters,
    moves,
    prediction_strength,
    read_clusters,
    write_clusters,
)
from training.errors import NotEnoughData


def customers(count: int = 200, seed: int = 0) -> pd.DataFrame:
    """Half are frequent, spend much and look for discounts; half are the opposite."""
    draw = np.random.default_rng(seed)
    kind = np.repeat([0.0, 1.0], count // 2)[:, None]
    values = np.expm1(0.5 + 2.0 * kind + draw.normal(0.0, 0.2, (count, len(COLUMNS))))
    return pd.DataFrame(values, columns=list(COLUMNS))


def test_two_kinds_of_customers_make_two_segments_named_by_their_difference() -> None:
    frame = customers()
    found = find_clusters(frame)
    labels = found.assign(frame)
    assert len(found.names) == len(set(found.names)) == 2
    assert found.strength > 0.95
    assert len(set(labels[:100])) == len(set(labels[100:])) == 1
    assert labels[0] != labels[100]


def test_more_segments_than_there_are_kinds_do_not_hold_together() -> None:
    points = np.vstack([np.random.default_rng(1).normal(each, 0.3, (100, 3)) for each in (0.0, 5.0)])
    assert prediction_strength(points, 2, 0) == 1.0
    assert prediction_strength(points, 5, 0) < 0.8


def test_segments_stay_while_they_describe_the_customers_and_are_found_anew_when_not() -> None:
    frame = customers()
    first = find_clusters(frame)
    assert find_clusters(customers(seed=5), before=first) is first
    other = frame.assign(mean_order_value=np.tile([1.0, 5000.0], 100), item_count=np.tile([0.0, 900.0], 100))
    assert find_clusters(other, before=first) is not first


def test_moves_count_the_customers_of_both_runs() -> None:
    before = pd.Series({"ann": "new", "bob": "new", "eve": "loyal"})
    after = pd.Series({"ann": "loyal", "bob": "new", "zoe": "new"})
    assert moves(before, after).to_dict("records") == [
        {"segment_before": "new", "segment": "loyal", "customers": 1},
        {"segment_before": "new", "segment": "new", "customers": 1},
    ]


def test_segments_written_and_read_assign_the_same(tmp_path: Path) -> None:
    frame, path = customers(), tmp_path / "clusters.json"
    assert read_clusters(path) is None
    found = find_clusters(frame)
    write_clusters(found, path)
    assert read_clusters(path) == found


def test_too_few_customers_are_named() -> None:
    with pytest.raises(NotEnoughData, match="to cluster: found 10, needed 50"):
        find_clusters(customers(10))
