"""Who visits because of an e-mail: uplift on a public randomised experiment.

    python -m benchmarks.uplift [--data ../shared/data/hillstrom_email] [--outcome visit] [--json FILE]

Prints the arms' effects on all outcomes; then, for one arm against none, the cross-fitted Qini coefficient
with its bootstrap interval and the value of mailing the best share of customers, with inverse-propensity
intervals, beside mailing everybody and nobody. Exits with 1 with `--strict` if the Qini interval holds 0.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from training.uplift import (
    Experiment,
    PolicyValue,
    average_effect,
    cross_fitted_uplift,
    policy_values,
    qini,
)

NONE = "No E-Mail"
OUTCOMES = ("visit", "conversion", "spend")
NUMBERS = ("recency", "history", "mens", "womens", "newbie")
CATEGORIES = ("zip_code", "channel")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and returns the exit status."""
    options = _parser().parse_args(arguments)
    customers = pd.read_parquet(options.data / "customers.parquet")
    print("effects of each arm against none, 95 % intervals\n")
    for arm in sorted(set(customers["treatment"]) - {NONE}):
        for outcome in OUTCOMES:
            print(f"{arm:<15} {outcome:<11} {average_effect(two_arms(customers, arm, outcome))}")
    experiment = two_arms(customers, options.arm, options.outcome)
    started = time.perf_counter()
    score = cross_fitted_uplift(experiment, seed=options.seed)
    seconds = time.perf_counter() - started
    coefficient = qini(experiment, score, seed=options.seed)
    print(f"\n{options.arm} against none, {options.outcome}, {len(experiment)} customers, {seconds:.0f} s")
    print(f"Qini coefficient {coefficient.value:.5f} [{coefficient.low:.5f}, {coefficient.high:.5f}]\n")
    values = policy_values(experiment, score)
    print(table(values))
    if options.json:
        content = {
            "qini": coefficient.to_dict(),
            "policy_values": [{"share": each.share, **each.value.to_dict()} for each in values],
        }
        options.json.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return 1 if options.strict and coefficient.low <= 0.0 else 0


def two_arms(customers: pd.DataFrame, arm: str, outcome: str) -> Experiment:
    """One arm against none; each customer was drawn into one of three arms with equal chances."""
    rows = customers[customers["treatment"].isin([arm, NONE])].reset_index(drop=True)
    dummies = pd.get_dummies(rows[list(CATEGORIES)], dtype=float)
    features = pd.concat([rows[list(NUMBERS)].astype(float), dummies], axis=1)
    treated = (rows["treatment"] == arm).to_numpy()
    return Experiment(features, treated, rows[outcome].to_numpy(dtype=np.float64), np.full(len(rows), 0.5))


def table(values: Sequence[PolicyValue]) -> str:
    """Mean outcome per customer by share mailed; the first and last rows are nobody and everybody."""
    names = {0.0: "nobody", 1.0: "everybody"}
    lines = ["mailed        mean outcome per customer"]
    for each in values:
        result = each.value
        name = names.get(each.share, f"best {each.share:.0%}")
        lines.append(f"{name:<12}  {result.estimate:.4f} [{result.low:.4f}, {result.high:.4f}]")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uplift", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/hillstrom_email"),
        help="folder with customers.parquet (default: %(default)s)",
    )
    parser.add_argument("--arm", default="Womens E-Mail", help="treatment to judge (default: %(default)s)")
    parser.add_argument("--outcome", choices=OUTCOMES, default="visit", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if the ranking is not proved useful"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
