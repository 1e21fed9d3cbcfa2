"""Data rules where data crosses a boundary: raw events in, training frame, predictions out.

What SQL can say about tables that dbt builds is a dbt test, not a rule here.
"""
