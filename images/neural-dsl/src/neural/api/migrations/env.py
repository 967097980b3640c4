"""Alembic's environment: it is given a connection by neural.api.migrate."""

from __future__ import annotations

from alembic import context

from neural.api.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
