"""Run by alembic: migrations go over the connection that ``stores.engine.migrate`` opened."""

from __future__ import annotations

from alembic import context

from haulout.broker.stores.tables import metadata

# Absent where the module is imported by anybody else.
if hasattr(context, "config"):
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    context.run_migrations()
