"""The process that turns raw events into a release: sources, landing, Dagster assets, the `attune` command.

Here: what reads the environment for runs, what schedules, retries, checks and swaps, and the command line.
Not here: SQL (`transforms`), feature definitions (`feature_repo`), models and metrics (`training`), answers
(`serving`, which is named by string and never imported).
"""
