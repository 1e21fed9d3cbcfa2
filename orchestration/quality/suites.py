"""Great Expectations suites, as plain builders: a list of rules for each boundary.

Building a rule imports nothing heavy: the expectation is made when a suite is run (`quality/evaluation.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.segments import VALUE_SEGMENTS


@dataclass(frozen=True)
class Rule:
    """One expectation: `kind` names a class of `great_expectations.expectations`.

    A failing `blocking` rule stops everything downstream; any other is a warning.
    """

    name: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    meaning: str = ""
    blocking: bool = True


def landed_events() -> list[Rule]:
    """On the profile of the landed days (`quality.profiles.profile_events`): one row per day."""
    return [
        _row_count("has_days", "At least one day was landed."),
        _never("keys_present", "null_keys", "Every event has id, type, instants and channel."),
        _never("ids_unique_in_day", "duplicate_ids", "An event_id stands once in its day."),
        _never("types_in_vocabulary", "unknown_types", "Every type is one of the closed vocabulary."),
        _never("events_in_their_day", "misplaced", "event_at lies in the day of the folder."),
        _never("amounts_sane", "bad_amounts", "Quantities are positive, prices finite and not negative."),
        _never("purchases_complete", "incomplete_purchases", "Purchases name item, quantity and price."),
        Rule(
            "quarantine_is_small",
            "ExpectColumnMaxToBeBetween",
            {"column": "quarantined_share", "min_value": 0.0, "max_value": 0.25},
            "No day lost more than a quarter of its rows to quarantine.",
            blocking=False,
        ),
        Rule(
            "volume_is_usual",
            "ExpectColumnMinToBeBetween",
            {"column": "share_of_median", "min_value": 0.05},
            "No landed day has less than a twentieth of the median day's rows.",
            blocking=False,
        ),
    ]


def training_frame() -> list[Rule]:
    """On the point-in-time frame of the value models: one row per customer and cut-off."""
    return [
        _row_count("has_rows", "At least 20 rows to learn from.", minimum=20),
        _present("customers_named", "user_id", "Every row names its customer."),
        Rule(
            "one_row_per_customer_and_cutoff",
            "ExpectCompoundColumnsToBeUnique",
            {"column_list": ["user_id", "cutoff"]},
            "A customer stands once for each cut-off.",
        ),
        Rule(
            "nothing_after_the_cutoff",
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {
                "column_A": "cutoff",
                "column_B": "feature_at",
                "or_equal": True,
                "ignore_row_if": "either_value_is_missing",
            },
            "Features were known by the cut-off.",
        ),
        _between("spend_label_not_negative", "spend_next", 0, None, "The spend to predict is 0 or more."),
        _between("order_label_not_negative", "orders_next", 0, None, "The orders to predict are 0 or more."),
        _between("order_count_not_negative", "order_count", 0, None, "Customers have 0 or more orders."),
        Rule(
            "labels_vary",
            "ExpectColumnUniqueValueCountToBeBetween",
            {"column": "orders_next", "min_value": 2},
            "There are customers who buy again and customers who do not.",
        ),
    ]


def predictions() -> list[Rule]:
    """On what goes online: one row per customer, values and candidates joined.

    A value that no champion predicts is null in every row; "present" rules look at the share of customers
    for whom a champion gave no answer, which the asset computes.
    """
    return [
        _row_count("has_rows", "There is somebody to predict for."),
        _present("customers_named", "user_id", "Every row names its customer."),
        Rule(
            "one_row_per_customer",
            "ExpectColumnValuesToBeUnique",
            {"column": "user_id"},
            "A customer stands once.",
        ),
        _never("values_complete", "unanswered", "Each champion answers for every customer."),
        _between("clv_in_range", "clv_90d", 0, 1e9, "The value is finite and 0 or more."),
        Rule(
            "clv_interval_ordered",
            "ExpectColumnPairValuesAToBeGreaterThanB",
            {
                "column_A": "clv_90d_high",
                "column_B": "clv_90d_low",
                "or_equal": True,
                "ignore_row_if": "either_value_is_missing",
            },
            "The interval's ends are in order.",
        ),
        _between("churn_is_probability", "churn_probability", 0, 1, "It lies between 0 and 1."),
        Rule(
            "segment_known",
            "ExpectColumnValuesToBeInSet",
            {"column": "value_segment", "value_set": list(VALUE_SEGMENTS)},
            "The value segment is one of the known ones.",
        ),
        _between("candidates_bounded", "candidate_count", 0, 100, "At most 100 candidates each."),
        _between("candidates_distinct", "repeated_candidates", 0, 0, "No list names an item twice."),
        Rule(
            "most_have_candidates",
            "ExpectColumnMeanToBeBetween",
            {"column": "has_candidates", "min_value": 0.9, "max_value": 1.0},
            "Nine of ten customers have something recommended.",
        ),
    ]


def _row_count(name: str, meaning: str, minimum: int = 1) -> Rule:
    return Rule(name, "ExpectTableRowCountToBeBetween", {"min_value": minimum}, meaning)


def _never(name: str, column: str, meaning: str) -> Rule:
    arguments = {"column": column, "min_value": 0, "max_value": 0}
    return Rule(name, "ExpectColumnMaxToBeBetween", arguments, meaning)


def _present(name: str, column: str, meaning: str) -> Rule:
    return Rule(name, "ExpectColumnValuesToNotBeNull", {"column": column}, meaning)


def _between(name: str, column: str, low: float | None, high: float | None, meaning: str) -> Rule:
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Rule(name, "ExpectColumnValuesToBeBetween", arguments, meaning)
