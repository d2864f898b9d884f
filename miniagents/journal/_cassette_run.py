"""`CassetteRun`: one run with a cassette, with the methods of `RunJournal`."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self, TypeVar

from miniagents.journal._bodies import BadRowError
from miniagents.journal._cassette_calls import GoingOn
from miniagents.journal._cassette_failures import failure_form, raised_again
from miniagents.journal._cassette_file import RecordedCall, RecordedReply, RecordedValue
from miniagents.journal._cassette_forms import (
    Json,
    masked,
    masked_message_form,
    masked_text,
    masked_tokens,
    restored_message,
    restored_value,
    secrets_of_environment,
    settings_form,
    value_form,
)
from miniagents.journal._cassette_questions import Asked, Questions
from miniagents.journal._cassette_tape import Tape
from miniagents.journal._classes import SameNameError
from miniagents.journal._memoizing import InFlight
from miniagents.journal._usage_json import decode_usage, encode_usage
from miniagents.journal._values import BadValueError, check_text
from miniagents.journal.errors import JournalCorruptError, JournalError, UnstorableValueError
from miniagents.journal.records import FailedCall, FinishedCall, Question, StartedCall, StoredReply
from miniagents.messages import Message
from miniagents.promising.ext._json import json_text
from miniagents.usage import UsageTotals

T = TypeVar("T")
_KEY_OF_CALL = re.compile("(?:[0-9a-f]{40})?")
_MADE_UP = (BadRowError, SameNameError, TypeError, ValueError)


class CassetteRun:
    """One run of a program with a cassette: `run = await cassette.begin_run()`.

    A call is known by its agent, version, settings and inputs; the n-th one of equal calls gets the n-th recorded
    answer, in the order in which they ask. Settings that say where a server is do not count. Only calls for which
    `find_equal_call` was asked are recorded: others, which call these, are executed whenever the program runs.

    Attributes:
        run_id: its name; the one of the file, without `.jsonl`, unless another was given. It is not recorded.
        is_resumed: False; what the file has is found by what is asked, not by the run.
    """

    is_resumed = False

    answers_by_content = True
    """A call is not known by its key."""
    url = None
    """Nobody else can open it while it runs."""
    on_failure: Callable[[JournalError], None] | None = None
    on_success: Callable[[], None] | None = None
    has_ended = False
    """Never called: nothing is written in the background."""

    def __init__(self, tape: Tape, run_id: str) -> None:
        self.run_id = run_id
        self._tape = tape
        self._calls: dict[str, RecordedCall] = {}
        self._values: dict[str, _Value] = {}
        self._going_on = GoingOn()
        self._questions = Questions(tape)
        self.in_flight = InFlight()
        """The memoised calls that go on now (for this package)."""

    @property
    def place(self) -> str:
        """The file."""
        return self._tape.place

    @property
    def run(self) -> Self:
        """The run itself: what has begun it holds nothing else."""
        return self

    # -- what is there already -----------------------------------------------------------------------------------

    def state_of(self, key: str) -> Literal["started", "finished", "failed"] | None:
        """None: a cassette knows nothing of keys."""
        return None

    def attempts_of(self, key: str) -> int:
        """0: a cassette knows nothing of keys."""
        return 0

    async def find_memoized(self, call: StartedCall, max_age: timedelta | None = None) -> FinishedCall | None:
        """None: what other runs have answered is in the files of these."""
        return None

    async def find_call(self, key: str, call: StartedCall | None = None) -> FinishedCall | None:
        """None: a cassette knows nothing of keys."""
        return None

    async def find_equal_call(self, call: StartedCall, *, same_parent: bool = False) -> FinishedCall | None:
        """Give the recorded answer of an equal call; None if this one is to be executed, and recorded.

        That of a call that failed is a `FailedCall`. With `same_parent` that is none: a cassette knows no parents.

        Raises:
            CassetteMissError: in the mode "replay": there is none.
            JournalCorruptError: the answer cannot be made of what stands in the file.
            UnstorableValueError: an input cannot be stored.
        """
        if call.inputs is None or same_parent:
            return None
        asked = self._asked_call(call, call.inputs)
        found = self._tape.find(asked)
        if found is not None:
            return self._answer_of(found, call.key)
        self._calls[call.key] = asked
        return None

    def _asked_call(self, call: StartedCall, inputs: Sequence[Message]) -> RecordedCall:
        secrets = secrets_of_environment()

        def shown(message: Message) -> Json:
            return masked_message_form(message, secrets)

        settings = self._shown(
            lambda given: masked(settings_form(given), secrets, of_settings=True), call.settings, "settings"
        )
        forms = [self._shown(shown, message, f"inputs[{index}]") for index, message in enumerate(inputs)]
        return RecordedCall(call.agent, call.version, settings, forms)

    def _answer_of(self, found: RecordedCall, key: str) -> FinishedCall:
        replies = tuple([self._reply_of(reply) for reply in found.replies])
        usage = self._made(lambda: decode_usage(json_text(found.usage)) if found.usage else None, found.line)
        ended_at = datetime.now(UTC)
        if found.error is None:
            return FinishedCall(self.run_id, key, ended_at, usage, replies)
        error = raised_again(found.error, found.agent, self._tape.place, f"line {found.line}")
        return FailedCall(self.run_id, key, ended_at, usage, replies, error)

    def _reply_of(self, reply: RecordedReply) -> StoredReply:
        message = self._made(lambda: restored_message(reply.message), reply.line)
        tokens = tuple(reply.tokens or ())
        text = self._made(lambda: str(message), reply.line)
        if reply.tokens is None or (not reply.is_other_text and "".join(tokens) != text):
            # Somebody has edited the text: the tokens are those of the former one.
            tokens = (text,)
        return StoredReply(message, tokens)

    # -- calls ---------------------------------------------------------------------------------------------------

    async def call_used(self, key: str, usage: UsageTotals) -> None:
        """Nothing: calls that were cut off are not recorded."""

    async def call_started(self, call: StartedCall, *, durability: object = None) -> None:
        """Note that a call is executed, maybe once more; the last outcome is what is recorded."""
        self._going_on.begin(call)
        recorded = self._calls.get(call.key)
        if recorded is not None:
            recorded.has_ended = False

    async def call_replied(self, key: str, position: int, reply: tuple[Message, Sequence[str] | None]) -> None:
        """Do nothing: a call is recorded when it ends."""

    async def call_finished(
        self,
        key: str,
        replies: Sequence[tuple[Message, Sequence[str] | None]],
        *,
        usage: UsageTotals | None = None,
        inputs: Sequence[Message] | None = None,
        ended_at: datetime | None = None,
        passes_on: bool = False,
    ) -> None:
        """Record the answer of a call; see `RunJournal.call_finished`.

        Raises:
            UnstorableValueError: a reply cannot be stored.
        """
        self._going_on.end(key)
        self._end_call(key, replies, None, usage)

    async def call_failed(
        self,
        key: str,
        error: BaseException,
        replies: Sequence[tuple[Message, Sequence[str] | None]] = (),
        *,
        usage: UsageTotals | None = None,
        inputs: Sequence[Message] | None = None,
        passes_on: bool = False,
    ) -> None:
        """Record with what a call has failed. A replay raises it, unless the program was told to end by it.

        Raises:
            UnstorableValueError: a reply cannot be stored.
        """
        self._going_on.end(key)
        failure = failure_form(error, secrets_of_environment())
        if failure is not None:
            self._end_call(key, replies, failure, usage)

    def _end_call(
        self,
        key: str,
        replies: Sequence[tuple[Message, Sequence[str] | None]],
        failure: Json,
        usage: UsageTotals | None,
    ) -> None:
        recorded = self._calls.get(key)
        if recorded is None:
            return
        secrets = secrets_of_environment()
        recorded.replies = [
            self._recorded_reply(message, tokens, f"replies[{index}]", secrets)
            for index, (message, tokens) in enumerate(replies)
        ]
        recorded.error = failure
        # What it has used is recorded as well: a test may be about that.
        recorded.usage = None if usage is None else self._shown(usage_form, usage, "usage")
        recorded.has_ended = True

    def _recorded_reply(
        self, message: Message, tokens: Sequence[str] | None, field: str, secrets: tuple[str, ...]
    ) -> RecordedReply:
        form = self._shown(lambda given: masked_message_form(given, secrets), message, field)
        text = str(message)
        if tokens is None or (len(tokens) == 1 and tokens[0] == text):
            return RecordedReply(form, None)
        return RecordedReply(form, masked_tokens(tokens, secrets), is_other_text="".join(tokens) != text)

    # -- once, questions -----------------------------------------------------------------------------------------

    async def recall(self, key: str) -> tuple[Any] | None:
        """Give what is recorded under this key, in a tuple of one; None if it is to be done, and remembered.

        Raises:
            CassetteMissError: in the mode "replay": nothing is.
            UnstorableValueError: the key has what a file of text cannot hold.
        """
        check_text(key, "name", self.place)
        found = self._value(key)
        if not found.recorded.is_known:
            return None
        return (self._made(lambda: restored_value(found.form), row=f"value {found.recorded.name}"),)

    def _value(self, key: str) -> "_Value":
        found = self._values.get(key)
        if found is None:
            call, name = _call_and_name_in(key)
            of = self._going_on.named(call, lambda call: self._asked_call(call, call.inputs or ()))
            recorded = self._tape.find_value(name, of)
            found = self._values[key] = _Value(recorded, recorded.value)
        return found

    async def remember(self, key: str, value: Any, *, field: str | None = None) -> Any:
        """Record what came of something that is to happen only once; see `RunJournal.remember`.

        What is given is whole, and masked in the file alone.

        Raises:
            UnstorableValueError: something in it is neither JSON nor a `Frozen`; the field is named.
        """
        check_text(key, "name", self.place)
        form = self._shown(lambda given: value_form(given, field or key), value, field or key)
        found = self._value(key)
        if not found.recorded.is_known:
            found.form = form
            found.recorded.value, found.recorded.is_known = masked(form, secrets_of_environment()), True
        return self._made(lambda: restored_value(found.form), row=f"value {found.recorded.name}")

    async def ask(self, key: str, text: str) -> Question:
        """Put a question; it is answered already where the cassette has the answer.

        Raises:
            CassetteMissError: in the mode "replay": it was not asked when the cassette was recorded.
            JournalError: another question has this key.
            UnstorableValueError: the key, or the text, has what a file of text cannot hold.
        """
        check_text(key, "key", self.place)
        check_text(text, "text", self.place, may_be_empty=True)
        return self._question(key, self._questions.ask(key, text, masked_text(text, secrets_of_environment())))

    async def answer(self, key: str, answer: Any) -> None:
        """Answer a question of this program; the same answer once more is no error.

        Raises:
            JournalError: nothing was asked there (open keys are named), or it has another answer already.
            UnstorableValueError: the answer cannot be stored.
        """
        form = self._shown(lambda given: value_form(given, "answer"), answer, "answer")
        if form is None:
            raise UnstorableValueError("None is no answer", place=self._tape.place, field="answer")
        self._questions.answer(key, form, masked(form, secrets_of_environment()))

    async def wait_for_answer(self, key: str) -> Question:
        """Wait until a question is answered; any number of readers may wait.

        Raises:
            JournalError: nothing was asked under this key.
        """
        asked = self._questions.question(key)
        if asked.answer is None:
            await asked.is_answered.wait()
        return self._question(key, asked)

    def questions(self) -> list[Question]:
        """Give the questions of this program, the oldest first; open ones have no `answered_at`."""
        return [self._question(key, asked) for key, asked in self._questions.asked.items()]

    def _question(self, key: str, asked: Asked) -> Question:
        if asked.answer is None:
            return Question(self.run_id, key, asked.text, asked.at)
        answer = self._made(lambda: restored_value(asked.answer), row=f"question {key}")
        return Question(self.run_id, key, asked.text, asked.at, answer, asked.answered_at)

    # -- the end -------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Do nothing: a cassette is written at its end."""

    async def end(self, state: Literal["finished", "failed", "interrupted"] = "finished") -> None:
        """Write what is new; calls that have not ended by now are left out.

        In the mode "record" the file that is there is replaced by a run that is finished only: what a program has
        recorded that failed, or was interrupted, is written beside it.

        Raises:
            JournalError: the file cannot be written.
        """
        await self._tape.save(has_failed=state != "finished")

    # -- errors --------------------------------------------------------------------------------------------------

    def _shown(self, form_of: Callable[[Any], Json], value: Any, field: str) -> Json:
        """Give the form of a value, or an error in words that name it."""
        place = self._tape.place
        try:
            return form_of(value)
        except BadValueError as error:
            raise UnstorableValueError(error.why, place=place, field=error.field) from error
        except RecursionError as error:
            raise UnstorableValueError("it is nested too deep for one line", place=place, field=field) from error
        except (ValueError, SameNameError) as error:
            raise UnstorableValueError(str(error), place=place, field=field) from error

    def _made(self, make: Callable[[], T], line: int = 0, *, row: str = "") -> T:
        """Give what `make()` gives, or an error that names the place in the file."""
        row = row or f"line {line}"
        try:
            return make()
        except JournalError:
            raise
        except _MADE_UP as error:
            raise JournalCorruptError(
                f"What stands in {row} of the cassette cannot be used: {error}", place=self._tape.place, row=row
            ) from error


@dataclass(slots=True, eq=False)
class _Value:
    """What happens once in this run: as it is, and as it stands in the file."""

    recorded: RecordedValue
    form: Json


def _call_and_name_in(key: str) -> tuple[str, str]:
    """Give the key of the call, empty if there is none, and what stands behind it."""
    call, found, name = key.partition("/")
    return (call, name) if found and _KEY_OF_CALL.fullmatch(call) else ("", key)


def usage_form(usage: UsageTotals) -> Json:
    """Give usage as it is shown: the fields that are not 0."""
    return json.loads(encode_usage(usage) or "{}")
