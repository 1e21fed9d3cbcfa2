"""How well the models predict, beside their baselines, in one run.

    python -m benchmarks.models --data ../shared/data/online_retail_year1 [--cutoff 2010-09-01] [--json FILE]

Lands the data, builds and publishes the tables and registers the features in a temporary home (or takes those
of `--home`), then trains and measures at one test cut-off and at earlier ones:

- churn and CLV over the next 90 days on rolling cut-offs, the last one at `--cutoff`, for each of `--seeds`;
- BG/NBD on the public summary of CDNOW (`--cdnow`, where the file is there) beside the published parameters;
- recommendations: the distinct products that known customers buy from the cut-off to the end of the data.

Prints each report as a table and the bars with their figures (means over the seeds); exits with 1 if a bar is
missed and `--strict` is given.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from operator import ge, gt, le
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from feature_repo.layout import Home
from feature_repo.store import apply_definitions, open_store
from training.bgnbd import fit_bgnbd
from training.config import AlsConfig, BlendConfig, PopularityConfig
from training.dataset import customer_frame, data_range
from training.evaluation import ModelReport
from training.recommenders import train_recommenders
from training.splits import folds, midnight
from training.value_config import CutoffConfig
from training.value_evaluation import cutoffs_of, evaluate_churn, evaluate_clv

SIGNS: dict[str, Callable[[float, float], bool]] = {">=": ge, ">": gt, "<=": le}
RECOMMENDATION_COLUMNS = [
    f"{scope}_{name}" for scope in ("all", "new") for name in ("recall_at_20", "ndcg_at_20", "hit_rate_at_10")
]

PUBLISHED_BGNBD = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}


@dataclass(frozen=True)
class Bar:
    """A figure and what is asked of it: `sign` is one of `SIGNS`."""

    name: str
    value: float
    bar: float
    sign: str = ">="

    @property
    def is_met(self) -> bool:
        return SIGNS[self.sign](self.value, self.bar)

    def line(self) -> str:
        """One line of the summary."""
        mark = "met   " if self.is_met else "MISSED"
        return f"{mark}  {self.name:<58} {self.value:8.4f} {self.sign:<2} {self.bar:.4f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and returns the exit status."""
    options = _parser().parse_args(arguments)
    with _home(options) as home:
        started = time.perf_counter()
        value = value_reports(home, options.cutoff, range(options.seeds))
        recommendations = [recommendation_report(home, options.cutoff, seed) for seed in range(options.seeds)]
        seconds = time.perf_counter() - started
    for report in [*value["churn"][0], *value["clv"][0], recommendations[0]]:
        columns = RECOMMENDATION_COLUMNS if report.kind == "collaborative" else None
        print(f"\n{report.kind}, cut-off {report.cutoff:%Y-%m-%d}, seed 0\n")
        print(report.table(columns))
        print("\n".join(f"- {note}" for note in report.notes))
    bars = [
        *churn_bars([reports[-1] for reports in value["churn"]]),
        *clv_bars([reports[-1] for reports in value["clv"]]),
        *bgnbd_bars(options.cdnow),
        *recommendation_bars(recommendations),
    ]
    print(f"\nMeans over {options.seeds} seeds; training and measuring took {seconds:.0f} s\n")
    print("\n".join(bar.line() for bar in bars))
    if options.json:
        kinds = {**value, "collaborative": [[report] for report in recommendations]}
        content = {
            "cutoff": options.cutoff.isoformat(),
            "seconds": seconds,
            "bars": [{**asdict(bar), "is_met": bar.is_met} for bar in bars],
            "reports": {
                kind: [[report.to_dict() for report in reports] for reports in of_seeds]
                for kind, of_seeds in kinds.items()
            },
        }
        options.json.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return 1 if options.strict and not all(bar.is_met for bar in bars) else 0


def build_home(home: Home, data: Path) -> None:
    """Everything before training: landed, transformed, published, registered."""
    from orchestration.landed import landed_days
    from orchestration.landing import land_days
    from orchestration.marts import publish_marts, run_dbt
    from orchestration.sources.base import open_source

    land_days(home, open_source("online_retail", data))
    run_dbt(home, full_refresh=True)
    publish_marts(home, sorted(landed_days(home)), full=True)
    apply_definitions(open_store(home))


def value_reports(home: Home, cutoff: date, seeds: Sequence[int]) -> dict[str, list[list[ModelReport]]]:
    """For churn and CLV and each seed the reports of all folds, ascending; the last is at `cutoff`."""
    first, until = data_range(home.current_marts)
    found = folds(first.date(), until.date(), CutoffConfig(), midnight(cutoff))
    horizon = found[-1].horizon_days
    frame = customer_frame(open_store(home), home.current_marts, cutoffs_of(found), horizon)
    return {
        "churn": [list(evaluate_churn(frame, found, seed=seed).reports) for seed in seeds],
        "clv": [list(evaluate_clv(frame, found, seed=seed).reports) for seed in seeds],
    }


def recommendation_report(home: Home, cutoff: date, seed: int) -> ModelReport:
    """All recommenders at `cutoff`, with labels to the end of the data."""
    until = data_range(home.current_marts)[1].date()
    items = pq.read_table(home.mart("items"), columns=["item_id", "category"])
    categories = dict(zip(items["item_id"].to_pylist(), items["category"].to_pylist(), strict=True))
    return train_recommenders(
        home.mart_glob("interactions_daily"),
        categories,
        cutoff=cutoff,
        horizon_days=(until - cutoff).days + 1,
        als=AlsConfig(),
        blend_config=BlendConfig(),
        popularity=PopularityConfig(),
        seed=seed,
    ).report


def churn_bars(reports: Sequence[ModelReport]) -> list[Bar]:
    """The bars for the next 90 days."""
    auc = _mean(reports, "xgboost", "roc_auc")
    return [
        Bar("churn: ROC AUC", auc, 0.74),
        Bar("churn: ROC AUC above recency", auc - _mean(reports, "recency", "roc_auc"), 0.06),
        Bar("churn: ECE, 10 bins", _mean(reports, "xgboost", "ece"), 0.03, "<="),
    ]


def clv_bars(reports: Sequence[ModelReport]) -> list[Bar]:
    """The bars for the next 90 days; above BG/NBD + Gamma-Gamma means a positive difference."""
    covered = _mean(reports, "xgboost", "coverage")
    bars = [
        Bar("clv: tenths whose money is within 20 %", _mean(reports, "xgboost", "calibrated_deciles"), 9.0),
        Bar("clv: coverage of the 80 % interval, at least", covered, 0.75),
        Bar("clv: coverage of the 80 % interval, at most", covered, 0.85, "<="),
    ]
    for metric, least in (("spearman", 0.53), ("top_decile_capture", 0.82)):
        mine, theirs = (_mean(reports, row, metric) for row in ("xgboost", "bgnbd_gamma_gamma"))
        bars.append(Bar(f"clv: {metric}", mine, least))
        bars.append(Bar(f"clv: {metric} above BG/NBD + Gamma-Gamma", mine - theirs, 0.0, ">"))
    return bars


def bgnbd_bars(cdnow: Path) -> list[Bar]:
    """BG/NBD by maximum likelihood against Fader, Hardie and Lee (2005); nothing without the file."""
    if not cdnow.exists():
        return []
    columns = pq.read_table(cdnow, columns=["frequency", "recency", "T"])
    found = fit_bgnbd(*(column.to_numpy().astype(np.float64) for column in columns.columns))
    return [
        Bar(f"BG/NBD on CDNOW: {name} off {published}", abs(getattr(found, name) / published - 1), 0.01, "<=")
        for name, published in PUBLISHED_BGNBD.items()
    ]


def recommendation_bars(reports: Sequence[ModelReport]) -> list[Bar]:
    """The bars for ALS alone, and that what is released is not below buying again."""
    bars = [
        Bar(f"recommendations, ALS alone: {metric}", _mean(reports, "als", metric), least)
        for metric, least in (
            ("all_recall_at_20", 0.165),
            ("all_ndcg_at_20", 0.28),
            ("new_recall_at_20", 0.076),
        )
    ]
    for metric in ("all_recall_at_20", "all_ndcg_at_20"):
        gain = _mean(reports, "released", metric) - _mean(reports, "buy_again", metric)
        bars.append(Bar(f"recommendations, released - buy again: {metric}", gain, 0.0))
    return bars


def _mean(reports: Sequence[ModelReport], row: str, metric: str) -> float:
    return float(np.mean([report.row(row).metrics[metric].value for report in reports]))


@contextmanager
def _home(options: argparse.Namespace) -> Iterator[Home]:
    if options.home is not None:
        home = Home(options.home)
        apply_definitions(open_store(home))
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="attune-models-") as directory:
        home = Home(Path(directory))
        started = time.perf_counter()
        build_home(home, options.data)
        print(f"landed, transformed and published in {time.perf_counter() - started:.0f} s")
        yield home


def _day(text: str) -> date:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__.split("\n")[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/online_retail_year1"),
        help="folder in the form of Online Retail (default: %(default)s)",
    )
    where.add_argument("--home", type=Path, help="take the published tables of this home instead")
    parser.add_argument(
        "--cdnow",
        type=Path,
        default=Path("../shared/data/cdnow_summary/customers_summary.parquet"),
        help="CDNOW's customers: frequency, recency, T (default: %(default)s)",
    )
    parser.add_argument(
        "--cutoff", type=_day, default="2010-09-01", help="test cut-off, a day (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="number of seeds to average (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a bar is missed")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
