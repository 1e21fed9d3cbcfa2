"""Every field of a view is a column of its mart, same name and type, and the other way round."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from feast import FeatureView
from feast.types import Array, Float64, Int64, String, UnixTimestamp

from feature_repo.definitions import SERVICES, VIEWS, objects
from feature_repo.derived import DERIVED_INPUTS
from feature_repo.predictions import arrow_schema
from feature_repo.services import VALUE_MODEL_FIELDS
from feature_repo.user_features import user_behavior

MARTS = Path(__file__).resolve().parents[2] / "transforms" / "models" / "marts"
FEAST_TYPES = {
    "string": String,
    "bigint": Int64,
    "double": Float64,
    "{{ var('instant_type') }}": UnixTimestamp,
    "{{ var('text_list_type') }}": Array(String),
}
# Columns of every mart that are no features: the partition day.
NOT_FEATURES = {"event_date"}
MART_VIEWS = [view for view in VIEWS if "mart" in view.tags]


def mart_columns(name: str) -> dict[str, str]:
    """Column -> declared type of a mart's contract."""
    [model] = [
        model
        for model in yaml.safe_load((MARTS / f"{name}.yml").read_text(encoding="utf-8"))["models"]
        if model["name"] == name
    ]
    return {column["name"]: column["data_type"] for column in model["columns"]}


@pytest.mark.parametrize("view", MART_VIEWS, ids=lambda view: view.name)
def test_fields_are_the_columns_of_the_mart(view: FeatureView) -> None:
    declared = {
        name: FEAST_TYPES[data_type]
        for name, data_type in mart_columns(view.tags["mart"]).items()
        if name not in NOT_FEATURES
    }
    fields: dict[str, Any] = {field.name: field.dtype for field in view.features}
    assert {view.join_keys[0]: String, **fields} == declared


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_field_has_a_file_type(view: FeatureView) -> None:
    schema = arrow_schema(view)
    assert schema.names == [view.join_keys[0], *(field.name for field in view.features)]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_view_says_who_owns_it_what_it_is_and_why_it_lives_so_long(view: FeatureView) -> None:
    assert view.owner and view.description and view.tags["ttl_reason"]


def test_value_models_read_all_that_is_derived_from() -> None:
    assert set(DERIVED_INPUTS) <= set(VALUE_MODEL_FIELDS) <= {field.name for field in user_behavior.features}


def test_every_view_is_in_a_service_and_all_names_are_versioned() -> None:
    served = {projection.name for service in SERVICES for projection in service.feature_view_projections}
    assert served == {view.name for view in VIEWS}
    assert all(service.name.rsplit("_v", 1)[1].isdigit() for service in SERVICES)


def test_every_definition_is_listed_once() -> None:
    names = [(type(each).__name__, each.name) for each in objects()]
    assert len(names) == len(set(names))
