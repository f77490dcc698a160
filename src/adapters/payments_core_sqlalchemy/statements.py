"""Statements compiled once, and many rows in one statement.

What SQLAlchemy costs is not the SQL but the work around every execution of it (several times the driver's own), so a
statement of the hot paths is built from the same tables, compiled once for each dialect, and handed to the driver as
text and values. Rarely used statements go through SQLAlchemy as ever, on the same connection (`session.py`).

On PostgreSQL many rows are one JSON document: the text is the same for one row and for a hundred, so its plan is
prepared once, and the driver has one value to encode instead of hundreds. On SQLite they are `executemany`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cached_property
from operator import itemgetter
from typing import Any

import attrs
import msgspec
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Executable,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine

from payments_core_sqlalchemy.tables import Utc

__all__ = [
    "Compiled",
    "Row",
    "Statement",
    "Write",
    "any_key_of",
    "any_of",
    "document",
    "insert",
    "keys_document",
    "update_by",
    "upsert",
    "written_out",
]

Row = dict[str, Any]
_Convert = Callable[[Any], Any]


# ── one of many values ────────────────────────────────────────────────────────────────────────────────────────────────
class _Many(TypeDecorator[list[str]]):
    """A list as one value: an array on PostgreSQL, JSON on SQLite."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """What the dialect calls a list."""
        return dialect.type_descriptor(ARRAY(String()) if dialect.name == "postgresql" else JSON())


class any_of(ColumnElement[bool]):  # noqa: N801 - reads like the operator it is
    """Whether the column is one of the values given under a name; unlike IN its text does not grow with them."""

    type = Boolean()
    inherit_cache = False

    def __init__(self, column: Column[Any], name: str) -> None:
        self.column, self.values = column, bindparam(name, type_=_Many())

    def self_group(self, against: object = None) -> "any_of":  # noqa: ARG002 - SQLAlchemy's own
        """As it is: where SQLAlchemy writes `… = 1` around it, SQLite uses no index."""
        return self


@compiles(any_of)
def _any_of_json(element: any_of, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    column, values = (compiler.process(part, **options) for part in (element.column, element.values))
    return f"{column} IN (SELECT value FROM json_each({values}))"


@compiles(any_of, "postgresql")
def _any_of_array(element: any_of, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    column, values = (compiler.process(part, **options) for part in (element.column, element.values))
    return f"{column} = ANY ({values})"


class any_key_of(ColumnElement[bool]):  # noqa: N801 - reads like the operator it is
    """Whether the columns are one of the keys given under a name, as one JSON document (`keys_document`)."""

    type = Boolean()
    inherit_cache = False

    def __init__(self, columns: Sequence[Column[Any]], name: str) -> None:
        self.columns, self.values = columns, bindparam(name, type_=Text())

    def self_group(self, against: object = None) -> "any_key_of":  # noqa: ARG002 - SQLAlchemy's own
        """As it is."""
        return self

    def written(self, compiler: Any, part: str, source: str, options: Mapping[str, Any]) -> str:  # noqa: ANN401
        """The condition, with each part of a key taken from the document in these words."""
        columns = ", ".join(compiler.process(column, **options) for column in self.columns)
        parts = ", ".join(part.format(position) for position in range(len(self.columns)))
        values = compiler.process(self.values, **options)
        return f"({columns}) IN (SELECT {parts} FROM {source.format(values)})"


@compiles(any_key_of)
def _any_key_sqlite(element: any_key_of, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    return element.written(compiler, "json_extract(value, '$[{}]')", "json_each({})", options)


@compiles(any_key_of, "postgresql")
def _any_key_postgresql(element: any_key_of, compiler: Any, **options: Any) -> str:  # noqa: ANN401 - SQLAlchemy's own
    return element.written(compiler, "k ->> {}", "json_array_elements({}::json) AS k", options)


def keys_document(keys: Iterable[Sequence[str]]) -> str:
    """Keys as `any_key_of` reads them."""
    return msgspec.json.encode([*keys]).decode()


def written_out(word: Enum) -> ColumnElement[str]:
    """The word as part of the statement, not as a value of it: a plan that is made once uses a partial index."""
    return literal_column(f"'{word.value}'", String)


# ── compiled once ─────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class Compiled:
    """A statement in one dialect: its text, its values in order, and what has to be converted on the way.

    Shape: `constants` are the values that were written into the statement itself.
    """

    text: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]
    bind: Mapping[str, _Convert]
    columns: tuple[str, ...]
    read: tuple[tuple[str, _Convert], ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values as the driver takes them."""
        bind, given = self.bind, {**self.constants, **values}
        return [bind[name](given[name]) if name in bind else given[name] for name in self.names]

    def rows(self, records: Iterable[Sequence[Any]]) -> list[Row]:
        """The rows a driver gave, by column name, as Python values."""
        columns, read = self.columns, self.read
        rows = [dict(zip(columns, record, strict=True)) for record in records]
        for name, convert in read:
            for row in rows:
                if row[name] is not None:
                    row[name] = convert(row[name])
        return rows


class Statement:
    """A Core statement that is compiled once for each dialect."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[str, Compiled] = {}

    def for_(self, dialect: Dialect) -> Compiled:
        """The statement in this dialect."""
        known = self._compiled.get(dialect.name)
        return known if known is not None else self._compile(dialect)

    def _compile(self, dialect: Dialect) -> Compiled:
        compiled: Any = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        names = tuple(compiled.positiontup)
        constants = {name: compiled.params[name] for name in names if compiled.binds[name].value is not None}
        bind = {name: convert for name in names if (convert := _binder(compiled.binds[name].type, dialect))}
        columns = [*getattr(self._statement, "exported_columns", [])]
        read = [(column.name, convert) for column in columns if (convert := _reader(column.type, dialect))]
        made = Compiled(compiled.string, names, constants, bind, tuple(column.name for column in columns), tuple(read))
        self._compiled[dialect.name] = made
        return made


def _binder(kind: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    if isinstance(kind, Utc):  # the driver of PostgreSQL takes aware moments as they are
        return None if dialect.name == "postgresql" else Utc.to_text
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reader(kind: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    if isinstance(kind, Utc) and dialect.name == "postgresql":
        return None  # and gives them in UTC
    return kind.dialect_impl(dialect).result_processor(dialect, None)


# ── many rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@attrs.define(eq=False, slots=False)
class Write:
    """One statement that writes any number of rows of one table.

    Shape: `columns` are taken from every row, under these names; `verb` and `tail` are the words around the rows, with
    `{table}` and, in an UPDATE, `r` for the row given.
    """

    table: Table
    columns: tuple[tuple[str, TypeEngine[Any]], ...]
    sets: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    conflict: str = ""
    returning: tuple[str, ...] = ()
    _texts: dict[tuple[str, int], str] = attrs.field(factory=dict, init=False)
    _binders: dict[str, list[tuple[int, _Convert]]] = attrs.field(factory=dict, init=False)

    # ── PostgreSQL: one document ──
    def text_of_document(self, first: int) -> str:
        """The statement whose document is the parameter with this number, and the next one how many rows it has.

        The planner would take any document for a hundred rows, and read a table of thousands from end to end for them.
        """
        key = ("document", first)
        if key not in self._texts:
            kinds = ", ".join(f'"{name}" {_type(kind)}' for name, kind in self.columns)
            rows = f"SELECT * FROM json_to_recordset(${first}::json) AS r ({kinds}) LIMIT ${first + 1}::int"
            self._texts[key] = self._of_document(f"({rows}) AS r")
        return self._texts[key]

    def _of_document(self, rows: str) -> str:
        if not self.where:
            names, given = ", ".join(f'"{name}"' for name, _ in self.columns), ", ".join(map(_given, self.columns))
            return f"INSERT INTO {self.table.name} ({names}) SELECT {given} FROM {rows} {self._end()}"
        sets = ", ".join(f'"{name}" = {_given((name, kind))}' for name, kind in self.columns if name in self.sets)
        where = " AND ".join(f'{self.table.name}."{column}" = r."{name}"' for column, name in self.where)
        return f"UPDATE {self.table.name} SET {sets} FROM {rows} WHERE {where} {self._end()}"

    # ── SQLite: one row after another ──
    def tuples(self, dialect: Dialect, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """The values of each row in the order of the columns."""
        columns: list[Any] = [*zip(*map(self._values, rows), strict=True)]
        for position, convert in self._bind(dialect):
            columns[position] = [*map(convert, columns[position])]
        return [*zip(*columns, strict=True)]

    def text_of_row(self) -> str:
        """The statement for one row after another."""
        key = ("row", 1)
        if key not in self._texts:
            place = {name: f"?{number}" for number, (name, _) in enumerate(self.columns, 1)}
            if self.where:
                sets = ", ".join(f'"{name}" = {place[name]}' for name in self.sets)
                where = " AND ".join(f'"{column}" = {place[name]}' for column, name in self.where)
                self._texts[key] = f"UPDATE {self.table.name} SET {sets} WHERE {where} {self._end()}"
            else:
                names, values = ", ".join(f'"{name}"' for name in place), ", ".join(place.values())
                self._texts[key] = f"INSERT INTO {self.table.name} ({names}) VALUES ({values}) {self._end()}"
        return self._texts[key]

    def _end(self) -> str:
        returning = ", ".join(f'{self.table.name}."{name}"' for name in self.returning)
        return f"{self.conflict} {f'RETURNING {returning}' if returning else ''}".strip()

    @cached_property
    def _values(self) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
        return itemgetter(*(name for name, _ in self.columns))

    def _bind(self, dialect: Dialect) -> list[tuple[int, _Convert]]:
        """The columns, by position, whose values the driver does not take as they are."""
        if dialect.name not in self._binders:
            kinds = (_binder(kind, dialect) for _, kind in self.columns)
            self._binders[dialect.name] = [(position, kind) for position, kind in enumerate(kinds) if kind is not None]
        return self._binders[dialect.name]

    def read(self, dialect: Dialect, records: Iterable[Sequence[Any]]) -> list[Row]:
        """What RETURNING gave, by column name, as Python values."""
        columns = [self.table.c[name] for name in self.returning]
        read = [(column.name, convert) for column in columns if (convert := _reader(column.type, dialect))]
        return Compiled("", (), {}, {}, self.returning, tuple(read)).rows(records)


def insert(table: Table, *, conflict: str = "") -> Write:
    """New rows of this table."""
    return Write(table, _columns(table), conflict=conflict)


def upsert(table: Table) -> Write:
    """Rows of this table, each new or written over the one with its key."""
    key = [column.name for column in table.primary_key.columns]
    sets = ", ".join(f'"{c.name}" = excluded."{c.name}"' for c in table.columns if c.name not in key)
    names = ", ".join(f'"{name}"' for name in key)
    return Write(table, _columns(table), conflict=f"ON CONFLICT ({names}) DO UPDATE SET {sets}")


def update_by(table: Table, key: Mapping[str, str], sets: Sequence[str], *, returning: tuple[str, ...] = ()) -> Write:
    """These columns of the rows whose key columns equal the values under the names given for them."""
    columns = {name: table.c[name].type for name in sets} | {name: table.c[c].type for c, name in key.items()}
    where = tuple(key.items())
    return Write(table, tuple(columns.items()), sets=tuple(sets), where=where, returning=returning)


def _columns(table: Table) -> tuple[tuple[str, TypeEngine[Any]], ...]:
    return tuple((column.name, column.type) for column in table.columns)


def document(rows: Sequence[Mapping[str, Any]]) -> tuple[str, int]:
    """The rows as PostgreSQL reads them back, by name, and their number; bytes are in base 64.

    Errors: TypeError for a value JSON cannot say; UnicodeEncodeError for half a character.
    """
    return msgspec.json.encode(rows).decode(), len(rows)


def _given(column: tuple[str, TypeEngine[Any]]) -> str:
    name, kind = column
    return f"decode(r.\"{name}\", 'base64')" if isinstance(kind, LargeBinary) else f'r."{name}"'


def _type(kind: TypeEngine[Any]) -> str:
    names = (
        (Utc, "timestamptz"),
        (BigInteger, "bigint"),
        (Integer, "int"),
        (Boolean, "boolean"),
        (JSON, "jsonb"),
    )
    return next((name for of, name in names if isinstance(kind, of)), "text")
