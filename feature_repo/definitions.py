"""The explicit list of everything that Feast is told.

Apply it through `store.apply_definitions`: `feast apply` would import every module, running it.
"""

from __future__ import annotations

from typing import Any

from feast import Entity, FeatureService, FeatureView
from feast.data_source import DataSource

from feature_repo.entities import item, user
from feature_repo.errors import UnknownFeature
from feature_repo.item_features import item_behavior
from feature_repo.live_features import user_live
from feature_repo.services import churn_v1, clv_v1, items_v1, live_v1, serving_v1, serving_v2
from feature_repo.sources import (
    item_features_source,
    user_candidates_source,
    user_features_source,
    user_live_source,
    user_outlook_source,
    user_predictions_source,
)
from feature_repo.user_features import user_behavior, user_candidates, user_outlook, user_predictions

ENTITIES: tuple[Entity, ...] = (user, item)
SOURCES: tuple[DataSource, ...] = (
    user_features_source,
    item_features_source,
    user_predictions_source,
    user_outlook_source,
    user_candidates_source,
    user_live_source,
)
VIEWS: tuple[FeatureView, ...] = (
    user_behavior,
    item_behavior,
    user_predictions,
    user_outlook,
    user_candidates,
    user_live,
)
SERVICES: tuple[FeatureService, ...] = (clv_v1, churn_v1, serving_v1, serving_v2, items_v1, live_v1)


def objects() -> list[Any]:
    """Everything to apply, in order of dependence."""
    return [*ENTITIES, *SOURCES, *VIEWS, *SERVICES]


def view_named(name: str) -> FeatureView:
    """The view of this name; raises `UnknownFeature`."""
    for view in VIEWS:
        if view.name == name:
            return view
    raise UnknownFeature("feature view", name, (view.name for view in VIEWS))


def service_named(name: str) -> FeatureService:
    """The service of this name; raises `UnknownFeature`."""
    for service in SERVICES:
        if service.name == name:
            return service
    raise UnknownFeature("feature service", name, (service.name for service in SERVICES))
