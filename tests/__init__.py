"""Everything that checks the product; nothing imports from here.

unit: no disk, no network. contracts: seams agree. integration: real engines in a temporary directory.
e2e: the whole loop. A helper shared by tests goes to `factories.py` or `fakes.py`.
"""
