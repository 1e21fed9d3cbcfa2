with

landed as (

    select * from {{ source('landing', 'items') }}

)

select
    -- ids
    item_id,

    -- strings
    title,
    category_path,
    nullif(trim({{ dbt.split_part('category_path', "'>'", 1) }}), '') as category,
    nullif(trim({{ dbt.split_part('category_path', "'>'", -1) }}), '') as leaf_category,
    brand,
    description,
    attributes,

    -- numerics
    price,
    cost,
    cast(stock as bigint) as stock,

    -- timestamps
    first_seen_at
from landed
