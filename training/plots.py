"""Figures that a scientist wants to see, as matplotlib objects on the Agg canvas; no global state."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.intervals import Estimate

FloatArray = npt.NDArray[np.float64]


def recall_by_depth(curves: Mapping[str, Mapping[int, Estimate]]) -> Figure:
    """Recall against the length of the list, one line per model, with intervals as bands."""
    figure, axes = _figure("Recall by length of the list", "k", "Recall@k")
    for name, curve in curves.items():
        depths = sorted(curve)
        axes.plot(depths, [curve[depth].value for depth in depths], marker="o", markersize=3, label=name)
        low, high = [curve[depth].low for depth in depths], [curve[depth].high for depth in depths]
        axes.fill_between(depths, low, high, alpha=0.15)
    return _with_legend(figure, axes)


def recall_by_activity(groups: Mapping[str, Mapping[str, Estimate]]) -> Figure:
    """Recall@20 against the number of distinct products that users had bought before, per model."""
    figure, axes = _figure("Recall@20 by user activity", "distinct products bought before", "Recall@20")
    buckets = list(dict.fromkeys(bucket for group in groups.values() for bucket in group))
    for name, group in groups.items():
        present = [bucket for bucket in buckets if bucket in group]
        where = [buckets.index(bucket) for bucket in present]
        values = np.array([group[bucket].value for bucket in present])
        low = values - np.array([group[bucket].low for bucket in present])
        high = np.array([group[bucket].high for bucket in present]) - values
        spread = np.maximum(np.vstack([low, high]), 0.0)
        axes.errorbar(where, values, yerr=spread, marker="o", markersize=3, capsize=2, label=name)
    axes.set_xticks(range(len(buckets)), buckets)
    return _with_legend(figure, axes)


def blend_weights(options: Sequence[Mapping[str, float | None]], metric: str = "recall_at_20") -> Figure:
    """Validation metric of each option of the blend, one line per half-life and popularity weight."""
    figure, axes = _figure(
        "Blend options on the validation fold", "weight of the collaborative score", metric
    )
    lines: dict[str, list[tuple[float, float]]] = {}
    for option in options:
        name = f"half-life {option['half_life_days']}, popularity {option['popularity_weight']}"
        lines.setdefault(name, []).append((float(option["weight"] or 0.0), float(option[metric] or 0.0)))
    for name, points in lines.items():
        ordered = sorted(points)
        axes.plot([point[0] for point in ordered], [point[1] for point in ordered], marker="o", label=name)
    return _with_legend(figure, axes)


def gains(truth: FloatArray, scores: Mapping[str, FloatArray], title: str = "Cumulative gains") -> Figure:
    """Share of the truth's total captured against the share of customers taken in order of each score."""
    figure, axes = _figure(title, "share of customers, best first", "share of the total captured")
    total = max(float(truth.sum()), 1e-12)
    share = np.arange(1, len(truth) + 1) / max(1, len(truth))
    for name, score in scores.items():
        order = np.argsort(-score, kind="stable")
        axes.plot(share, np.cumsum(truth[order]) / total, label=name)
    axes.plot(share, np.cumsum(np.sort(truth)[::-1]) / total, linestyle=":", color="grey", label="perfect")
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="random")
    return _with_legend(figure, axes)


def lift(truth: FloatArray, scores: Mapping[str, FloatArray], bins: int = 10) -> Figure:
    """Mean of the truth in each bin of a score over the overall mean, best bin first."""
    figure, axes = _figure("Lift by decile", "decile of the score, best first", "lift over the mean")
    overall = max(float(truth.mean()), 1e-12)
    for name, score in scores.items():
        parts = np.array_split(truth[np.argsort(-score, kind="stable")], bins)
        values = [float(part.mean()) / overall if len(part) else np.nan for part in parts]
        axes.plot(range(1, bins + 1), values, marker="o", label=name)
    axes.axhline(1.0, linestyle="--", color="grey")
    return _with_legend(figure, axes)


def calibration(truth: FloatArray, probabilities: Mapping[str, FloatArray], bins: int = 10) -> Figure:
    """Observed rate against mean predicted probability in equally filled bins."""
    figure, axes = _figure("Calibration", "mean predicted probability", "observed rate")
    for name, probability in probabilities.items():
        parts = [part for part in np.array_split(np.argsort(probability, kind="stable"), bins) if len(part)]
        predicted = [float(probability[part].mean()) for part in parts]
        axes.plot(predicted, [float(truth[part].mean()) for part in parts], marker="o", label=name)
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="perfect")
    return _with_legend(figure, axes)


def residuals_by_decile(truth: FloatArray, prediction: FloatArray, bins: int = 10) -> Figure:
    """Mean of truth minus prediction in each decile of the prediction, lowest first, beside both means."""
    figure, axes = _figure("Residuals by decile of the prediction", "decile, lowest first", "mean")
    parts = np.array_split(np.argsort(prediction, kind="stable"), bins)
    where = np.arange(1, bins + 1)
    for offset, name, values in (
        (-0.27, "predicted", prediction),
        (0.0, "observed", truth),
        (0.27, "residual", truth - prediction),
    ):
        means = [float(values[part].mean()) if len(part) else np.nan for part in parts]
        axes.bar(where + offset, means, width=0.26, label=name)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    return _with_legend(figure, axes)


def importance(values: Mapping[str, float], top: int = 25) -> Figure:
    """The most important features, largest first."""
    chosen = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:top][::-1]
    figure, axes = _figure("Feature importance", "importance", "", height=max(2.5, 0.28 * len(chosen)))
    axes.barh([name for name, _ in chosen], [value for _, value in chosen])
    figure.tight_layout()
    return figure


def drift(indices: Mapping[str, float], threshold: float, title: str, top: int = 25) -> Figure:
    """Stability index of each column, largest first, with the threshold above which it counts."""
    known = {name: value for name, value in indices.items() if np.isfinite(value)}
    chosen = sorted(known.items(), key=lambda pair: (-pair[1], pair[0]))[:top][::-1]
    figure, axes = _figure(title, "population stability index", "", height=max(2.5, 0.28 * len(chosen)))
    axes.barh([name for name, _ in chosen], [value for _, value in chosen])
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1)
    figure.tight_layout()
    return figure


def expected_and_realized(pairs: Mapping[str, tuple[float, float]]) -> Figure:
    """What was expected of customers on average beside what came, as a ratio to the first."""
    names = [name for name, (before, _) in pairs.items() if before]
    figure, axes = _figure("Realized over expected", "ratio", "", height=max(2.0, 0.5 * len(names)))
    axes.barh(names, [pairs[name][1] / pairs[name][0] for name in names])
    axes.axvline(1.0, color="black", linestyle="--", linewidth=1)
    figure.tight_layout()
    return figure


def _figure(title: str, x: str, y: str, height: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, height), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def _with_legend(figure: Figure, axes: Axes) -> Figure:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    figure.tight_layout()
    return figure
