"""Datasets, splits, models, metrics, the promotion gate and model files.

Here: pure functions over frames and arrays, `(data, config, seed) -> model`, and two seams to the outside,
`registry` (MLflow) and `artifacts` (model and release files). Not here: the environment, Dagster or BentoML
(they are `orchestration` and `serving`), feature definitions (`feature_repo`), SQL (`transforms`).
"""
