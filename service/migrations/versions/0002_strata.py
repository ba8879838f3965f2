"""Lists of one stratum are answered by an index."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision; seconds at a million accounts."""
    op.create_index("ix_verdicts_stratum", "verdicts", ["tenant", "kind", "stratum", "rank", "subject"])


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index("ix_verdicts_stratum", "verdicts")
