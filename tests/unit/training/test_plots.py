import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from training import plots
from training.intervals import Estimate

TRUTH = np.array([0.0, 1.0, 1.0, 0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 5.0])
SCORE = np.linspace(0.0, 1.0, 12)
CURVE = {5: Estimate(0.1, 0.05, 0.2), 20: Estimate(0.2, 0.1, 0.3)}
FIGURES = {
    "recall_by_depth": lambda: plots.recall_by_depth({"als": CURVE, "again": CURVE}),
    "recall_by_activity": lambda: plots.recall_by_activity(
        {"als": {"1": CURVE[5], "2–4": CURVE[20]}, "again": {"2–4": CURVE[5]}}
    ),
    "blend_weights": lambda: plots.blend_weights(
        [{"weight": 0.5, "half_life_days": None, "popularity_weight": 0.0, "recall_at_20": 0.2}]
    ),
    "gains": lambda: plots.gains(TRUTH, {"clv": SCORE}),
    "lift": lambda: plots.lift(TRUTH, {"clv": SCORE}),
    "calibration": lambda: plots.calibration((TRUTH > 0).astype(float), {"churn": SCORE}),
    "residuals_by_decile": lambda: plots.residuals_by_decile(TRUTH, SCORE),
    "importance": lambda: plots.importance({"recency_days": 0.7, "tenure_days": 0.3}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_has_a_title_and_draws(name: str) -> None:
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_title()
    place = io.BytesIO()
    figure.savefig(place, format="png")
    assert place.getvalue().startswith(b"\x89PNG")


def test_gains_end_at_everything_and_start_with_the_best_scored() -> None:
    line = plots.gains(np.array([0.0, 4.0]), {"clv": np.array([0.1, 0.9])}).axes[0].lines[0]
    assert list(line.get_ydata()) == [1.0, 1.0]


def test_fewer_rows_than_bins_still_draw() -> None:
    plots.lift(TRUTH[:3], {"clv": SCORE[:3]})
    plots.residuals_by_decile(TRUTH[:3], SCORE[:3])
