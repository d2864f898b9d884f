"""From a URL to a store; the module of a database is loaded when it is used."""

from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import quote, unquote

from miniagents.journal._store import Store
from miniagents.journal.errors import JournalError


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """How a journal is opened; see `Journal.open`."""

    fsync: bool = False
    read_only: bool = False
    busy_timeout_s: float = 5.0
    max_bytes: int | None = None
    may_be_new: bool = True


def check_is_url(value: object, name: str) -> None:
    """Refuse what is no text, such as a `Path`: a journal is named in one way only.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"`{name}` is a URL, such as {_url_of(value)!r}, not {value!r}.")


def _url_of(value: object) -> str:
    return f"sqlite:///{quote(str(value))}" if isinstance(value, PurePath) else "sqlite:///runs.db"


def refuse_file_called_memory(url: str) -> None:
    """Refuse what looks like the memory of SQLite and would be a file; before its parameters are looked at.

    Raises:
        JournalError: `url` is `sqlite:///:memory:`, whatever follows.
    """
    kind, _, rest = url.partition("?")[0].partition("://")
    if kind == "sqlite" and unquote(rest).strip("/") == ":memory:":
        raise JournalError(
            f"{url!r} would be a file of the name ':memory:'. Use 'memory://' for a journal that ends with the process",
            place=kind,
        )


async def open_store(url: str, options: OpenOptions) -> Store:
    """Open what `url` names.

    Raises:
        JournalError: it is no URL of a journal, or cannot be opened.
    """
    kind, separator, rest = url.partition("://")
    if kind in ("postgresql", "postgres") and separator:
        from miniagents.journal._postgres import open_postgres

        return await open_postgres(url, fsync=options.fsync, busy_timeout_s=options.busy_timeout_s)
    if url == "memory://" or (kind == "sqlite" and rest.startswith("/") and len(rest) > 1):
        from miniagents.journal._sqlite import open_sqlite

        return await open_sqlite(None if kind == "memory" else Path(unquote(rest[1:])), options)
    raise JournalError(
        f"{url!r} is no URL of a journal. Use 'sqlite:///runs.db' (with a fourth slash for an absolute path), "
        "'postgresql://user@host/database' or 'memory://'",
        place=kind,
    )
