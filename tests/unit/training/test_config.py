from collections.abc import Callable

import pytest

from training.config import AlsConfig, BlendConfig, GateConfig, PopularityConfig
from training.errors import InvalidConfig


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: AlsConfig(factors=0), "factors"),
        (lambda: AlsConfig(regularization=0.0), "regularization"),
        (lambda: AlsConfig(half_life_days=0.0), "half_life_days"),
        (lambda: AlsConfig(weighting="cubic"), "weighting"),  # type: ignore[arg-type]
        (lambda: BlendConfig(weights=(0.5,)), "weights"),
        (lambda: BlendConfig(half_lives_days=(90.0,)), "half_lives_days"),
        (lambda: BlendConfig(length=10, new_length=10), "new_length"),
        (lambda: PopularityConfig(recent_days=0), "recent_days"),
        (lambda: GateConfig(champion_margin=1.0), "champion_margin"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidConfig, match=f"^{field}="):
        make()


@pytest.mark.parametrize("config", [AlsConfig(), BlendConfig(), PopularityConfig(), GateConfig()])
def test_a_config_is_logged_whole(config: AlsConfig | BlendConfig | PopularityConfig | GateConfig) -> None:
    assert set(config.to_dict()) == set(vars(config))


def test_an_als_config_can_be_made_again_from_its_fields() -> None:
    assert AlsConfig(**AlsConfig(factors=7).to_dict()) == AlsConfig(factors=7)
