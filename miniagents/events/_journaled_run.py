"""A handler's run in a context with a journal: recorded as a call, below the one that its event comes from.

An agent that is a handler is recorded as any call of it is. All that is seen to is what is below it.
"""

import asyncio
import contextvars
from collections.abc import Iterable, Iterator
from typing import Any, cast

from miniagents._call_marks import current_journaled_call
from miniagents._segments import SequenceBuffer
from miniagents.events._contents import is_special
from miniagents.events._registration import AGENT
from miniagents.events._runs import HandlerRun
from miniagents.events._subscriptions import Delivery
from miniagents.events._variables import Variables, in_variables
from miniagents.events.event import Event, stamped, stamps_of
from miniagents.events.trace import handler_name
from miniagents.journal._call_nodes import CallNode
from miniagents.journal._work_records import AskedCall
from miniagents.messages import MessagePromise
from miniagents.promising.ext._plain_fields import declared_fields
from miniagents.promising.ext.frozen import Frozen


class JournaledRun(HandlerRun):
    """The work of one handler on one delivery, on record."""

    __slots__ = ("_above", "_asked", "_call", "_replied")

    _asked: AskedCall | None
    _call: CallNode | None
    _replied: SequenceBuffer | None

    async def attempt_all(self, variables: contextvars.Context) -> None:
        """Work, as often as the subscription says, and record it."""
        self._asked = self._call = self._replied = None
        self._above = variables.get(current_journaled_call)
        if self.subscription.kind == AGENT:
            await super().attempt_all(variables)
            return
        # Without a number, which may be another one when the run is resumed.
        records, name = self.engine.records, handler_name(self.subscription.target)
        assert records is not None
        events = list(_events_in(self.arguments or (self.event,)))
        texts = [_known_by(event) for event in events]
        is_certain = all(certain for _, certain in texts)
        call = self._call = records.node(self._above, name, " ".join(text for text, _ in texts), is_certain=is_certain)
        replied = self._replied = SequenceBuffer()
        beside = Frozen(flow_id=self.flow.id, stamps=tuple(event.stamps for event in events))
        inputs = _contents(events)
        await in_variables(variables, records.begin(call, name, inputs, beside))
        failure: BaseException | None = None
        try:
            await super().attempt_all(variables)
        except BaseException as error:
            failure = self.cancelled_with or error
            raise
        finally:
            replied.pieces[:] = [piece for piece in replied.pieces if not isinstance(piece, Event) or _has_hash(piece)]
            replied.close()
            # Where the whole context ends, nothing is said of what was cut off by that; nor waited for otherwise.
            if self.context.is_active and not isinstance(failure, asyncio.CancelledError):
                late = _contents(events) if inputs is None else None
                self.engine.context.start_asap(records.end(call, late, replied, failure))

    async def _ask_agent(self, arguments: tuple[Any, ...]) -> None:
        # What an earlier attempt replied with is below that one.
        current_journaled_call.set(self._above)
        for event in _events_in(arguments):
            # A call is known by what it is called with.
            if not event.is_resolved:
                await event.resolved()
        self._asked = AskedCall()
        try:
            replies = self._inquire(arguments)
        finally:
            self._asked.was_made()
        error = await self.follow(replies, None)
        if error is not None:
            raise error

    # -- what it replies with --------------------------------------------------------------------------------------

    def variables_for(self, event: Event) -> Variables:
        """Give the context variables for whoever gets `event`: what these call is below this call."""
        if self._replied is not None:
            self._replied.append(event)
        elif self._asked is not None and self._asked.call is not None:
            current_journaled_call.set(self._asked.call)
        return super().variables_for(event)

    def add(self, part: Any, into: SequenceBuffer | None = None) -> None:
        """Put something that is no event into the flow."""
        if self._replied is not None:
            self._replied.append(part)
        super().add(part, into)

    def cause_of_letter(self, delivery: Delivery) -> Delivery:
        """Give a delivery that has failed as what its dead letter comes from."""
        call = self._call or (None if self._asked is None else self._asked.call)
        if call is None:
            return delivery
        variables = delivery[4].copy()
        variables.run(current_journaled_call.set, call)
        return (*delivery[:4], Variables(variables), *delivery[5:])

    async def _with_stamps(self, piece: Any, replies: SequenceBuffer, position: int) -> Any:
        """Give an event that comes from the journal the stamps that it had of its own."""
        event = piece.outcome_if_done() if isinstance(piece, MessagePromise) else piece
        if not isinstance(event, Event):
            return piece
        assert self.engine.records is not None
        kept = await self.engine.records.kept_beside(replies, position, piece, stamps_of(event))
        return piece if kept is None else stamped(event, *cast("tuple[Any, Any, Any, Any]", kept))


def _events_in(arguments: Iterable[Any]) -> Iterator[Event]:
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _events_in(cast("tuple[Any, ...]", argument))
        elif isinstance(argument, Event):
            yield argument


def _known_by(event: Event) -> tuple[str, bool]:
    """Give what an event is known by, and whether that is all of it.

    Not what is promised: it may be there when the run is resumed, and was not there before.
    """
    content = cast("dict[str, Any]", event.__dict__)
    fields = {name: content[name] for name in declared_fields(type(event)) if name != "class_"}
    steady = {name: value for name, value in fields.items() if not is_special(value)}
    try:
        if len(steady) == len(fields):
            return event.hash_key, True
        texts = {name: _known_by(value)[0] if isinstance(value, Event) else value for name, value in steady.items()}
        return Frozen(event_type=type(event).__name__, fields=Frozen(**texts)).hash_key, False
    except Exception:  # noqa: BLE001 - it has something further inside that is not there, or cannot be hashed
        return type(event).__name__, False


def _has_hash(event: Event) -> bool:
    """Whether everything in it is there, and can be stored."""
    try:
        return bool(event.hash_key)
    except Exception:  # noqa: BLE001 - whatever it is, there is nothing to be stored
        return False


def _contents(events: list[Event]) -> list[Event] | None:
    """Give events as they can be stored; None if one cannot."""
    return events if all(map(_has_hash, events)) else None


__all__ = ["JournaledRun"]
