"""The statistics of experiments: pure functions of arrays of users, one module a noun.

Not here: who gets which variant (`serving.decisions.assignment`), what counts as an exposure and an outcome
(the mart `experiment_user_daily`), and when it is computed (`orchestration.experiments`).
"""
