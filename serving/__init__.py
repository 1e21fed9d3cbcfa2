"""The HTTP service: requests in, reasoned answers out.

Here: the BentoML service and the mounted API (translation only), pure decisions, the reader of online
features with its deadline, the loader of releases, metrics and settings. Not here: how features are defined
(`feature_repo`), how models are trained (`training`; the service sees `training.artifacts` alone), or
anything that runs in batch (`orchestration`).
"""
