"""Experiments on the serving side: definitions, who is in which arm, exposures.

Not here: the assignment itself (`serving.decisions.assignment`) and results.
"""
