"""Alembic's entry: runs on the connection it is given; the package brings no configuration file."""

from alembic import context

from payments_core_sqlalchemy.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
