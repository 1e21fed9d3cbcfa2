"""A shop's world with a known truth: who likes what, who is still alive, what a price does.

Belongs here: drawing the world (catalogue, population, calendar), living it block by block (visits,
messages), and writing what the shop would have received (drops) and what only evaluation may know (truth).
Nothing here knows how events are landed; ``orchestration.sources.simulator`` reads the drops like any
other input.
"""
