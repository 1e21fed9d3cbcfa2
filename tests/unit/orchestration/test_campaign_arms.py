"""Arms of campaigns from contacts: sums by day, campaign and arm, with revenue counted by response days."""

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from feature_repo.layout import Home
from orchestration.campaign_arms import RESPONSE_DAYS, added_up, campaign_arms, response_countings
from training.response_days import Counting, evenly

PROJECT = Path(__file__).parents[3] / "transforms" / "dbt_project.yml"


def contact(arm: str, user: str, revenue: tuple[float, ...], visits: tuple[int, ...]) -> dict[str, object]:
    row: dict[str, object] = {
        "event_date": date(2026, 5, 1),
        "campaign_id": "spring",
        "channel": "email",
        "arm": arm,
        "user_id": user,
        "order_count": int(sum(revenue) > 0),
        "revenue": sum(revenue),
        "prior_spend": 2.0,
    }
    row |= {f"revenue_from_day_{day}": value for day, value in zip(RESPONSE_DAYS, revenue, strict=True)}
    return row | {f"visits_from_day_{day}": value for day, value in zip(RESPONSE_DAYS, visits, strict=True)}


def publish(home: Home, rows: list[dict[str, object]]) -> None:
    path = home.mart("campaign_contacts") / "2026-05-01.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


NOTHING = (0.0, 0.0, 0.0, 0.0)
NEVER = (0, 0, 0, 0)
FEW = [
    contact("treated", "a", (5.0, 0.0, 0.0, 3.0), (1, 0, 0, 1)),
    contact("treated", "b", NOTHING, NEVER),
    contact("held_out", "c", (0.0, 0.0, 4.0, 0.0), (0, 0, 1, 0)),
    contact("held_out", "d", NOTHING, (0, 0, 0, 2)),
]


def test_too_few_visits_count_every_order_alike(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home, FEW)
    assert response_countings(home)["email"].orders == pytest.approx(evenly(4).orders)
    arms = added_up(campaign_arms(home))
    assert (arms["treated"].users, arms["treated"].revenue, arms["treated"].revenue_squared) == (2, 8.0, 64.0)
    assert (arms["held_out"].revenue, arms["held_out"].prior, arms["held_out"].prior_by_revenue) == (
        4.0, 4.0, 8.0
    )  # fmt: skip


def test_orders_and_visits_count_as_their_channel_says(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home, FEW)
    counting = Counting(np.array([2.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.5, 0.25]))
    rows = campaign_arms(home, {"email": counting}).set_index("arm")
    assert rows.loc["treated", "revenue"] == pytest.approx(2 * 5.0 + 0.25)
    assert rows.loc["held_out", "revenue"] == pytest.approx(0.5 + 2 * 0.25)
    assert rows["buyer_count"].to_dict() == {"treated": 1, "held_out": 1}
    assert campaign_arms(home, {"push": counting}).empty


def test_many_visits_right_after_a_message_tell_when_it_acts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    came, stayed = (1, 0, 0, 0), (0, 0, 0, 1)
    rows = [
        contact("treated", f"t{number}", (3.0 * (number % 2), 0.0, 0.0, 0.0), came) for number in range(99)
    ]
    rows += [contact("treated", "t", (0.0, 0.0, 0.0, 80.0), stayed)]
    rows += [
        contact("held_out", f"h{number}", NOTHING, stayed if number % 2 else NEVER) for number in range(60)
    ]
    publish(home, rows)
    orders = response_countings(home)["email"].orders
    assert orders[0] > 0.3
    assert abs(orders[3]) < 0.05


def test_a_shop_without_campaigns_has_no_arms(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = home.mart("campaign_contacts") / "empty.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(FEW).slice(0, 0), path)
    assert campaign_arms(home).empty
    assert response_countings(home) == {}


def test_the_stretches_are_those_of_the_transforms() -> None:
    assert tuple(yaml.safe_load(PROJECT.read_text())["vars"]["campaign_response_days"]) == RESPONSE_DAYS
