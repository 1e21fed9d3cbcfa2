{#
    Method of attribution -> the share of an order that a touch gets, from `touch_number` (1: the first) of
    `touch_count`, and `decay` of `decay_sum`. By position: 40 % the first, 40 % the last, the rest between.
#}
{% macro attribution_methods() -%}
    {{ return({
        'first_touch': 'case when touch_number = 1 then 1.0 else 0.0 end',
        'last_touch': 'case when touch_number = touch_count then 1.0 else 0.0 end',
        'linear': '1.0 / touch_count',
        'position_based': (
            'case when touch_count <= 2 then 1.0 / touch_count'
            ' when touch_number in (1, touch_count) then 0.4 else 0.2 / (touch_count - 2) end'
        ),
        'time_decay': 'decay / decay_sum'
    }) }}
{%- endmacro %}
