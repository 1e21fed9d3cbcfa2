"""Events and transforms agree on what the shop does to a customer and what the customer does."""

import yaml

from feature_repo.events import SHOP_ACTS
from tests.contracts.repository import ROOT


def test_the_transforms_leave_out_exactly_the_acts_of_the_shop() -> None:
    project = yaml.safe_load((ROOT / "transforms" / "dbt_project.yml").read_text(encoding="utf-8"))
    assert set(project["vars"]["outbound_event_types"]) == SHOP_ACTS
