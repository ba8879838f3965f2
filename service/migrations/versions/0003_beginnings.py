"""On PostgreSQL the beginning of an id is answered by an index, as SQLite's primary key does."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision; seconds at a million accounts."""
    if op.get_bind().dialect.name == "postgresql":
        columns, ops = ["tenant", "kind", "subject"], {"subject": "text_pattern_ops"}
        op.create_index("ix_verdicts_beginning", "verdicts", columns, postgresql_ops=ops)


def downgrade() -> None:
    """Go back to the revision before."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_verdicts_beginning", "verdicts")
