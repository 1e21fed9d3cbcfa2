"""What an experiment asked for, as its results take it."""

from typing import Any

import pandas as pd
import pytest

from orchestration.experiments import design_of
from training.experiments.metrics import BUILT_IN

MET = pd.DataFrame({"variant": ["control", "blue"], "propensity": [0.5, 0.5]})
DEFINED: dict[str, Any] = {
    "variants": [{"name": "control", "weight": 1}, {"name": "blue", "weight": 1}],
    "metrics": ["conversion_rate"],
}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [(None, 250), (DEFINED, 250), (DEFINED | {"sample_size": 40}, 40)],
)
def test_the_setting_says_how_many_users_it_takes_unless_the_experiment_does(
    definition: dict[str, Any] | None, expected: int
) -> None:
    assert design_of("x", MET, definition, BUILT_IN, 250).planned_users == expected
