"""Feature services: what each model and the service read. Changed inputs make a new version."""

from __future__ import annotations

from feast import FeatureService

from feature_repo.entities import OWNER
from feature_repo.item_features import item_behavior
from feature_repo.live_features import user_live
from feature_repo.sources import FEATURE_AT
from feature_repo.user_features import user_behavior, user_candidates, user_outlook, user_predictions

# Text lists are for serving; the value models take numbers and instants.
_TEXT_LISTS = frozenset({"recent_items", "recent_categories"})
VALUE_MODEL_FIELDS = [field.name for field in user_behavior.features if field.name not in _TEXT_LISTS]

clv_v1 = FeatureService(
    name="clv_v1",
    features=[user_behavior[VALUE_MODEL_FIELDS]],
    description="Inputs of the customer lifetime value model.",
    owner=OWNER,
)

churn_v1 = FeatureService(
    name="churn_v1",
    features=[user_behavior[VALUE_MODEL_FIELDS]],
    description="Inputs of the churn model.",
    owner=OWNER,
)

# Several views in one service: only behaviour keeps its `feature_at`, for names are unique in a service.
_served = [
    user_behavior,
    user_predictions[[field.name for field in user_predictions.features if field.name != FEATURE_AT]],
    user_candidates[[field.name for field in user_candidates.features if field.name != FEATURE_AT]],
]

serving_v1 = FeatureService(
    name="serving_v1",
    features=_served,
    description="What the service reads about a customer.",
    owner=OWNER,
)

serving_v2 = FeatureService(
    name="serving_v2",
    features=[
        *_served,
        user_outlook[[field.name for field in user_outlook.features if field.name != FEATURE_AT]],
    ],
    description="The same, and the further outlook.",
    owner=OWNER,
)

items_v1 = FeatureService(
    name="items_v1",
    features=[item_behavior],
    description="What is known about an item.",
    owner=OWNER,
)

live_v1 = FeatureService(
    name="live_v1",
    features=[user_live],
    description="What a visitor did since the last batch.",
    owner=OWNER,
)
