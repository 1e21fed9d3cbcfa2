{# The id of the session that a visitor began at an instant. #}
{% macro session_key(visitor_id, started_at) -%}
    {{ hash_key([visitor_id, epoch_micros(started_at)]) }}
{%- endmacro %}
