"""What a campaign teaches: effects that differ are found, and noise is not taken for one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from training.campaign_uplift import CONFIG, learn_campaign
from training.errors import NotEnoughData
from training.uplift import Experiment


def contacts(effect: float, customers: int = 4_000, share: float = 0.3) -> Experiment:
    """Half of the customers react, by `effect` on revenue of 10 with a deviation of 10."""
    rng = np.random.default_rng(11)
    reacts = rng.random(customers) < 0.5
    treated = rng.random(customers) >= share
    revenue = np.maximum(rng.normal(10.0, 10.0, customers), 0.0) + effect * (reacts & treated)
    features = pd.DataFrame({"reacts": reacts.astype(float), "noise": rng.random(customers)})
    return Experiment(features, treated, revenue, np.full(customers, 1.0 - share))


def test_who_reacts_is_told_from_who_does_not() -> None:
    found = learn_campaign(contacts(8.0), seed=1)
    assert found.ranks
    assert found.effect.low < 4.0 < found.effect.high
    kinds = pd.DataFrame({"reacts": [1.0, 0.0], "noise": [0.5, 0.5]})
    reacting, other = found.model.predict(kinds)
    assert reacting == pytest.approx(8.0, abs=2.5)
    assert other == pytest.approx(0.0, abs=2.5)


def test_without_an_effect_nobody_is_ranked() -> None:
    found = learn_campaign(contacts(0.0, customers=2_000), seed=1)
    assert not found.ranks
    assert found.effect.low < 0.0 < found.effect.high


def test_one_enormous_order_is_no_effect() -> None:
    sound = contacts(0.0, customers=2_000)
    treated = int(np.flatnonzero(sound.treated)[0])
    revenue = sound.outcome.copy()
    revenue[treated] = 1e6
    found = learn_campaign(replace(sound, outcome=revenue), seed=1)
    assert found.effect.value == pytest.approx(learn_campaign(sound, seed=1).effect.value, abs=0.2)


def test_a_small_arm_is_named() -> None:
    with pytest.raises(NotEnoughData, match="treated customers of the experiment: found"):
        learn_campaign(contacts(8.0, customers=2 * CONFIG.minimum_arm), seed=1)
