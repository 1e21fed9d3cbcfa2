{# What one event adds to interaction strength: the weight of its type (var `strength_weights`). #}
{% macro strength_of_event(event_type) -%}
    case {{ event_type }}
    {%- for type, weight in var('strength_weights').items() %}
        when '{{ type }}' then {{ weight }}
    {%- endfor %}
        else 0
    end
{%- endmacro %}
