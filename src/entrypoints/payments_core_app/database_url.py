"""What is wrong with a database URL, said before anything connects and without a part of it: it may hold a password."""

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

__all__ = ["DATABASE_URL", "problem_of"]

DATABASE_URL = "sqlite+aiosqlite:///payments.sqlite3"
"""A file in the working directory, when nothing is said."""
_DATABASES = ("sqlite+aiosqlite:///", "postgresql+asyncpg://")
_UNREADABLE = "cannot be read; in a password write @ : / ? # [ ] as %40 %3A %2F ..."
_IN_MEMORY = "is in memory, where every connection has an empty database of its own; name a file"
_SEVERAL = frozenset({"host", "port"})
"""What may be said once for each of several servers."""
_WORDS = {
    "ssl": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}
_USUAL = ("host", "port", "user", "password", "passfile", "ssl", "target_session_attrs")
_TAKEN = frozenset(
    {*_USUAL, "direct_tls", "gsslib", "krbsrvname", "prepared_statement_cache_size", "service", "servicefile"}
)
"""What asyncpg takes as text. Time-outs are not among it: each is ours (`payments_core_sqlalchemy.store`)."""
_PORT_MAX = 65_535


def problem_of(url: str) -> str | None:
    """What to say of this URL after its name; None when it can be used."""
    if not url.startswith(_DATABASES):
        return "begins with sqlite+aiosqlite:/// or with postgresql+asyncpg://"
    try:
        made = make_url(url)
    except (ValueError, ArgumentError):
        return _UNREADABLE
    if not made.database:
        return _UNREADABLE
    return _of_sqlite(made) if made.get_backend_name() == "sqlite" else _of_postgresql(made)


def _of_sqlite(url: URL) -> str | None:
    if url.database == ":memory:":
        return _IN_MEMORY
    return "takes nothing after a ? when it names a SQLite file" if url.query else None


def _of_postgresql(url: URL) -> str | None:
    if any(name not in _TAKEN for name in url.query):
        return f"takes after its ? no other names than {', '.join(_USUAL)}; TLS is ssl=require, and not sslmode"
    for name, words in _WORDS.items():
        if url.query.get(name, words[0]) not in words:
            return f"has a {name} that is none of {', '.join(words)}"
    return None if _leads_somewhere(url) else _UNREADABLE


def _leads_somewhere(url: URL) -> bool:
    """Whether every server it names has a name and a port that can be."""
    if any(not isinstance(value, str) for name, value in url.query.items() if name not in _SEVERAL):
        return False
    try:
        _, told = url.get_dialect()().create_connect_args(url)
        for host in _each(told.get("host")):
            str(host).encode("idna" if not str(host).startswith("/") else "utf-8")
    except (ValueError, ArgumentError):
        return False
    return all(0 < int(str(port)) <= _PORT_MAX for port in _each(told.get("port")))


def _each(value: object) -> list[object]:
    """None, one or several, as a list."""
    return [*value] if isinstance(value, list | tuple) else [] if value is None else [value]
