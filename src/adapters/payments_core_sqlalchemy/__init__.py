"""The store over SQLAlchemy Core: SQLite for one process, PostgreSQL for many."""

from payments_core_sqlalchemy.history import Head
from payments_core_sqlalchemy.migrate import NewerSchema, current_revision, head_revision, migrate, newer_schema
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.verify import Page, against_anchor, verified_pages

__all__ = [
    "Head",
    "NewerSchema",
    "Page",
    "SqlStore",
    "against_anchor",
    "current_revision",
    "head_revision",
    "migrate",
    "newer_schema",
    "verified_pages",
]
