{# Every row fulfils every condition (a boolean expression each; unknown counts as fulfilled). #}
{% test each_row(model, conditions) %}
    select *
    from {{ model }}
    where {% for condition in conditions %}not ({{ condition }}){% if not loop.last %} or {% endif %}{% endfor %}
{% endtest %}
