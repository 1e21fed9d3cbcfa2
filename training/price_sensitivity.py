"""How demand goes with price: elasticities per item, category and shop, and each customer's purse.

Prices are observed, not drawn. An item's weeks (from Monday, UTC) are its own comparison: carts (purchases,
where the shop records no carts) in a week are Poisson with mean exposure * level of the item * (price / usual
price)^elasticity, conditional on the item's total, so that the level drops out (Hausman, Hall & Griliches
1984). Exposure is the item's views in the week, or all purchases of the week where views are not recorded.
Items estimate little alone: they are shrunk towards their category, categories towards the
shop, by empirical Bayes (DerSimonian & Laird 1986), with variances scaled by the overdispersion.

What this is not: an experiment. A shop that reduces what sells badly, or raises prices when demand is high,
makes demand look less elastic; quantity rebates and promotions that come with advertising make it look more
so. Carts or purchases, not units, are counted, so that rebates on large orders weigh once. The price of a
week without either is not recorded: it is taken from its neighbours, and only where these agree. What is
missed that way, and the less eager who come for a reduction, pull estimates towards 0: in simulated shops by
about a third. For pricing, measure by experiments where possible; the interval here covers chance alone.

A customer's `price_level` says where in the price range of a category they buy (0 cheapest, 1 dearest), and
`discount_share` how often they pay at least 3 % less than the item's usual price; both shrunk towards the
shop's mean by `prior_purchases`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NEWTON_STEPS = 25
ELASTICITY_BOUND = 8.0
LEAST_INFORMATION = 1e-3
LARGEST_CHANGE = 1.5
LEAST_SPREAD = 1e-4
Z = 1.959964

CELLS = """
with acts as (
    select item_id, event_type, price, (epoch_us(event_at) // 86400000000 + 3) // 7 as week
    from read_parquet($events)
    where
        event_type in ('product_view', 'add_to_cart', 'purchase')
        and item_id is not null and event_at < $until
),
records as (
    select
        count(*) filter (event_type = 'product_view') > 0 as has_views,
        count(*) filter (event_type = 'add_to_cart') > 0 as has_carts
    from acts
),
cells as (
    select
        item_id, week,
        count(*) filter (event_type = 'product_view') as views,
        count(*) filter (event_type = case when has_carts then 'add_to_cart' else 'purchase' end) as demand,
        median(price) filter (event_type <> 'product_view' and price > 0) as price
    from acts cross join records
    group by item_id, week
),
spans as (
    select item_id, min(week) as first_week, max(week) as last_week
    from cells where price is not null group by item_id having count(*) >= 2
),
grid as (
    select spans.item_id, unnest(generate_series(first_week, last_week)) as week from spans
),
shop as (select week, sum(demand) as demand from cells group by week),
filled as (
    select
        grid.item_id, grid.week, cells.demand, cells.views, shop.demand as shop_demand,
        last_value(cells.price ignore nulls) over before_it as last_price,
        first_value(cells.price ignore nulls) over after_it as next_price
    from grid
    left join cells on grid.item_id = cells.item_id and grid.week = cells.week
    left join shop on grid.week = shop.week
    window
        before_it as (partition by grid.item_id order by grid.week rows unbounded preceding),
        after_it as (
            partition by grid.item_id order by grid.week rows between current row and unbounded following
        )
)
select
    filled.item_id,
    coalesce(filled.demand, 0) as demand,
    case when has_views then coalesce(filled.views, 0) else coalesce(filled.shop_demand, 0) end as exposure,
    sqrt(filled.last_price * filled.next_price) as price,
    coalesce(items.category, '') as category
from filled
cross join records
left join read_parquet($items) as items on filled.item_id = items.item_id
where abs(ln(filled.last_price / filled.next_price)) < 0.01
order by filled.item_id, filled.week
"""

CUSTOMERS = """
with lines as (
    select
        user_id, item_id, purchase_count, view_count + purchase_count as touches,
        case when unit_count > 0 and spend > 0 then spend / unit_count end as paid
    from read_parquet($days)
    where view_count + purchase_count > 0 and event_date < $until
),
usual as (select item_id, median(paid) as price from lines group by item_id having count(paid) > 0),
ranked as (
    select
        usual.item_id, usual.price,
        percent_rank() over (partition by coalesce(items.category, '') order by usual.price) as place
    from usual left join read_parquet($items) as items on usual.item_id = items.item_id
)
select
    lines.user_id,
    cast(count(distinct lines.item_id) as double) as item_count,
    cast(sum(touches) as double) as touches,
    cast(sum(touches * ranked.place) as double) as places,
    cast(sum(purchase_count) as double) as purchases,
    cast(sum(case when paid < 0.97 * ranked.price then purchase_count else 0 end) as double) as discounted
from lines inner join ranked on lines.item_id = ranked.item_id
group by lines.user_id order by lines.user_id
"""


@dataclass(frozen=True)
class Elasticities:
    """Shrunk estimates with 95 % intervals of chance alone.

    `items`: `item_id`, `category`, `elasticity`, `low`, `high`. `categories`:
    `category`, `elasticity`, `low`, `high`, `item_count`. `shop` is the mean of the categories; NaN where no
    price ever changed.
    """

    items: pd.DataFrame
    categories: pd.DataFrame
    shop: float


def estimate_elasticities(events: str, items: str, until: datetime) -> Elasticities:
    """From landed events and the items table (patterns of Parquet files), what happened before `until`."""
    return elasticities_of(_query(CELLS, {"events": events, "items": items, "until": until}))


def elasticities_of(cells: pd.DataFrame) -> Elasticities:
    """From cells of item and week: `item_id`, `category`, `demand`, `exposure`, `price`."""
    cells = cells[(cells["exposure"] > 0) & (cells["price"] > 0)]
    item, codes = np.unique(cells["item_id"].to_numpy(dtype=object).astype(str), return_inverse=True)
    of_item = cells.groupby("item_id", sort=True)["category"].first().to_numpy(dtype=object).astype(str)
    names, group = np.unique(of_item, return_inverse=True)
    weeks = _Weeks.of(cells, np.asarray(codes, dtype=np.int64), len(item))
    group = np.asarray(group, dtype=np.int64)
    slope = weeks.fit(group, len(names))
    score, information, dispersion = weeks.evidence(slope[group])
    of_group = np.bincount(group, information, len(names))
    known = of_group > LEAST_INFORMATION
    variance = np.divide(dispersion, of_group, out=np.full(len(names), np.inf), where=known)
    shop, shop_variance, between = _pooled(slope[known], variance[known])
    category, category_variance = _shrunk(slope, variance, shop, between + shop_variance)
    # the spread of items around their category, from how much their scores vary beyond chance
    squares = float((information**2).sum())
    spread = max(0.0, float((score**2 - dispersion * information).sum()) / squares) if squares > 0 else 0.0
    precision = information / dispersion + 1.0 / max(spread, LEAST_SPREAD)
    final = category[group] + score / dispersion / precision
    final_variance = 1.0 / precision + category_variance[group]
    return Elasticities(
        _table({"item_id": item, "category": of_item}, final, final_variance),
        _table({"category": names}, category, category_variance).assign(
            item_count=np.bincount(group[information > LEAST_INFORMATION], minlength=len(names))
        ),
        shop,
    )


def price_habits(
    interactions_daily: str, items: str, until: date, prior_purchases: float = 5.0
) -> pd.DataFrame:
    """`user_id`, `price_level`, `discount_share`, `item_count`: a row per customer who touched an item."""
    found = _query(CUSTOMERS, {"days": interactions_daily, "items": items, "until": until})
    return pd.DataFrame(
        {
            "user_id": found["user_id"],
            "price_level": _shrunk_share(found["places"], found["touches"], prior_purchases),
            "discount_share": _shrunk_share(found["discounted"], found["purchases"], prior_purchases),
            "item_count": found["item_count"],
        }
    )


def price_errors(
    elasticities: Elasticities, habits: pd.DataFrame, true_items: pd.DataFrame, true_users: pd.DataFrame
) -> dict[str, float]:
    """The estimates against a simulated world's truth.

    `true_items` has `item_id`, `elasticity`; `true_users` has `user_id`, `price_taste` (0 cheap to 1 dear).
    Mean absolute errors of items and categories, of one number for all (the shop's estimate) beside them, the
    share of items whose interval holds the truth, and the rank correlation of customers' price level.
    """
    items = elasticities.items.merge(true_items, on="item_id", suffixes=("", "_true"))
    truth = items["elasticity_true"]
    categories = items.groupby("category").agg(true=("elasticity_true", "mean")).reset_index()
    pooled = elasticities.categories.merge(categories, on="category")
    users = habits.merge(true_users, on="user_id")
    return {
        "elasticity_mae": float((items["elasticity"] - truth).abs().mean()),
        "elasticity_mae_one_number": float((elasticities.shop - truth).abs().mean()),
        "elasticity_bias": float((items["elasticity"] - truth).mean()),
        "elasticity_coverage": float(((items["low"] <= truth) & (truth <= items["high"])).mean()),
        "category_elasticity_mae": float((pooled["elasticity"] - pooled["true"]).abs().mean()),
        "price_level_spearman": float(users["price_level"].corr(users["price_taste"], method="spearman")),
    }


def _shrunk_share(part: pd.Series, whole: pd.Series, prior: float) -> pd.Series:
    """part / whole, with `prior` more of the whole at everybody's share."""
    everybody = float(part.sum()) / max(float(whole.sum()), 1.0)
    return (part + prior * everybody) / (whole + prior)


@dataclass(frozen=True)
class _Weeks:
    """Cells of item and week: `codes` numbers the items, `change` is log price against the usual one."""

    codes: IntArray
    demand: FloatArray
    exposure: FloatArray
    change: FloatArray
    total: FloatArray

    @classmethod
    def of(cls, cells: pd.DataFrame, codes: IntArray, items: int) -> "_Weeks":
        demand, exposure = (cells[name].to_numpy(dtype=np.float64) for name in ("demand", "exposure"))
        price = np.log(cells["price"].to_numpy(dtype=np.float64))
        usual = np.bincount(codes, exposure * price, items) / np.bincount(codes, exposure, items)
        change = np.clip(price - usual[codes], -LARGEST_CHANGE, LARGEST_CHANGE)
        return cls(codes, demand, exposure, change, np.bincount(codes, demand, items).astype(np.float64))

    def fit(self, group: IntArray, groups: int) -> FloatArray:
        """The slope shared by the items of each group: conditional maximum likelihood, Newton's method."""
        slope = np.zeros(groups)
        for _ in range(NEWTON_STEPS):
            score, information, _ = self.evidence(slope[group])
            total = np.bincount(group, information, groups)
            known = total > LEAST_INFORMATION
            step = np.divide(np.bincount(group, score, groups), total, out=np.zeros(groups), where=known)
            slope = np.clip(slope + np.clip(step, -1.0, 1.0), -ELASTICITY_BOUND, ELASTICITY_BOUND)
        return slope

    def evidence(self, slope: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Each item's score and information at its slope, and how much wider than Poisson demand varies."""
        items = len(self.total)
        weight = self.exposure * np.exp(slope[self.codes] * self.change)
        share = weight / np.bincount(self.codes, weight, items)[self.codes]
        mean = np.bincount(self.codes, share * self.change, items)
        spread = np.bincount(self.codes, share * self.change**2, items) - mean**2
        score = np.bincount(self.codes, self.demand * self.change, items) - self.total * mean
        expected = share * self.total[self.codes]
        residual = (self.demand - expected) ** 2 / np.maximum(expected, 1e-9)
        freedom = max(int((expected > 0).sum()) - items, 1)
        dispersion = max(1.0, float(residual[expected > 0].sum()) / freedom)
        return score, np.maximum(self.total * spread, 0.0), dispersion


def _pooled(values: FloatArray, variances: FloatArray) -> tuple[float, float, float]:
    """Random-effects mean, its variance, and the variance between (DerSimonian & Laird 1986)."""
    if len(values) == 0:
        return float("nan"), float("inf"), float("nan")
    weights = 1.0 / variances
    mean = float(weights @ values / weights.sum())
    excess = float(weights @ (values - mean) ** 2) - (len(values) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    between = max(0.0, excess / scale) if scale > 0 else 0.0
    weights = 1.0 / (variances + between)
    return float(weights @ values / weights.sum()), float(1.0 / weights.sum()), between


def _shrunk(
    values: FloatArray, variances: FloatArray, prior: float, prior_variance: float
) -> tuple[FloatArray, FloatArray]:
    """Normal posterior; the prior alone where there is no information."""
    own = np.where(np.isfinite(variances), 1.0 / variances, 0.0)
    before = 1.0 / max(prior_variance, LEAST_SPREAD)
    variance = 1.0 / (own + before)
    return np.asarray(variance * (own * values + before * prior)), np.asarray(variance)


def _table(keys: dict[str, npt.NDArray[np.object_]], value: FloatArray, variance: FloatArray) -> pd.DataFrame:
    reach = Z * np.sqrt(variance)
    return pd.DataFrame({**keys, "elasticity": value, "low": value - reach, "high": value + reach})


def _query(sql: str, values: Mapping[str, object]) -> pd.DataFrame:
    with duckdb.connect(config={"threads": 2}) as connection:
        return connection.execute(sql, values).df()
