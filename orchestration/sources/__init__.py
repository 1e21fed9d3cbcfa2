"""Where events, items and customers come from: one adapter a module, all shaped like ``base.Source``.

An adapter reads and renames; it does not validate, land or drop. What a row means goes here, whether it
keeps the contract is ``feature_repo.validation``, and where it is written is ``orchestration.landing``.
"""
