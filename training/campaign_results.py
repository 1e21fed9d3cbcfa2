"""What a campaign caused over all its days: its arms compared, with intervals by both methods.

Arms are dealt by a hash of campaign and customer, so days may be added: whoever is contacted again is in the
same arm again. Then a customer counts more than once, and where many are the intervals are somewhat narrow;
quiet days longer than the window keep what is counted for one contact apart from the next.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.attribution import Arm, incremental_revenue
from training.errors import NotEnoughData
from training.experiments import effects
from training.experiments.sample_ratio import sample_ratio
from training.experiments.sequential import MINIMUM_USERS, always_valid

LEVEL = 0.95
PLANNED_USERS = 2000.0
"""At which number of customers, both arms, the always-valid interval is narrowest; it is valid at any."""
NORMAL = 1.959963984540054
TREATED, HELD_OUT = "treated", "held_out"


def buying_share(users: int, buyers: int) -> effects.Arm:
    """The arm of a metric that is 1 for who bought and 0 for the others."""
    share = buyers / users
    values = (users, share, share * (1 - share) / (users - 1))
    return effects.Arm(*(np.asarray(value, dtype=np.float64) for value in values))


def campaign_result(
    arms: Mapping[str, Arm], buyers: Mapping[str, int], control_share: float | None
) -> dict[str, Any] | None:
    """Conversion and revenue of both arms, their difference, intervals; None below two customers in an arm.

    `control_share`: as planned; None where nobody said, and then nothing is said of the ratio.
    """
    treated, held_out = arms.get(TREATED), arms.get(HELD_OUT)
    if treated is None or held_out is None:
        return None
    try:
        revenue = incremental_revenue(treated, held_out)
    except NotEnoughData:
        return None
    contrast = effects.difference(
        buying_share(held_out.users, buyers[HELD_OUT]), buying_share(treated.users, buyers[TREATED])
    )
    fixed = effects.fixed_horizon(contrast, LEVEL)
    is_enough = min(treated.users, held_out.users) >= MINIMUM_USERS
    always = always_valid(contrast, LEVEL, PLANNED_USERS) if is_enough else None
    reach = NORMAL * float(np.sqrt(revenue.variance))
    counts = {TREATED: treated.users, HELD_OUT: held_out.users}
    return {
        "treated_users": treated.users,
        "held_out_users": held_out.users,
        "treated_conversion": buyers[TREATED] / treated.users,
        "held_out_conversion": buyers[HELD_OUT] / held_out.users,
        "conversion_difference": float(fixed.estimate),
        "conversion_low": float(fixed.low),
        "conversion_high": float(fixed.high),
        "conversion_always_low": float(always.low) if always else None,
        "conversion_always_high": float(always.high) if always else None,
        "p_value": float(fixed.p_value),
        "incremental_revenue": revenue.incremental_revenue,
        "revenue_low": revenue.incremental_revenue - reach,
        "revenue_high": revenue.incremental_revenue + reach,
        "is_ratio_as_planned": None
        if control_share is None
        else not sample_ratio(counts, {TREATED: 1 - control_share, HELD_OUT: control_share}).is_mismatch,
    }
