"""Alembic migrations of the service's database; `Database.migrate` runs them."""
