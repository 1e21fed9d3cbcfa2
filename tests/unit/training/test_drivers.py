"""What the churn model's answer rests on."""

import numpy as np
import pytest

from tests.unit.training.customers import CHURN, frame
from training.churn import fit_churn
from training.drivers import DRIVER_NAMES, churn_contributions
from training.value_config import PURCHASE_FEATURES


def test_contributions_add_up_to_the_difference_from_the_average_customer() -> None:
    test = frame([0.0], customers=50, seed=3, first=6)
    purchase = fit_churn(frame([0.0, 0.0, 0.0]), CHURN).purchase
    margin = -purchase.margin(test)
    effects = churn_contributions(purchase, test).effects
    assert effects.sum(axis=1) == pytest.approx(margin - margin.mean(), abs=1e-4)


def test_few_orders_are_named_as_what_drives_a_disloyal_customer_away() -> None:
    test = frame([0.0], customers=200, seed=3, first=6)
    purchase = fit_churn(frame([0.0, 0.0, 0.0]), CHURN).purchase
    found = churn_contributions(purchase, test).top(3)
    names, effects = found[int(np.argmin(test["order_day_count"]))]
    assert names[0] == "number of orders"
    assert effects[0] > 0.0
    assert len(names) == len(effects) == 3


def test_every_feature_has_a_name_that_people_read() -> None:
    assert set(PURCHASE_FEATURES) <= set(DRIVER_NAMES)
    assert len(set(DRIVER_NAMES.values())) == len(DRIVER_NAMES)
