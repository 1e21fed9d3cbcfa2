with

days as (

    select max(event_date) as last_day from {{ ref('int_baskets_daily') }}

),

pairs_daily as (

    select pairs.*
    from {{ ref('int_item_pairs_daily') }} as pairs
    cross join days
    where {{ in_pair_window('days.last_day') }}

),

baskets as (

    select counted.relation, cast(sum(counted.basket_count) as bigint) as basket_count
    from {{ ref('int_baskets_daily') }} as counted
    cross join days
    where {{ in_pair_window('days.last_day') }}
    group by counted.relation

),

totals as (

    select relation, item_id, other_item_id, cast(sum(pair_count) as bigint) as pair_count
    from pairs_daily
    group by relation, item_id, other_item_id
    having sum(pair_count) >= {{ var('pair_count_floor') }} or item_id = other_item_id

),

items as (

    select relation, item_id, pair_count as item_count
    from totals
    where item_id = other_item_id

),

both_ways as (

    select relation, item_id, other_item_id, pair_count
    from totals
    where item_id <> other_item_id

    union all

    select relation, other_item_id as item_id, item_id as other_item_id, pair_count
    from totals
    where item_id <> other_item_id

),

measured as (

    select
        both_ways.relation,
        both_ways.item_id,
        both_ways.other_item_id,
        both_ways.pair_count,
        baskets.basket_count,
        items.item_count,
        others.item_count as other_count,
        1.0 * both_ways.pair_count / baskets.basket_count as support,
        1.0 * both_ways.pair_count * baskets.basket_count / items.item_count / others.item_count as lift,
        1.0 * both_ways.pair_count / items.item_count as confidence
    from both_ways
    inner join items on both_ways.relation = items.relation and both_ways.item_id = items.item_id
    inner join items as others
        on both_ways.relation = others.relation and both_ways.other_item_id = others.item_id
    inner join baskets on both_ways.relation = baskets.relation

),

ranked as (

    select
        *,
        row_number() over (
            partition by relation, item_id order by pair_count desc, lift desc, other_item_id asc
        ) as pair_rank
    from measured

)

select
    -- ids
    item_id,
    other_item_id,

    -- strings
    relation,

    -- numerics
    cast(pair_rank as bigint) as pair_rank,
    pair_count,
    basket_count,
    item_count,
    other_count,
    cast(support as double) as support,
    cast(lift as double) as lift,
    cast(confidence as double) as confidence
from ranked
where pair_rank <= {{ var('pairs_per_item') }}
