{# An aggregate: the first `length` values of `value` in the order of the number `place`, as 'a > b > c'. #}
{% macro joined_path(value, place, length) -%}
    {{ return(adapter.dispatch('joined_path', 'attune')(value, place, length)) }}
{%- endmacro %}

{% macro duckdb__joined_path(value, place, length) -%}
    string_agg({{ value }}, ' > ' order by {{ place }}) filter (where {{ place }} <= {{ length }})
{%- endmacro %}

{% macro spark__joined_path(value, place, length) -%}
    array_join(
        transform(
            array_sort(collect_list(struct({{ place }} as place, {{ value }} as value)) filter (
                where {{ place }} <= {{ length }} and {{ value }} is not null
            )),
            entry -> entry.value
        ),
        ' > '
    )
{%- endmacro %}
