"""Candidate sources: what might a user take next, each told by one simple method.

A source is a frozen config with a `name` and `fit(history, seed) -> Scorer`; the scorer gives dense blocks of
scores, so that `training.top_items` ranks every source alike. All input is a `History` of positions: no ids,
no files, no clock. Adding a source: a config here and one line in `portfolio.py`. Putting sources together
belongs to `training.candidate_table` (features), `training.ranker` and `training.two_stage`.
"""
