"""Jobs and their artefacts.

Revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, server_default="queued"),
        sa.Column("request", postgresql.JSONB(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("worker", sa.Text()),
        sa.Column("result", postgresql.JSONB()),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("publications", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at", moment, nullable=False, server_default=sa.func.now()),
        sa.Column("published_at", moment, nullable=False, server_default=sa.func.now()),
        sa.Column("started_at", moment),
        sa.Column("finished_at", moment),
        sa.Column("lease_expires_at", moment),
        sa.Column("lease_token", sa.Uuid()),
        sa.CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed')", name="jobs_status"),
        sa.UniqueConstraint("owner", "idempotency_key", name="jobs_idempotency"),
    )
    op.create_index("jobs_page", "jobs", ["owner", sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_index(
        "jobs_open",
        "jobs",
        ["status", "queue", "published_at"],
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_table(
        "artifacts",
        sa.Column("job_id", sa.Uuid(), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("location", sa.Text()),
        sa.Column("content", sa.LargeBinary()),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("artifacts")
    op.drop_table("jobs")
