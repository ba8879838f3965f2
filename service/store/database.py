"""The engine, transactions that say whether they write, and migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    Executable,
    Table,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from kdguard.errors import ServiceError

_BUSY_MS = 5_000
PATIENCE_S = 20.0
"""For so long a connection to PostgreSQL waits for a word; then the request is told 503, and nothing hangs."""
_WRITES = {"kdguard_writes": True}
_TOO_LONG = "57014"
"""SQLSTATE of a statement that the server ended (PostgreSQL, appendix A)."""


class Database:
    """A database of the service.

    Args:
        url: A SQLAlchemy URL: `sqlite:////folder/file.db` or `postgresql+pg8000://user@host/name`.

    Raises:
        ServiceError: The URL is neither.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except ArgumentError as error:
            raise ServiceError(
                "the database must be named by a SQLAlchemy URL, sqlite or postgresql"
            ) from error
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if not self.is_sqlite and self.url.get_backend_name() != "postgresql":
            raise ServiceError(
                f"the database must be sqlite or postgresql, got {self.url.get_backend_name()}"
            )
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+pg8000")
        if self.is_sqlite:
            self.engine: Engine = create_engine(self.url, pool_size=16)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = _postgres(self.url, pool_size=16, **_patient())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with _told_as_ours(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; where there is one writer at a time, it waits for its turn at the start."""
        with (
            _told_as_ours(),
            self.engine.connect().execution_options(**_WRITES) as connection,
            connection.begin(),
        ):
            yield connection

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to this version's form, or to an earlier one's.

        Raises:
            ServiceError: The database cannot be reached, or is of a later version.
        """
        # without the limits on time: to build an index may take long
        engine = self.engine if self.is_sqlite else _postgres(self.url, poolclass=NullPool)
        try:
            with engine.connect().execution_options(**_WRITES) as connection, connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(7237283)"))
                config = _config()
                known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
                now = MigrationContext.configure(connection).get_current_revision()
                if now is not None and now not in known:
                    raise ServiceError(
                        f"the database is of a later kdguard (revision {now}); upgrade kdguard"
                    )
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        except (OperationalError, InterfaceError) as error:
            raise ServiceError(f"the database cannot be reached: {type(error.orig).__name__}") from error

    def behind(self) -> str | None:
        """Why the tables are not of this version; None if they are."""
        head = ScriptDirectory.from_config(_config()).get_current_head()
        with self.read() as connection:
            now = MigrationContext.configure(connection).get_current_revision()
        return None if now == head else f"the database is at revision {now}, this version needs {head}"

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def upsert(connection: Connection, table: Table, rows: list[dict[str, Any]], update: list[str]) -> None:
    """Insert rows, or set the columns `update` of those whose primary key is there already."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    connection.execute(_upsert(connection.dialect, table, keys, update), rows)


def _upsert(dialect: Dialect, table: Table, keys: list[str], update: list[str]) -> Executable:
    if dialect.name == "sqlite":
        lite = sqlite.insert(table)
        return lite.on_conflict_do_update(keys, set_={name: lite.excluded[name] for name in update})
    full = postgresql.insert(table)
    return full.on_conflict_do_update(
        index_elements=keys, set_={name: full.excluded[name] for name in update}
    )


def _config() -> Config:
    config = Config()
    folder = resources.files("kdguard.service.migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _postgres(url: URL, **options: Any) -> Engine:
    engine = create_engine(url, **options)
    event.listen(engine, "handle_error", _give_up)
    return engine


def _patient() -> dict[str, Any]:
    """Limits on time: a server that is gone, frozen or overloaded must not keep threads for ever."""
    statement_ms = round(
        PATIENCE_S * 900
    )  # ended by the server itself, if it can, before the connection gives up
    told = {"timeout": PATIENCE_S, "startup_params": {"statement_timeout": str(statement_ms)}}
    return {"pool_pre_ping": True, "pool_timeout": 5, "connect_args": told}


def _give_up(context: ExceptionContext) -> Exception | None:
    """A connection that broke off in the middle is not used again: what the server still sends would answer another.

    pg8000 calls it an error of the program when a server that starts or stops takes no connection, and when one ends
    a statement that took too long.
    """
    error = context.original_exception
    if not isinstance(error, OSError) and context.connection is not None and not _took_too_long(error):
        return None
    context.is_disconnect = True
    return OperationalError("", None, error)


def _took_too_long(error: BaseException) -> bool:
    told = error.args[0] if error.args else None
    return isinstance(told, dict) and told.get("C") == _TOO_LONG


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """pg8000 lets an error of the socket through as it is; nothing else in here waits for one."""
    try:
        yield
    except (TimeoutError, ConnectionError) as error:
        raise OperationalError("", None, error) from error


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit that was answered survives a power cut
        "foreign_keys=ON",
        "secure_delete=ON",  # a destroyed key leaves no copy in a free page
        f"busy_timeout={_BUSY_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("kdguard_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
