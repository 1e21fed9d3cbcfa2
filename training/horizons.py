"""Customer value over 30, 90 and 365 days, and what it is made of.

The model is trained on the longest horizon with enough complete labels (90 days). Other horizons follow the
shape of BG/NBD, fitted to the customers' own past: a customer's expected purchases in H days over those in
90. 365 days therefore are an extrapolation: they carry today's rate and dropout on, and no season.

The value is a product of three: the probability of being alive (BG/NBD), the orders of somebody alive in the
horizon (BG/NBD), and the money of an order that is left when the model's value is divided by both.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.bgnbd import bgnbd_inputs, fit_bgnbd
from training.clv import ClvModel, score_clv

FloatArray = npt.NDArray[np.float64]

HORIZONS_DAYS = (30, 90, 365)
EXTRAPOLATED_DAYS = (365,)
LEAST_ALIVE, LEAST_ORDERS = 1e-3, 1e-4


def score_horizons(model: ClvModel, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per row of `frame`, in its order; currency units over each horizon.

    `clv_<H>d`, `clv_<H>d_low`, `clv_<H>d_high`; `p_alive`, `expected_orders_<model's horizon>d` (if alive)
    and `expected_order_value`; `purchase_probability` within the model's horizon.
    """
    x, t_x, age = bgnbd_inputs(frame)
    orders = fit_bgnbd(x, t_x, age)
    alive = np.maximum(orders.p_alive(x, t_x, age), LEAST_ALIVE)
    expected = {
        days: np.maximum(orders.expected_purchases(x, t_x, age, float(days)), LEAST_ORDERS * days)
        for days in {*HORIZONS_DAYS, model.horizon_days}
    }
    own = expected[model.horizon_days]
    columns: dict[str, FloatArray] = {}
    for days in HORIZONS_DAYS:
        scored = score_clv(model, frame, None if days == model.horizon_days else expected[days] / own)
        for end in ("", "_low", "_high"):
            columns[f"clv_{days}d{end}"] = scored[f"clv{end}"].to_numpy(dtype=np.float64)
        if days == model.horizon_days:
            columns["purchase_probability"] = scored["purchase_probability"].to_numpy(dtype=np.float64)
    columns["p_alive"] = alive
    columns[f"expected_orders_{model.horizon_days}d"] = own / alive
    columns["expected_order_value"] = columns[f"clv_{model.horizon_days}d"] / own
    return pd.DataFrame(columns, index=frame.index)
