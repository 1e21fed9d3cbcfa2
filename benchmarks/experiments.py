"""Whether the statistics of experiments keep what they promise, by simulation and on a real experiment.

    python -m benchmarks.experiments [--data ../shared/data/hillstrom_email] [--json FILE]

- A/A: the share of tests without any effect in which one is called, with one look and with one every day.
- Power: the share of tests with the planned effect, at the planner's sample size, in which it is found.
- CUPED: how much variance it takes, and whether the mean over all simulated effects is the true one.
- Sample ratio: a 50/50 test that ran 52/48 over 20,000 visitors, and healthy ones.
- With `--data`, the e-mail experiment of Hillstrom (64,000 customers, three arms) beside what is known of it.

Prints a table of each and the bars; exits with 1 if a bar is missed and `--strict` is given.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from benchmarks.models import Bar
from training.experiments.analysis import Users, compare, look_at
from training.experiments.cuped import covariate_matrix
from training.experiments.false_positives import Simulation, simulate
from training.experiments.metrics import BUILT_IN, Metric, by_name
from training.experiments.power import Question, of_share, plan
from training.experiments.sample_ratio import BLOCKS_BELOW, p_values

LEVEL = 0.95
BLOCK = 100
SIMULATED = ("conversion_rate", "revenue_per_visitor", "click_through_rate", "orders_per_visitor")

# Effects against no e-mail as published: difference, and its z-score (one decimal).
PUBLISHED = {
    ("visit", "Mens E-Mail"): (0.0766, 22.6),
    ("visit", "Womens E-Mail"): (0.0452, 14.0),
    ("conversion", "Mens E-Mail"): (0.0068, 7.4),
    ("conversion", "Womens E-Mail"): (0.0031, 3.8),
    ("spend", "Mens E-Mail"): (0.770, 5.3),
    ("spend", "Womens E-Mail"): (0.424, 3.3),
}
HILLSTROM = {
    "visit": Metric("visit", "conversion", "visit_count", window_days=14),
    "conversion": Metric("conversion", "conversion", "order_count", window_days=14),
    "spend": Metric("spend", "mean", "spend", window_days=14),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and returns the exit status."""
    options = _parser().parse_args(arguments)
    started = time.perf_counter()
    bars = [*false_positives(options.tests), *power(options.tests), *cuped(options.tests), *sample_ratio()]
    if options.data:
        bars += hillstrom(options.data)
    print(f"\nTook {time.perf_counter() - started:.0f} s\n")
    print("\n".join(bar.line() for bar in bars))
    if options.json:
        content = [{**asdict(bar), "is_met": bar.is_met} for bar in bars]
        options.json.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return 1 if options.strict and not all(bar.is_met for bar in bars) else 0


def false_positives(tests: int) -> list[Bar]:
    """A/A tests of four metrics, 14 days, 200 visitors a day."""
    print(f"\nA/A, {tests:,} tests: share in which a difference is called at 5 %\n")
    print(
        f"{'metric':<24}{'fixed, at the end':>20}{'fixed, daily':>16}"
        f"{'always valid, daily':>22}{'with CUPED':>14}"
    )
    bars = []
    for name in SIMULATED:
        found = simulate(by_name(BUILT_IN)[name], Simulation(tests=tests))
        print(
            f"{name:<24}{found.fixed_at_end:>20.2%}{found.fixed_daily:>16.2%}"
            f"{found.always_valid_daily:>22.2%}{found.adjusted_daily:>14.2%}"
        )
        bars += [
            Bar(f"A/A {name}: fixed horizon", found.fixed_at_end, 0.04),
            Bar(f"A/A {name}: fixed horizon", found.fixed_at_end, 0.06, "<="),
            Bar(f"A/A {name}: always valid, daily looks", found.always_valid_daily, 0.05, "<="),
            Bar(f"A/A {name}: the same with CUPED", found.adjusted_daily, 0.05, "<="),
        ]
    return bars


def power(tests: int) -> list[Bar]:
    """A/B tests at the planner's size: a conversion of 5 % raised by 20 %, and a skewed spend by 15 %."""
    rng = np.random.default_rng(1)
    before, after = of_share(0.05, 0.2)
    shares = Question(mean=0.05, deviation=before, treated_deviation=after, lift=0.2)
    # Spend: 30 % buy, for a lognormal sum; the effect multiplies it.
    mean = 0.3 * np.exp(3 + 0.5 * 0.7**2)
    deviation = float(np.sqrt(0.3 * np.exp(6 + 2 * 0.7**2) - mean**2))
    money = Question(mean=float(mean), deviation=deviation, treated_deviation=1.15 * deviation, lift=0.15)

    def converted(size: tuple[int, int], factor: float) -> np.ndarray:
        return (rng.random(size) < 0.05 * factor).astype(float)

    def spent(size: tuple[int, int], factor: float) -> np.ndarray:
        return factor * (rng.random(size) < 0.3) * rng.lognormal(3, 0.7, size)

    print(f"\nPower, {tests:,} tests at the planner's size for 80 %\n")
    print(f"{'metric':<24}{'users per variant':>20}{'found':>10}{'always valid size':>20}{'found':>10}")
    bars = []
    for name, question, draw in (("conversion", shares, converted), ("spend", money, spent)):
        planned = plan(question)
        found = []
        for users in (planned.users_per_variant, planned.users_per_variant_always_valid):
            looks = [
                compare(
                    (draw((block, users), 1.0), draw((block, users), 1 + question.lift)),
                    None,
                    LEVEL,
                    2 * planned.users_per_variant_always_valid,
                )
                for block in _blocks(tests)
            ]
            which = "fixed" if not found else "always_valid"
            found.append(
                float(np.mean(np.concatenate([getattr(each, which).p_value for each in looks]) < 0.05))
            )
        print(
            f"{name:<24}{planned.users_per_variant:>20,}{found[0]:>10.1%}"
            f"{planned.users_per_variant_always_valid:>20,}{found[1]:>10.1%}"
        )
        bars += [
            Bar(f"power {name}, fixed horizon", found[0], 0.77),
            Bar(f"power {name}, fixed horizon", found[0], 0.83, "<="),
            Bar(f"power {name}, always valid at its size", found[1], 0.77),
        ]
    return bars


def cuped(tests: int) -> list[Bar]:
    """Simulated tests with a true effect, with the spend of before as covariate."""
    rng = np.random.default_rng(2)
    raw, cleared, reported = [], [], []
    for block in _blocks(tests):
        eagerness = rng.gamma(0.7, 1 / 0.7, (2, block, 1000))
        before = rng.poisson(3 * eagerness).astype(float)
        values = rng.poisson(2 * eagerness) * rng.lognormal(0, 0.5, eagerness.shape)
        values[1] += 0.2
        look = compare((values[0], values[1]), (before[0][..., None], before[1][..., None]), LEVEL, 2000)
        assert look.adjusted_fixed is not None
        raw.append(look.fixed.estimate)
        cleared.append(look.adjusted_fixed.estimate)
        reported.append(look.adjusted_fixed.low <= 0.2)
        reported[-1] &= look.adjusted_fixed.high >= 0.2
    before_, after_ = np.concatenate(raw), np.concatenate(cleared)
    reduction = 1 - float(after_.var() / before_.var())
    bias = float((after_.mean() - 0.2) / (after_.std() / np.sqrt(len(after_))))
    covered = float(np.mean(np.concatenate(reported)))
    print(f"\nCUPED, {tests:,} tests with a true effect of 0.2, 1,000 visitors an arm\n")
    print(f"mean effect without {before_.mean():.4f}, with {after_.mean():.4f} ({bias:+.2f} standard errors)")
    print(f"variance of the effect falls by {reduction:.1%}; 95 % intervals hold the truth in {covered:.1%}")
    return [
        Bar("CUPED: bias in standard errors of the simulation", abs(bias), 3.0, "<="),
        Bar("CUPED: variance reduction", reduction, 0.0, ">"),
    ]


def sample_ratio() -> list[Bar]:
    """The check at 20,000 visitors: the exact probability of a flag when it is off and when it is healthy."""
    visitors = 20_000
    first = np.arange(visitors + 1)
    is_flagged = p_values(np.column_stack([first, visitors - first]), [1, 1]) < BLOCKS_BELOW
    off = float(stats.binom.pmf(first[is_flagged], visitors, 0.52).sum())
    healthy = float(stats.binom.pmf(first[is_flagged], visitors, 0.5).sum())
    exact = float(p_values([10_400, 9_600], [1, 1]))
    print("\nSample ratio, 20,000 visitors, blocked below p = 0.001\n")
    print(f"10,400 to 9,600: p = {exact:.1e}")
    print(f"probability of a flag: dealt 52/48 {off:.2%}, dealt 50/50 {healthy:.4%}")
    return [
        Bar("sample ratio: p of 10,400 to 9,600", exact, BLOCKS_BELOW, "<="),
        Bar("sample ratio: 52/48 flagged", off, 0.95),
        Bar("sample ratio: healthy flagged", healthy, 0.001, "<="),
    ]


def hillstrom(data: Path) -> list[Bar]:
    """Every effect beside the published one; equal to its last digit."""
    table = pq.read_table(data / "customers.parquet").to_pandas()
    known = covariate_matrix(table[["recency", "history", "mens", "womens", "newbie"]].to_numpy(float))
    print(f"\nHillstrom's e-mail experiment, {len(table):,} customers, against no e-mail\n")
    print(
        f"{'metric':<12}{'arm':<16}{'effect':>10}{'z':>8}{'95 % fixed':>22}{'always valid':>22}{'CUPED':>8}"
    )
    bars = []
    for (name, treatment), (published, score) in PUBLISHED.items():
        arms = []
        for chosen in ("No E-Mail", treatment):
            is_in = (table["treatment"] == chosen).to_numpy()
            values = table[name].to_numpy(float)[is_in]
            arms.append(Users(np.zeros(len(values), int), values, covariates=known[is_in]))
        metric = HILLSTROM[name]
        look = look_at(metric, arms[0], arms[1], metric.closes_after_days, LEVEL, sum(map(len, arms)))
        assert look is not None and look.variance_reduction is not None
        fixed, always = look.fixed, look.always_valid
        error = np.sqrt(look.control.variance + look.treated.variance)
        print(
            f"{name:<12}{treatment:<16}{fixed.estimate:>10.4f}{fixed.estimate / error:>8.1f}"
            f"{f'{fixed.low:.4f} to {fixed.high:.4f}':>22}{f'{always.low:.4f} to {always.high:.4f}':>22}"
            f"{look.variance_reduction:>8.1%}"
        )
        rounding = 0.0005 if name == "spend" else 0.00005
        bars += [
            Bar(f"{name}, {treatment}: off the note", abs(float(fixed.estimate) - published), rounding, "<="),
            Bar(
                f"{name}, {treatment}: z off the note", abs(float(fixed.estimate / error) - score), 0.05, "<="
            ),
        ]
    return bars


def _blocks(tests: int) -> Iterator[int]:
    for done in range(0, tests, BLOCK):
        yield min(BLOCK, tests - done)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, help="folder of hillstrom_email")
    parser.add_argument("--tests", type=int, default=2000, help="simulated tests of each kind")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a bar is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
