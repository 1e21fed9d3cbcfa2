"""Everything shown beside recommendations: pages, content, search, messages, offers, prices, bundles.

Each core reads what is known, calls a pure function of `serving.decisions`, and leaves a receipt.
"""
