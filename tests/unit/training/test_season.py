"""The level to be expected at a new cut-off."""

import numpy as np

from training.season import forecast_level
from training.value_config import SeasonConfig

PRIOR = SeasonConfig()


def test_equal_offsets_are_forecast_unchanged() -> None:
    assert np.allclose(forecast_level([0, 15, 30], [0.4, 0.4, 0.4], [120, 900], PRIOR), 0.4)


def test_one_fold_is_copied() -> None:
    assert np.allclose(forecast_level([10], [-0.3], [100], PRIOR), -0.3)


def test_a_year_later_the_same_season_is_expected() -> None:
    days = np.arange(0, 366, 15)
    season = np.sin(2 * np.pi * days / 365.25)
    found = forecast_level(days, season, [365 + 91, 365 + 274], PRIOR)
    assert found[0] > 0.6
    assert found[1] < -0.6


def test_half_a_year_of_folds_forecasts_an_unknown_phase_better_than_copying_the_latest() -> None:
    days = np.arange(0, 151, 15)
    forecast_errors, copy_errors = [], []
    for phase in np.linspace(0.0, 2 * np.pi, 24, endpoint=False):
        offsets = np.sin(2 * np.pi * days / 365.25 + phase)
        truth = np.sin(2 * np.pi * (150 + 90) / 365.25 + phase)
        forecast_errors.append(abs(forecast_level(days, offsets, [240], PRIOR)[0] - truth))
        copy_errors.append(abs(offsets[-1] - truth))
    assert np.mean(forecast_errors) < 0.85 * np.mean(copy_errors)


def test_the_origin_of_the_days_does_not_matter() -> None:
    near = forecast_level([0, 30, 60], [0.1, 0.5, 0.2], [150], PRIOR)
    far = forecast_level([20_000, 20_030, 20_060], [0.1, 0.5, 0.2], [20_150], PRIOR)
    assert np.allclose(near, far)
