"""Whose revenue a campaign's message raises, and by how much, learned from whom the campaign held out.

The arm of a customer was drawn, so what both arms spend in the week after tells the effect (`uplift`). A
customer counts once, by the first contact: later ones meet people whom the first has changed. Revenue is
heavy-tailed and one order can pass for an effect, so what is above a quantile of both arms counts as that.
Predictions are worth using only if they rank customers whom the model did not see better than chance does.
"""

from dataclasses import dataclass

import numpy as np

from training.intervals import Estimate
from training.uplift import (
    Experiment,
    UpliftConfig,
    UpliftModel,
    average_effect,
    cross_fitted_uplift,
    fit_uplift,
    qini,
)

LARGEST_REVENUE_QUANTILE = 0.99
CONFIG = UpliftConfig(minimum_arm=200)


@dataclass(frozen=True)
class CampaignUplift:
    """`effect`: the mean increment of a customer's revenue; `qini`: of cross-fitted scores; both at 95 %."""

    model: UpliftModel
    customers: int
    effect: Estimate
    qini: Estimate

    @property
    def ranks(self) -> bool:
        """Whether the model surely tells who reacts more."""
        return self.qini.low > 0.0


def learn_campaign(contacts: Experiment, seed: int, config: UpliftConfig = CONFIG) -> CampaignUplift:
    """From one row per customer contacted or held out; `outcome` is the revenue of the window after.

    Raises `NotEnoughData` where an arm, less a fold, has fewer than `config.minimum_arm` customers.
    """
    largest = np.quantile(contacts.outcome, LARGEST_REVENUE_QUANTILE)
    capped = Experiment(
        contacts.features, contacts.treated, np.minimum(contacts.outcome, largest), contacts.propensity
    )
    scores = cross_fitted_uplift(capped, config, seed)
    return CampaignUplift(
        fit_uplift(capped, config, seed),
        len(capped),
        average_effect(capped),
        qini(capped, scores, seed=seed),
    )
