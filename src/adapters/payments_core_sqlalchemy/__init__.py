"""The store over SQLAlchemy Core: SQLite for one process, PostgreSQL for many."""

from payments_core_sqlalchemy.history import Head
from payments_core_sqlalchemy.migrate import (
    NewerSchema,
    current_revision,
    head_revision,
    known_revisions,
    migrate,
    migrate_async,
    newer_schema,
)
from payments_core_sqlalchemy.outbox import SqlOutbox
from payments_core_sqlalchemy.own_orders import OwnOrdersStore
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.survey import SqlSurvey
from payments_core_sqlalchemy.turns import SqlTurns
from payments_core_sqlalchemy.verify import Page, against_anchor, verified_pages

__all__ = [
    "Head",
    "NewerSchema",
    "OwnOrdersStore",
    "Page",
    "SqlOutbox",
    "SqlStore",
    "SqlSurvey",
    "SqlTurns",
    "against_anchor",
    "current_revision",
    "head_revision",
    "known_revisions",
    "migrate",
    "migrate_async",
    "newer_schema",
    "verified_pages",
]
