"""The store over SQLAlchemy Core: SQLite for one process, PostgreSQL for many."""

from payments_core_sqlalchemy.migrate import current_revision, head_revision, migrate
from payments_core_sqlalchemy.store import SqlStore

__all__ = ["SqlStore", "current_revision", "head_revision", "migrate"]
