select
    relation,
    count(distinct basket_id) as basket_count,
    event_date
from {{ ref('int_basket_items') }}
where {{ in_window('event_date') }} and basket_size <= {{ var('pair_basket_limit') }}
group by relation, event_date
