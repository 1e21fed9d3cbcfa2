"""Alembic's migrations of the operational store; `serving.store.schema` runs and writes them."""
