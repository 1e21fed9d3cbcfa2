"""What is held of people, and their rights: customers, preferences, consent, identities, export, erasure.

Here too: what is told about one person (profile, history, insights). Not here: decisions.
"""
