"""Cassettes: runs that were recorded for tests, each in one file that a person can read.

```python
async with MiniAgents(journal="tests/cassettes/greeting.jsonl", mode="replay"):
    ...
```

A test that was recorded once runs without a model from then on, and gets the same messages, token by token. With pytest
it is the fixture `cassette`. The file is JSON Lines: a line for each call, each input and each reply, in the order in
which the calls began; it has no times and no keys, so that recording again changes what has changed. It may be edited.
What looks like a key, and what the environment holds as one, stands there as `***`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from miniagents._settings import without_credentials
from miniagents.journal._cassette_errors import CassetteMissError, CassetteModeError, RecordedCallError
from miniagents.journal._cassette_run import CassetteRun
from miniagents.journal._cassette_tape import CassetteMode, Tape
from miniagents.journal.errors import JournalError
from miniagents.journal.records import Question

__all__ = [
    "Cassette",
    "CassetteMissError",
    "CassetteMode",
    "CassetteModeError",
    "CassetteRun",
    "RecordedCallError",
    "cassette_of",
]

_SUFFIX = ".jsonl"


class Cassette:
    """A file of recorded calls, for `MiniAgents(journal=Cassette("cassettes/greeting.jsonl"))`.

    The modes: `"auto"` answers what the file has, executes the rest, and adds it to the file; `"record"` executes
    everything, and what was recorded replaces the file; `"replay"` executes nothing, and what is not in the file is a
    `CassetteMissError` that shows the nearest recorded call. A call that failed is an answer, too: it fails again.

    Several contexts, one after the other or at once, may share one: they go on where the others are.

    Attributes:
        path: the file; it is read when the first run begins, and written when a run ends.
        mode: one of the three.

    Raises:
        CassetteModeError: the mode is none of the three.
    """

    def __init__(self, path: str | Path, mode: CassetteMode = "auto") -> None:
        self.path = Path(path)
        _check_mode(mode, str(path))
        self.mode: CassetteMode = mode
        self._tape = Tape(self.path, mode)
        self._runs: list[CassetteRun] = []

    def __repr__(self) -> str:
        return f"Cassette({str(self.path)!r}, mode={self.mode!r})"

    async def begin_run(self, run_id: str | None = None) -> CassetteRun:
        """Begin a run; its `end()` writes the file.

        Raises:
            JournalError: there is no file to replay, or it cannot be read.
            JournalCorruptError: a line of it cannot be read; it is named.
            JournalVersionError: it is something else than a cassette, or of another version.
        """
        await self._tape.open()
        run = CassetteRun(self._tape, run_id or self.path.stem)
        self._runs.append(run)
        return run

    async def begin_open_run(self, run_id: str | None = None) -> CassetteRun:
        """Give what `begin_run` gives (for this package: contexts begin runs of databases by this name)."""
        return await self.begin_run(run_id)

    @property
    def misses(self) -> Sequence[CassetteMissError]:
        """What was asked for and is not in the file, whether or not anybody has received the error."""
        return tuple(self._tape.misses)

    def questions(self, run_id: str | None = None) -> list[Question]:
        """Give what a run, or all runs, have asked, the oldest first; open questions have no `answered_at`."""
        asked = [question for run in self._runs if run_id in (None, run.run_id) for question in run.questions()]
        return sorted(asked, key=lambda question: question.asked_at)

    async def answer(self, run_id: str, key: str, answer: Any) -> None:
        """Answer a question of a run of this process; the same answer once more is no error.

        Raises:
            JournalError: there is no such run, nothing was asked there, or it has another answer already.
            UnstorableValueError: the answer cannot be stored.
        """
        runs = [run for run in self._runs if run.run_id == run_id]
        if not runs:
            known = ", ".join(repr(run.run_id) for run in self._runs) or "none"
            raise JournalError(f"There is no run {run_id!r}; runs with this cassette: {known}", place=str(self.path))
        # Runs of one name follow each other; the last one that has asked this is the one that waits.
        asking = [run for run in runs if any(question.key == key for question in run.questions())]
        await (asking or runs)[-1].answer(key, answer)


def cassette_of(value: Any, mode: Any = None) -> Cassette | None:
    """Give the cassette that `MiniAgents(journal=value, mode=mode)` means; None if `value` is another journal.

    A cassette is a `Cassette`, or a path that ends in `.jsonl`; without a mode it is "auto", or the cassette's own.

    Raises:
        CassetteModeError: the mode is none, or `value` is no cassette and has none, or one of another mode.
    """
    if isinstance(value, Cassette):
        if mode is not None and mode != value.mode:
            _check_mode(mode, str(value.path))
            raise CassetteModeError(
                f"The mode is {mode!r} here, and {value.mode!r} in {value!r}. Give it in one place",
                place=str(value.path),
            )
        return value
    if isinstance(value, str | Path) and "://" not in str(value) and str(value).lower().endswith(_SUFFIX):
        chosen = "auto" if mode is None else mode
        _check_mode(chosen, str(value))
        return Cassette(value, chosen)
    if mode is not None:
        place = str(getattr(value, "place", None) or without_credentials(str(value)))
        raise CassetteModeError(
            f"`mode={mode!r}` is for cassettes, and {place!r} is a database. Leave `mode` out, or give the path of a "
            f'cassette, such as `journal="cassettes/my_test{_SUFFIX}"`',
            place=place,
        )
    return None


def _check_mode(mode: Any, place: str) -> None:
    modes = get_args(CassetteMode)
    if mode not in modes:
        raise CassetteModeError(
            f"`mode={mode!r}` is no mode of a cassette. It is one of {', '.join(map(repr, modes))}", place=place
        )
