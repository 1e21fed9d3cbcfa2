"""What Alembic runs: the migrations, on the connection and in the transaction that it is handed."""

from alembic import context

from serving.store import all_tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=all_tables(),
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
