{# An aggregate: the first `length` values of `value` in the order of `latest` descending, then `value`. #}
{% macro ordered_array(value, latest, length) -%}
    {{ return(adapter.dispatch('ordered_array', 'attune')(value, latest, length)) }}
{%- endmacro %}

{% macro duckdb__ordered_array(value, latest, length) -%}
    {#- sorting a list of pairs is three times as fast as list(... order by ...) #}
    list_transform(
        list_sort(list({'rank': -epoch_us({{ latest }}), 'value': {{ value }}}))[1:{{ length }}],
        lambda entry: entry['value']
    )
{%- endmacro %}

{% macro spark__ordered_array(value, latest, length) -%}
    slice(
        transform(
            array_sort(collect_list(struct(-unix_micros({{ latest }}) as rank, {{ value }} as value))),
            entry -> entry.value
        ),
        1, {{ length }}
    )
{%- endmacro %}
