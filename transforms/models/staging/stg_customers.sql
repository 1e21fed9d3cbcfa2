with

landed as (

    select * from {{ source('landing', 'customers') }}

)

select
    -- ids
    user_id,

    -- strings
    gender,
    location,
    attributes,

    -- numerics
    cast(age as bigint) as age,

    -- timestamps
    created_at
from landed
