"""What `MiniAgents(journal=..., run_id=..., ...)` means."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import PurePath
from typing import Any, get_args

from miniagents._mini_agents import MiniAgents
from miniagents.errors import UnknownSettingError
from miniagents.journal._interceptor import JournalInterceptor, OpenRun
from miniagents.journal._memoizing import InFlight
from miniagents.journal._opening import check_is_url
from miniagents.journal._outcomes import OnStoreError
from miniagents.journal.journal import Journal, OnBusyRun
from miniagents.journal.records import EndState, FinishedCall, StartedCall
from miniagents.journal.run_journal import Durability, RunJournal


def journal_extension(settings: Mapping[str, Any], mini_agents: MiniAgents) -> JournalInterceptor | None:
    """Give what records the calls of a context, and answers them, for `MiniAgents(journal=..., run_id=..., ...)`.

    `settings` may have:
    - `journal`: a URL (see `Journal.open`), a `Journal`, which stays open when the context ends, a cassette (see
      `Cassette`) or the name of a file that ends in `.jsonl`, which is one; None: nothing is recorded.
    - `run_id`: the name of the run; the same program started again with the same name goes on where it was cut off. By
      default a new name for each time.
    - `durability`: "step" (default), "lazy" or "end", see `Durability`; not of a cassette.
    - `fsync`: whether what is committed survives a power failure, too; by default it survives `kill -9`. With
      a URL only.
    - `on_store_error`: whether an error of the store, the program's own work being well, is told to the log ("report",
      by default) or raised where the program waits ("raise").
    - `on_busy_run`: whether a run that another process holds is refused ("refuse", by default) or taken over ("fence");
      not of a cassette.
    - `mode`: of a cassette: "record", "replay" or "auto".

    Raises:
        UnknownSettingError: there is one of these without a `journal`, or with one that has no such thing.
        TypeError, ValueError: one is not what it should be; says what it takes.
    """
    given = dict(settings)
    journal = given.pop("journal", None)
    if journal is None:
        if given:
            raise UnknownSettingError(
                f"`{next(iter(given))}` says something of a journal, and there is none: add "
                '`journal="sqlite:///runs.db"`.'
            )
        return None
    run_id = _text(given.get("run_id"), "run_id")
    durability: Durability = _one_of(given.get("durability"), "durability", get_args(Durability))
    on_store_error: OnStoreError = _one_of(given.get("on_store_error"), "on_store_error", get_args(OnStoreError))
    on_busy_run: OnBusyRun = _one_of(given.get("on_busy_run"), "on_busy_run", get_args(OnBusyRun))
    fsync = given.get("fsync", False)
    if not isinstance(fsync, bool):
        raise TypeError(f"`fsync` is True or False, not {fsync!r}.")
    begin_run = _beginning(journal, given, durability=durability, on_busy_run=on_busy_run, fsync=fsync)
    return JournalInterceptor(
        mini_agents, begin_run, run_id=run_id, durability=durability, on_store_error=on_store_error
    )


def _beginning(
    journal: object, given: Mapping[str, Any], *, durability: Durability, on_busy_run: OnBusyRun, fsync: bool
) -> Callable[[str], Awaitable[OpenRun]]:
    """Give what begins a run of a name."""
    from miniagents.journal.cassette import cassette_of

    cassette = cassette_of(journal, given.get("mode"))
    if cassette is not None:
        for name in ("durability", "fsync", "on_busy_run"):
            if given.get(name) is not None:
                raise UnknownSettingError(
                    f"`{name}={given[name]!r}` is for journals in a database, and '{cassette.path}' is a cassette, "
                    f"which is written when its run ends. Leave `{name}` out."
                )
        return cassette.begin_open_run
    if isinstance(journal, Journal) and given.get("fsync") is not None:
        raise UnknownSettingError(
            f"`fsync={fsync}` is for a journal that is opened here, and {journal.place!r} is open already. Leave "
            f"`fsync` out, and say it where the journal is opened: `Journal.open(..., fsync={fsync})`."
        )
    if isinstance(journal, PurePath):
        check_is_url(journal, "journal")
    if not isinstance(journal, str | Journal):
        raise TypeError(
            f"`journal` is a URL such as 'sqlite:///runs.db', a `Journal` or a `Cassette`, not {journal!r}."
        )
    source: str | Journal = journal

    async def begin(run_id: str) -> OpenRun:
        opened = source if isinstance(source, Journal) else await Journal.open(source, fsync=fsync)
        try:
            run = await opened.begin_run(run_id, durability=durability, on_busy=on_busy_run)
        except BaseException:
            if opened is not source:
                await opened.close()
            raise
        return _RunOfJournal(opened, run, closes_journal=opened is not source)

    return begin


class _RunOfJournal:
    """A run of a journal, held as long as a context is active."""

    def __init__(self, journal: Journal, run: RunJournal, *, closes_journal: bool) -> None:
        self.run = run
        self._journal = journal
        self._closes_journal = closes_journal

    @property
    def in_flight(self) -> InFlight:
        """The memoised calls that go on now, in all contexts that use the journal."""
        return self._journal.in_flight

    async def find_memoized(self, call: StartedCall, max_age: timedelta | None) -> FinishedCall | None:
        """Give the latest answer to an equal call of any run."""
        return await self._journal.find_memoized(call, max_age=max_age)

    async def end(self, state: EndState) -> None:
        """Commit everything, and let go of the run and, if it was opened for it, of the journal."""
        try:
            await self.run.end(state)
        finally:
            if self._closes_journal:
                await self._journal.close()


def _text(value: object, name: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise TypeError(f"`{name}` is a name, such as 'monday', not {value!r}.")
    return value


def _one_of(value: object, name: str, allowed: tuple[Any, ...]) -> Any:
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise ValueError(f"`{name}` is {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}, not {value!r}.")
    return value
