"""What Alembic runs: on the connection it is given, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from kdguard.service.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
context.run_migrations()
