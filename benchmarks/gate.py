"""Ten faults, each planted in a model that is really trained, put before the gate.

    python -m benchmarks.gate [--home DIR] [--json FILE]

A home after `attune run` gives the customers and their orders; the champion is the same model without the
fault, of another seed. Each fault is one that happens: the label among the features, features of two months
ago, ids in another order than their vectors, trees that may not split, labels of another question, training
rows thinned out by class, trees without limits, a number that is none, labels lost for newcomers, an ensemble
grown out of proportion. Printed: whether the gate refuses, and by which check first.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from training import collaborative, evidence
from training.churn import fit_churn, write_churn
from training.collaborative import CollaborativeScorer
from training.config import AlsConfig, GateConfig
from training.dataset import CUTOFF, ORDERS_NEXT, SPEND_NEXT
from training.evaluation import ModelReport, ScoreRow
from training.evidence import Evidence
from training.factors import ItemFactors
from training.gate import Decision, decide
from training.interactions import Interactions
from training.intervals import Estimate
from training.splits import Fold
from training.value_config import ChurnConfig, LinearConfig, PurchaseConfig
from training.value_evaluation import evaluate_churn, training_rows
from training.value_evidence import value_evidence

DRAWS = 40
TENURE, NEWCOMER_DAYS = "tenure_days", 90.0


@dataclass(frozen=True)
class Customers:
    """A training frame, and what is known apart from it: the past alone, the last orders at the cut-off."""

    frame: pd.DataFrame
    fold: Fold
    past: pd.DataFrame
    orders: pd.DataFrame
    config: ChurnConfig
    gate: GateConfig = GateConfig()

    def training(self) -> pd.Series:
        """Rows on which models are fitted."""
        return self.frame[CUTOFF] < self.fold.cutoff


@dataclass(frozen=True)
class Fault:
    """`plant` puts it before the gate; `reason` begins the name of the check that must refuse first."""

    name: str
    reason: str
    plant: Callable[[Customers, Interactions], Decision]


def churn_decision(customers: Customers, planted: Customers, seed: int = 2) -> Decision:
    """The gate's decision on a model trained as `planted` says, whose champion was trained on `customers`."""
    with tempfile.TemporaryDirectory() as place:
        champion = fit_churn(training_rows(customers.frame, customers.fold), customers.config, 1)
        write_churn(champion, Path(place) / "champion")
        found = evaluate_churn(planted.frame, [planted.fold], planted.config, seed, champion, DRAWS)
        write_churn(found.model, Path(place) / "files")
        shown = value_evidence(
            "churn",
            found,
            planted.frame,
            [planted.fold],
            planted.past,
            planted.orders,
            Path(place) / "files",
            Path(place) / "champion",
            customers.config.to_dict(),
            # The fault may lie in the configuration; then the champion's recipe is fitted beside it.
            planted.config,
            seed,
        )
    return decide(found.report, True, customers.gate, shown)


def changed(customers: Customers, purchase: PurchaseConfig, frame: pd.DataFrame | None = None) -> Decision:
    """The decision on a model of another configuration, and of another frame if there is one."""
    config = replace(customers.config, purchase=purchase)
    used = customers.frame if frame is None else frame
    return churn_decision(customers, replace(customers, frame=used, config=config))


def lists_decision(
    interactions: Interactions, break_it: Callable[[ItemFactors], ItemFactors] = lambda one: one
) -> Decision:
    """The gate's decision on item factors after `break_it`, whose recipe's figures would pass."""
    fitted = collaborative.fit(interactions, AlsConfig(factors=16, regularization=1.0), 1)
    factors = break_it(fitted.factors)
    users = np.arange(min(300, len(interactions.users)), dtype=np.int64)
    shown = Evidence(
        answers=evidence.list_answers(CollaborativeScorer(interactions, factors, trend=False), users),
        memory=evidence.memory(
            lambda told: CollaborativeScorer(told, factors, trend=False), interactions, users
        ),
    )
    return decide(_passing_report(), True, evidence=shown)


def _passing_report() -> ModelReport:
    """Figures of the recipe, which was measured elsewhere: faults of the arrays do not show in them."""
    rows = [
        ScoreRow("released", "candidate", {"recall": Estimate.exact(0.3)}),
        ScoreRow("popularity", "baseline", {"recall": Estimate.exact(0.2)}),
    ]
    return ModelReport("collaborative", pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime(), rows, "recall")


def good(customers: Customers, _: Interactions) -> Decision:
    """The same recipe with another seed."""
    return churn_decision(customers, customers)


def good_lists(_: Customers, interactions: Interactions) -> Decision:
    return lists_decision(interactions)


def leak(customers: Customers, _: Interactions) -> Decision:
    """The label's money among the features."""
    purchase = customers.config.purchase
    return changed(customers, replace(purchase, features=(*purchase.features, SPEND_NEXT)))


def stale(customers: Customers, _: Interactions) -> Decision:
    """Every customer as two cut-offs ago; who was not there yet stays as is."""
    frame = customers.frame.sort_values(["user_id", CUTOFF], ignore_index=True)
    before = frame.groupby("user_id")[list(customers.config.purchase.features)].shift(2)
    frame[before.columns] = before.combine_first(frame[before.columns])
    return churn_decision(customers, replace(customers, frame=frame.sort_values(CUTOFF, kind="stable")))


def shuffled_ids(_: Customers, interactions: Interactions) -> Decision:
    """Item vectors in another order than the ids."""

    def shuffle(factors: ItemFactors) -> ItemFactors:
        order = np.random.default_rng(1).permutation(len(factors.item_ids))
        return replace(factors, item_ids=tuple(factors.item_ids[index] for index in order))

    return lists_decision(interactions, shuffle)


def constant(customers: Customers, _: Interactions) -> Decision:
    """Leaves that must hold more than there are customers."""
    purchase = customers.config.purchase
    trees = replace(purchase.trees, min_child_weight=1e9)
    return changed(customers, replace(purchase, trees=trees, linear=LinearConfig(share=0.0)))


def wrong_objective(customers: Customers, _: Interactions) -> Decision:
    """Trained to tell who stays, and taken for who leaves."""
    frame, rows = customers.frame.copy(), customers.training()
    frame.loc[rows, ORDERS_NEXT] = (frame.loc[rows, ORDERS_NEXT] == 0).astype(int)
    return churn_decision(customers, replace(customers, frame=frame))


def broken_calibration(customers: Customers, _: Interactions) -> Decision:
    """Nine in ten of those who stayed were left out of training."""
    stayed = customers.training() & (customers.frame[ORDERS_NEXT] > 0)
    dropped = stayed & (np.random.default_rng(3).random(len(stayed)) < 0.9)
    return churn_decision(
        customers, replace(customers, frame=customers.frame[~dropped].reset_index(drop=True))
    )


def huge(customers: Customers, _: Interactions) -> Decision:
    """Trees that may grow as deep as they like, and more of them."""
    purchase = customers.config.purchase
    few = purchase.trees.ensemble
    trees = replace(purchase.trees, max_depth=5, ensemble=16 * few, learning_rate=0.04)
    return changed(customers, replace(purchase, trees=trees))


def not_a_number(_: Customers, interactions: Interactions) -> Decision:
    """One vector that was divided by nothing."""

    def divide(factors: ItemFactors) -> ItemFactors:
        vectors = factors.vectors.copy()
        vectors[0] = np.nan
        return replace(factors, vectors=vectors)

    return lists_decision(interactions, divide)


def worse_on_newcomers(customers: Customers, _: Interactions) -> Decision:
    """In training, whoever came lately has the label upside down."""
    frame = customers.frame.copy()
    rows = customers.training() & (frame[TENURE] <= NEWCOMER_DAYS)
    frame.loc[rows, ORDERS_NEXT] = (frame.loc[rows, ORDERS_NEXT] == 0).astype(int)
    purchase = customers.config.purchase
    trees = replace(purchase.trees, max_depth=4, rounds=2 * purchase.trees.rounds)
    told = replace(purchase, trees=trees, linear=LinearConfig(share=0.0))
    return changed(customers, told, frame)


def slower(customers: Customers, _: Interactions) -> Decision:
    """The same trees, averaged over far more seeds than help."""
    purchase = customers.config.purchase
    few = purchase.trees.ensemble
    trees = replace(purchase.trees, ensemble=80 * few, rounds=3, learning_rate=0.5)
    return changed(customers, replace(purchase, trees=trees))


FAULTS = (
    Fault("leak", "knows_no_future", leak),
    Fault("stale features", "fresh_features", stale),
    Fault("shuffled ids", "ids_match", shuffled_ids),
    Fault("constant scores", "scores_vary", constant),
    Fault("wrong objective", "beats_", wrong_objective),
    Fault("broken calibration", "calibrated", broken_calibration),
    Fault("huge model", "size", huge),
    Fault("NaN", "finite_scores", not_a_number),
    Fault("worse on new users", "newcomers_not_worse", worse_on_newcomers),
    Fault("slower", "latency", slower),
)
GOOD = (Fault("a good model", "", good), Fault("good factors", "", good_lists))


def is_right(fault: Fault, decision: Decision) -> bool:
    """Refused, first by the check that names the fault; a good model is promoted."""
    if not fault.reason:
        return decision.promoted
    return bool(decision.refused_by) and decision.refused_by[0].startswith(fault.reason)


def read_home(home: Path) -> tuple[Customers, Interactions]:
    """Customers at the last cut-off with labels, and all interactions, of a home after `attune run`."""
    from feature_repo.layout import Home
    from orchestration.data import Data
    from orchestration.gating import read_past_frame
    from orchestration.training_runs import FRAME_FILE
    from training.dataset import last_orders
    from training.interactions import read_interactions
    from training.splits import folds

    place = Home(home)
    data = Data.published(place)
    config = ChurnConfig()
    fold = folds(data.first, data.until, config.cutoffs)[-1]
    past = read_past_frame(place)
    if past is None:
        raise SystemExit(f"{home} has no past_frame.parquet: run `attune run` in it first")
    interactions = read_interactions(place.mart_glob("interactions_daily"), data.until + timedelta(days=1))
    frame = pd.read_parquet(place.features / FRAME_FILE)
    frame = frame[frame[CUTOFF].isin([*fold.training, *fold.partial, fold.cutoff])].reset_index(drop=True)
    orders = last_orders(place.current_marts, [fold.cutoff])
    return Customers(frame, fold, past, orders, config), interactions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".attune"))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    customers, interactions = read_home(chosen.home)
    rows = []
    print("| planted | refused | first reason | right |\n| --- | --- | --- | --- |")
    for fault in (*FAULTS, *GOOD):
        decision = fault.plant(customers, interactions)
        row = {
            "planted": fault.name,
            "refused": not decision.promoted,
            "refused_by": decision.refused_by,
            "reason": decision.reasons[0],
            "right": is_right(fault, decision),
        }
        rows.append(row)
        first = f"{decision.refused_by[0]}: {decision.reasons[0]}" if decision.refused_by else "–"
        print(f"| {fault.name} | {row['refused']} | {first} | {row['right']} |", flush=True)
    refused = sum(bool(row["right"]) for row in rows[: len(FAULTS)])
    passed = all(row["right"] for row in rows[len(FAULTS) :])
    print(f"\n{refused} of {len(FAULTS)} refused, each with the right reason; good models pass: {passed}")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
