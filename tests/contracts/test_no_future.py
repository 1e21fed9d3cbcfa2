"""Nothing after a cut-off can be seen: more events later change no past feature and no training frame.

From raw events through dbt, the publish and Feast, as in production: a shop with a history is built, then
events from an instant on are added for the same and for new customers, even as further lines of orders that
began before, and the affected days are rebuilt.
"""

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from feature_repo.layout import Home
from feature_repo.store import apply_definitions, open_store
from orchestration.marts import publish_marts
from tests.integration.landed import Event, Transforms, at, event, land, land_catalogue
from training.dataset import LABELS, SPEND_LAST_90D, customer_frame

pytestmark = pytest.mark.integration

START = at("2024-05-01 00:00")
CUTOFFS = [START + timedelta(days=number) for number in (12, 20)]
HORIZON_DAYS = 6
LABELS_END = CUTOFFS[-1] + timedelta(days=HORIZON_DAYS)
DAYS = 30
KINDS = ("product_view", "product_view", "add_to_cart", "purchase", "purchase", "return")


def happenings(seed: int, begin: datetime, end: datetime, count: int, users: int) -> list[Event]:
    """Random events in [begin, end); some orders run over several events, some past midnight."""
    draw = random.Random(seed)
    minutes = int((end - begin).total_seconds() // 60)
    events = []
    for number in range(count):
        kind = draw.choice(KINDS)
        line = {"quantity": float(draw.randrange(1, 4)), "price": draw.choice([1.1, 2.5, 9.99])}
        events.append(
            event(
                f"e{seed}-{number}",
                kind,
                (begin + timedelta(minutes=draw.randrange(minutes))).strftime("%Y-%m-%d %H:%M"),
                user_id=f"u{draw.randrange(users)}",
                item_id=f"i{draw.randrange(5)}",
                order_id=f"o{draw.randrange(60)}" if kind == "purchase" else None,
                **(line if kind in ("purchase", "return") else {}),
            )
        )
    return events


def days_of(events: Sequence[Event]) -> list[date]:
    return sorted({row["event_at"].date() for row in events})


def publish(transforms: Transforms, home: Home, events: Sequence[Event], changed: Sequence[date]) -> None:
    """Lands all these events and rebuilds the changed days (all of them in an empty home)."""
    first = not home.warehouse.exists()
    land(home, events)
    transforms.run(home, () if first else changed, full_refresh=first)
    publish_marts(home, changed, full=first)


def training_frame(home: Home) -> pd.DataFrame:
    store = open_store(home)
    apply_definitions(store)
    return customer_frame(store, home.current_marts, CUTOFFS, HORIZON_DAYS)


def past_rows(home: Home, mart: str, until: date) -> pd.DataFrame:
    frame = pd.concat(pd.read_parquet(path) for path in sorted(home.mart(mart).glob("*.parquet")))
    past = frame[pd.to_datetime(frame["event_date"]).dt.date < until]
    return past.sort_values(["event_date", past.columns[0]]).reset_index(drop=True)


@pytest.fixture(scope="module")
def transforms(tmp_path_factory: pytest.TempPathFactory) -> Transforms:
    return Transforms(tmp_path_factory.mktemp("transforms"))


@pytest.mark.parametrize("seed", [1, 2])
def test_future_events_never_change_past_features_or_a_training_frame(
    transforms: Transforms, tmp_path: Path, seed: int
) -> None:
    home = Home(tmp_path / "home")
    land_catalogue(home)
    end = START + timedelta(days=DAYS)
    known = happenings(seed, START, end, count=250, users=12)
    publish(transforms, home, known, days_of(known))
    before = training_frame(home)
    features_before = past_rows(home, "user_features", LABELS_END.date())
    assert set(before["cutoff"]) == {pd.Timestamp(each) for each in CUTOFFS}

    later = happenings(seed + 100, LABELS_END, end + timedelta(days=5), count=150, users=20)
    publish(transforms, home, [*known, *later], days_of(later))
    pd.testing.assert_frame_equal(training_frame(home), before)
    pd.testing.assert_frame_equal(past_rows(home, "user_features", LABELS_END.date()), features_before)

    sooner = happenings(seed + 200, CUTOFFS[-1], LABELS_END, count=150, users=20)
    publish(transforms, home, [*known, *later, *sooner], days_of(sooner))
    changed = training_frame(home)
    labels = [*LABELS]
    pd.testing.assert_frame_equal(changed.drop(columns=labels), before.drop(columns=labels))
    assert SPEND_LAST_90D in changed.drop(columns=labels)
    is_earlier = changed["cutoff"] == CUTOFFS[0]
    pd.testing.assert_frame_equal(changed.loc[is_earlier, labels], before.loc[is_earlier, labels])
    assert not changed.loc[~is_earlier, labels].equals(before.loc[~is_earlier, labels])
