"""Run by alembic: migrations go over the connection that ``stores.engine.migrate`` opened."""

from __future__ import annotations

from alembic import context

from haulout.broker.stores.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
