"""Campaigns and journeys: whom to write to, what and when; the outbox, and sending from it.

Here: their definitions, planning, sending, moving customers through journeys, and `python -m
serving.campaigns`. Not here: how a message is composed and timed (`serving.pages.messages`), who is on which
list (`orchestration.audiences`), and what a campaign caused (`orchestration.analysing`).
"""
