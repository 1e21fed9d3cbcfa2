"""Who may call what, how much, and how often: keys, access rules, limits of bodies and rates.

Not here: what may be done with a person (`serving.people`).
"""
