{# `columns` together identify a row: none is null, no combination comes twice. Fails with the offending keys. #}
{% test is_key(model, columns) %}
    select
        {{ columns | join(', ') }},
        count(*) as row_count
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1 {% for column in columns %}or {{ column }} is null {% endfor %}
{% endtest %}
