"""How much more is bought at a lower price: elasticities from the shop's own price changes, made steadier.

**Measured**: for each item, the orders of each week against the price of that week, as a multinomial over
its weeks (the Poisson model with a fixed effect of the item, which conditioning removes exactly), with the
shop's orders of the week as offset: demand ~ price ** -elasticity. A week without a sale has the last price
seen. Prices of a shop are not dealt by lot: a sale is often held when demand is weak, or given to who buys
much, so these are associations. **Steadied**: each item's estimate is shrunk to the shop's mean by its own
variance (DerSimonian & Laird 1986 for the spread between items), and the shop's mean itself starts from a
prior, `PRIOR_MEAN` with `PRIOR_SD`: the median of 1,851 published elasticities is 2.2 (Bijmolt, van Heerde &
Pieters 2005). Without any price variation the prior is all there is, and `source` says so.

**Used**: the part of the anchor's buyers who take the rest too, `attach x (1 - cut) ** -elasticity`, where
`cut` is the whole discount over the list price of the rest: who buys the anchor anyway sees it as a discount
on the rest. `cut` counts up to `MOST_CUT`; nothing is claimed beyond.
"""

from dataclasses import dataclass

import numpy as np

from training.baskets import Baskets, Floats, Ints
from training.bundle_offer import MOST_CUT, attach_at, profit_at

__all__ = ["MOST_CUT", "PriceResponse", "attach_at", "best_discounts", "price_response"]

PRIOR_MEAN, PRIOR_SD = 2.2, 1.0
STEEPEST = 6.0
WEEK_DAYS = 7
MIN_ORDERS = 30
MIN_SPREAD = 0.02
"""Least standard deviation of an item's log price, weighted by demand, to say anything of its response."""
STEPS = 30
SOURCES = ("measured", "shop", "prior")
MEASURED, SHOP, PRIOR = range(3)


@dataclass(frozen=True)
class PriceResponse:
    """Elasticity of each item (at least 0) and where it comes from, a number of `SOURCES`.

    `shop_mean` and `shop_spread` are the mean and the standard deviation between items; `measured` items had
    price changes to learn from.
    """

    elasticity: Floats
    source: Ints
    shop_mean: float
    shop_spread: float
    measured: int


def price_response(baskets: Baskets) -> PriceResponse:
    """The response of every item of these baskets."""
    orders, log_price = weekly(baskets)
    totals = orders.sum(axis=0)
    estimate, variance = item_elasticities(orders, log_price, totals)
    usable = np.flatnonzero(np.isfinite(variance))
    mean, spread = shop_response(estimate[usable], variance[usable])
    found = np.full(baskets.item_count, mean)
    source = np.full(baskets.item_count, SHOP if len(usable) else PRIOR, dtype=np.int64)
    if len(usable):
        share = spread**2 / (spread**2 + variance[usable])
        found[usable] = share * estimate[usable] + (1 - share) * mean
        source[usable] = MEASURED
    return PriceResponse(np.clip(found, 0.0, STEEPEST), source, mean, spread, len(usable))


def weekly(baskets: Baskets) -> tuple[Floats, Floats]:
    """Items x weeks: orders, and the log of the median price paid; NaN before an item's first price."""
    weeks = int(baskets.day.max(initial=0)) // WEEK_DAYS + 1
    week = baskets.day // WEEK_DAYS
    shape = (baskets.item_count, weeks)
    orders = np.bincount(baskets.item * weeks + week, minlength=shape[0] * weeks).reshape(shape)
    priced = np.flatnonzero(baskets.price > 0)
    key = baskets.item[priced] * weeks + week[priced]
    order = np.lexsort((baskets.price[priced], key))
    key, price = key[order], baskets.price[priced][order]
    cells, first, size = np.unique(key, return_index=True, return_counts=True)
    log_price = np.full(shape[0] * weeks, np.nan)
    log_price[cells] = np.log(price[first + (size - 1) // 2])
    log_price = log_price.reshape(shape)
    for number in range(1, weeks):
        missing = np.isnan(log_price[:, number])
        log_price[missing, number] = log_price[missing, number - 1]
    return orders.astype(np.float64), log_price


def item_elasticities(orders: Floats, log_price: Floats, totals: Floats) -> tuple[Floats, Floats]:
    """Each item's elasticity by itself and its variance; infinite where it cannot be told.

    Newton steps on the conditional likelihood. Variances are widened by the pooled overdispersion.
    """
    is_known = np.isfinite(log_price) & (totals > 0)
    count = np.where(is_known, orders, 0.0)
    offset = np.where(is_known, totals, 0.0)
    x = np.where(is_known, log_price, 0.0)
    x = x - ((offset * x).sum(axis=1) / np.maximum(offset.sum(axis=1), 1e-12))[:, None] * is_known
    sums, estimate = count.sum(axis=1), np.zeros(len(count))
    for _ in range(STEPS):
        share, centre, spread = _moments(offset, x, estimate)
        score = sums * centre - (count * x).sum(axis=1)
        step = np.clip(score / np.maximum(sums * spread, 1e-9), -1.0, 1.0)
        estimate = np.clip(estimate + step, -2 * STEEPEST, 2 * STEEPEST)
    share, centre, spread = _moments(offset, x, estimate)
    is_usable = (sums >= MIN_ORDERS) & (spread >= MIN_SPREAD**2)
    fitted = sums[:, None] * share
    is_cell = is_known & is_usable[:, None] & (fitted > 0)
    freedom = is_cell.sum() - 2 * is_usable.sum()
    pearson = ((count - fitted)[is_cell] ** 2 / fitted[is_cell]).sum()
    dispersion = max(1.0, pearson / freedom) if freedom > 0 else 1.0
    variance = np.full(len(count), np.inf)
    variance[is_usable] = dispersion / (sums * spread)[is_usable]
    return estimate, variance


def shop_response(estimate: Floats, variance: Floats) -> tuple[float, float]:
    """Mean over the shop's items, joined with the prior, and the standard deviation between them."""
    if not len(estimate):
        return PRIOR_MEAN, PRIOR_SD
    weight = 1.0 / variance
    centre = (weight * estimate).sum() / weight.sum()
    excess = (weight * (estimate - centre) ** 2).sum() - (len(estimate) - 1)
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    weight = 1.0 / (variance + between)
    precision = weight.sum() + PRIOR_SD**-2
    mean = ((weight * estimate).sum() + PRIOR_MEAN * PRIOR_SD**-2) / precision
    return float(np.clip(mean, 0.0, STEEPEST)), float(np.sqrt(between))


def best_discounts(
    price: Floats,
    cost: Floats,
    rest_price: Floats,
    anchor_margin: Floats,
    attach: Floats,
    elasticity: Floats,
    lowest_price: Floats,
    steps: Floats,
) -> Floats:
    """For each bundle the discount among `steps` (0 must be one) that earns most, above its lowest price."""
    offers = steps[None, :]
    rates = attach_at(attach[:, None], elasticity[:, None], offers * (price / rest_price)[:, None])
    profit = profit_at(rates, price[:, None] * (1 - offers), cost[:, None], anchor_margin[:, None])
    is_allowed = price[:, None] * (1 - offers) >= lowest_price[:, None] - 1e-9
    profit = np.where(is_allowed | (offers == 0), profit, -np.inf)
    # What earns the same is not given away.
    return np.asarray(steps[np.argmax(profit - 1e-9 * offers, axis=1)], dtype=np.float64)


def _moments(offset: Floats, x: Floats, estimate: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares of the weeks at an elasticity, and the mean and variance of the log price by them."""
    weight = offset * np.exp(-np.clip(estimate[:, None] * x, -50, 50))
    share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    centre = (share * x).sum(axis=1)
    return share, centre, (share * (x - centre[:, None]) ** 2).sum(axis=1)
