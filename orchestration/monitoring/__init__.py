"""Watching the shop's daily figures: what is expected of a day, what differs, and who is told.

`baseline` is pure arithmetic, `series` reads what is watched, `alerts` keeps the ledger of what is open, and
`delivery` tells people. Not here: rules that a table must keep (dbt tests, `orchestration.quality`), and
figures of the running service, which Prometheus watches (`docker/prometheus`).
"""
