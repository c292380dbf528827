"""The tables of a store in a database: made, upgraded, and held against what the migrations add up to in SQLite."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cache
from typing import Any, TypeAlias

from ... import __version__
from ...errors import StoreError
from ...prompts import asset_folder
from ..database import NoStore
from ..migrations import Migration, new_database, statements_of
from ..sqlite import SqliteDatabase
from .connections import SCHEMA
from .dialect import changing_statements, schema_statements
from .transactions import ROWID, PgConnection, PostgresDatabase, read_shapes, reseal

Part: TypeAlias = tuple[Any, ...]
"""A part of a schema: its kind, its name, and what it is like."""
_WHOLE_BYTES = 8_160
"""Bytes up to which a row stays in one piece, as many as can be.

By itself PostgreSQL compresses what is longer than 2,000, once more where it is compressed already, and puts it into
another table: half of its time for a write.
"""
_KINDS = {"INTEGER": "bigint", "REAL": "double precision", "BLOB": "bytea", "TEXT": "text"}


def present_number(conn: PgConnection) -> int:
    """The last migration of the store; 0 where there is none."""
    (there,) = conn.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.migrations"]).fetchone() or (None,)
    if not there:
        return 0
    (number,) = conn.execute("SELECT max(number) FROM migrations").fetchone() or (0,)
    return int(number or 0)


def bring_up(conn: PgConnection, name: str, steps: Sequence[Migration], *, create: bool) -> None:
    """Bring the store to the schema of `steps`, inside the caller's transaction, which keeps others out.

    Raises StoreError for one that needs a later tfgrpo, and where there is none and none is to be made.
    """
    present = present_number(conn)
    check_number(conn, name, present, steps, create=create)
    missing = [step for step in steps if step.number > present]
    if not missing:
        return
    if present:
        _drop_views(conn)
        statements = [
            one for step in missing for given in statements_of(step.sql) for one in changing_statements(given)
        ]
    else:
        conn.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}".encode())
        with closing(new_database(steps)) as model:
            made = model.execute(
                "SELECT sql FROM sqlite_master WHERE type <> 'view' AND sql IS NOT NULL ORDER BY rowid"
            )
            statements = list(schema_statements([sql for (sql,) in made.fetchall()]))
    for statement in statements:
        conn.execute(statement.encode())
    _finish(conn, missing)


def check_number(conn: PgConnection, name: str, present: int, steps: Sequence[Migration], *, create: bool) -> None:
    """Refuse what cannot be opened."""
    if present > steps[-1].number:
        newest = "SELECT tfgrpo FROM migrations ORDER BY number DESC LIMIT 1"
        (needed,) = conn.execute(newest).fetchone() or ("",)
        raise StoreError(
            f"store {name} needs tfgrpo {needed} or later, this is {__version__};"
            " upgrade tfgrpo, or name another store with --store"
        )
    if not present and not create:
        raise NoStore(f"no store at {name}; `tfgrpo learn` makes one, --store or TFGRPO_STORE names another")


def _finish(conn: PgConnection, applied: Sequence[Migration]) -> None:
    for step in applied:
        conn.execute(
            "INSERT INTO migrations (number, name, tfgrpo) VALUES (%s, %s, %s)", [step.number, step.name, __version__]
        )
    for statement in statements_of((asset_folder("store") / "views.postgres.sql").read_text(encoding="utf-8")):
        conn.execute(statement.encode())
    shapes = read_shapes(conn)
    for table in shapes:
        conn.execute(f"ALTER TABLE {table} SET (toast_tuple_target = {_WHOLE_BYTES})".encode())
    PostgresDatabase(conn, lambda _: shapes).number_on()
    reseal(conn, shapes)


def _drop_views(conn: PgConnection) -> None:
    found = conn.execute("SELECT viewname FROM pg_views WHERE schemaname = %s", [SCHEMA]).fetchall()
    if found:
        conn.execute(f"DROP VIEW {', '.join(view for (view,) in found)}".encode())


def expected_schema(steps: Sequence[Migration]) -> frozenset[Part]:
    """The parts of a store of these migrations, as SQLite tells them, once in a process."""
    return _parts_of(tuple(steps))


@cache
def _parts_of(steps: tuple[Migration, ...]) -> frozenset[Part]:
    with closing(new_database(steps)) as model:
        return frozenset(_parts_of_model(model))


def _parts_of_model(db: SqliteDatabase) -> Iterator[Part]:
    found = db.execute("SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 1, 2").fetchall()
    for kind, name in found:
        columns = db.execute(f"SELECT cid, name, type, \"notnull\", pk FROM pragma_table_info('{name}')").fetchall()
        if kind == "view":
            yield "view", name, tuple(column[1] for column in columns)
            continue
        for place, column, type_, required, key in columns:
            yield "column", f"{name}.{column}", place, _KINDS[type_], bool(required or key)
        yield "key", name, tuple(column[1] for column in sorted(columns, key=lambda one: one[4]) if column[4])
        yield from _indexes_of_model(db, name)
        for _, _, parent, own, its, _, on_delete, _ in db.execute(f"PRAGMA foreign_key_list({name})").fetchall():
            yield "reference", f"{name}.{own}", f"{parent}.{its}", on_delete == "CASCADE"


def _indexes_of_model(db: SqliteDatabase, table: str) -> Iterator[Part]:
    listed = f"SELECT name, \"unique\", origin, partial FROM pragma_index_list('{table}')"
    for name, unique, origin, partial in db.execute(listed).fetchall():
        columns = tuple(one for (one,) in db.execute(f"SELECT name FROM pragma_index_info('{name}') ORDER BY seqno"))
        if origin != "pk":
            yield "index", table, columns, bool(unique), bool(partial)


_FOUND_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attnotnull, c.relkind, coalesce(l.collname, 'C')
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'v')
AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum
"""
_FOUND_INDEXES = """
SELECT t.relname, i.indisprimary, i.indisunique, i.indpred IS NOT NULL,
       (SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number)
FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
WHERE t.relnamespace = to_regnamespace(current_schema()) AND i.indisvalid
"""
_FOUND_REFERENCES = """
SELECT t.relname, a.attname, p.relname, b.attname, r.confdeltype = 'c'
FROM pg_constraint AS r JOIN pg_class AS t ON t.oid = r.conrelid JOIN pg_class AS p ON p.oid = r.confrelid
JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = r.conkey[1]
JOIN pg_attribute AS b ON b.attrelid = p.oid AND b.attnum = r.confkey[1]
WHERE r.contype = 'f' AND r.connamespace = to_regnamespace(current_schema())
"""


def found_schema(conn: PgConnection) -> frozenset[Part]:
    """The parts of the store that a connection is at."""
    return frozenset((*_found_columns(conn), *_found_indexes(conn), *_found_references(conn)))


def _found_columns(conn: PgConnection) -> Iterator[Part]:
    views: dict[str, list[str]] = {}
    places: dict[str, int] = {}
    for table, column, kind, required, sort, collation in conn.execute(_FOUND_COLUMNS).fetchall():
        if sort == "v":
            views.setdefault(table, []).append(column)
        elif column != ROWID:
            places[table] = places.get(table, -1) + 1
            plain = kind if collation == "C" else f"{kind} in the order of {collation}"
            yield "column", f"{table}.{column}", places[table], plain, required
    yield from (("view", view, tuple(columns)) for view, columns in views.items())


def _found_indexes(conn: PgConnection) -> Iterator[Part]:
    for table, primary, unique, partial, columns in conn.execute(_FOUND_INDEXES).fetchall():
        yield ("key", table, tuple(columns)) if primary else ("index", table, tuple(columns), unique, partial)


def _found_references(conn: PgConnection) -> Iterator[Part]:
    for table, own, parent, its, cascades in conn.execute(_FOUND_REFERENCES).fetchall():
        yield "reference", f"{table}.{own}", f"{parent}.{its}", cascades


def missing_parents(conn: PgConnection) -> Iterator[str]:
    """Rows that refer to a row that is not there, a line each."""
    for table, own, parent, its, _ in conn.execute(_FOUND_REFERENCES).fetchall():
        lost = f"SELECT {ROWID} FROM {table} AS one WHERE {own} IS NOT NULL AND NOT EXISTS"
        for (row,) in conn.execute(
            f"{lost} (SELECT 1 FROM {parent} AS it WHERE it.{its} = one.{own})".encode()
        ).fetchall():
            yield f"{table} row {row}: its row in {parent} is missing"


def plain_words(part: Part) -> str:
    """A part for people."""
    return f"schema: {part[0]} {re.sub('[()]', '', str(part[1]))} is not as it was made"
