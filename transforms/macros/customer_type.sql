{#
    Who a customer is to the shop on a day: a customer has ordered on an earlier day, a prospect is known but
    has not, anonymous is nobody known.
#}
{% macro customer_type(user_id, first_order_at, day) -%}
    case
        when {{ user_id }} is null then 'anonymous'
        when {{ first_order_at }} < cast({{ day }} as {{ var('instant_type') }}) then 'customer'
        else 'prospect'
    end
{%- endmacro %}
