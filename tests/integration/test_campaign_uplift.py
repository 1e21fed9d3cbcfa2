"""From contacts of campaigns that held customers out to whom the next plan writes to."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.erasure import Erased, subject_hash
from feature_repo.layout import Home
from feature_repo.store import apply_definitions
from orchestration.campaign_uplift import learn, learn_uplift
from orchestration.data import Data
from orchestration.landed import landed_days
from orchestration.marts import publish_marts
from orchestration.parquet_files import write_atomically
from orchestration.resources import Features
from orchestration.settings import read_settings
from serving.campaigns.definitions import Campaign
from serving.campaigns.planning import ranked, read_profits
from tests.integration.landed import Event, Transforms, event, land, land_catalogue

pytestmark = pytest.mark.integration

USERS = 1_600
ERASED = "u0001"
MARGIN_SHARE = 0.3


def purchase(user: str, when: str, price: float) -> Event:
    line = {"item_id": "i1", "order_id": f"{user} {when}", "quantity": 1.0, "price": price}
    return event(f"o-{user}-{when}", "purchase", when, user_id=user, **line)


def shop() -> Iterator[Event]:
    """Every other customer is held out of three campaigns; treated ones with large orders buy again."""
    for number in range(USERS):
        user, is_treated, is_large = f"u{number:04}", number % 2 == 0, number % 4 < 2
        yield purchase(user, f"2024-04-{1 + number % 20:02} 10:00", 200.0 if is_large else 20.0)
        for campaign in ("spring", "uneven", "foreign"):
            kind = "email_sent" if is_treated else "campaign_holdout"
            names = {"user_id": user, "campaign_id": campaign}
            yield event(f"{campaign}-{user}", kind, "2024-05-06 09:00", **names | {"channel": "email"})
        if number % 3 == 0:
            yield purchase(user, "2024-05-08 12:00", 30.0 + number % 7)
        if is_treated and is_large and number % 7:
            yield purchase(user, "2024-05-09 12:00", 40.0)
    yield event("last", "product_view", "2024-05-14 10:00", user_id="u0000", item_id="i1")


@pytest.fixture(scope="module")
def home(transforms: Transforms, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("campaign-uplift"))
    land(home, shop())
    land_catalogue(home, [{"item_id": "i1", "price": 10.0}])
    transforms.run(home)
    publish_marts(home, sorted(landed_days(home)), full=True)
    for campaign, share in (("spring", 0.5), ("uneven", 0.1)):
        plan = pa.table({"user_id": ["u0000"], "control_share": [share]})
        write_atomically(home.campaign_run(campaign, "2024-05-06"), plan)
    settings = read_settings({"ATTUNE_HOME": str(home.root)})
    features = Features(settings)
    apply_definitions(features.open())
    found = learn_uplift(
        Data.published(home), settings, features, Erased(b"salt", frozenset({subject_hash(b"salt", ERASED)}))
    )
    assert (found["campaigns"], found["learned"], found["used"]) == (3, 1, 1)
    return home


def evidence(home: Home) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(home.analysis("campaign_uplift")).to_pylist()
    return {row["campaign_id"]: row for row in rows}


def test_a_campaign_with_enough_contacts_says_whom_it_moves(home: Home) -> None:
    spring = evidence(home)["spring"]
    assert (spring["customers"], spring["is_used"]) == (USERS, True)
    assert spring["effect_low"] < 17.1 < spring["effect_high"]
    assert spring["qini_low"] > 0.0


def test_what_was_not_drawn_as_planned_teaches_nothing(home: Home) -> None:
    reasons = {name: row["reason"] for name, row in evidence(home).items()}
    assert reasons["uneven"] == "its arms do not have their planned shares"
    assert reasons["foreign"] == "its control share is not known, or was changed"
    assert evidence(home)["foreign"]["effect"] is None


def test_planning_writes_first_to_whom_it_moves_and_to_nobody_else(home: Home) -> None:
    campaign = Campaign(name="spring", start=date(2024, 5, 1), cost_per_message=3.0)
    profits = read_profits(home, campaign)
    assert set(profits) == {f"u{number:04}" for number in range(USERS)} - {ERASED}
    large = {f"u{number:04}" for number in range(USERS) if number % 4 < 2} - {ERASED}
    paying = {user for user, profit in profits.items() if profit > 0.0}
    assert len(paying & large) > 0.95 * len(paying)
    assert len(paying & large) > 0.85 * len(large)
    assert np.mean([profits[user] for user in large]) == pytest.approx(MARGIN_SHARE * 34.3 - 3.0, abs=3.0)
    customers = [{"user_id": user, "clv_90d": 1.0, "list": ""} for user in (*sorted(profits), "unknown")]
    order = [each["user_id"] for each in ranked(campaign, customers, profits)]
    assert set(order[: len(paying)]) == paying
    assert order[-1] == "unknown"
    assert read_profits(home, Campaign(name="foreign", start=date(2024, 5, 1))) == {}


def test_before_the_week_is_over_nothing_is_learned(home: Home) -> None:
    settings = read_settings({"ATTUNE_HOME": str(home.root)})
    data = Data.published(home)
    early = Data(home, data.manifest, data.first, date(2024, 5, 12))
    assert list(learn(early, settings, Features(settings))) == []
