"""Turns of a model that are over while its answer goes on: where there is a journal, they are not paid for twice."""

import hashlib
from collections.abc import Sequence
from typing import Any

from miniagents._call_marks import current_journaled_call
from miniagents.ext.llms._turns.model_turn import TurnResult, tool_calls_of
from miniagents.messages import Message

_DIGITS = 16


class KeptTurns:
    """The turns of one answer, each known by what the model was asked.

    The answer of a call is in the journal when it is whole. Between the turns of one that calls tools the process may
    die, with turns that were paid for; a resumed run gets these from here.
    """

    def __init__(self) -> None:
        self._call = current_journaled_call.get()

    async def find(self, asked: Sequence[Message]) -> TurnResult | None:
        """Give the turn that followed these messages when the call was made before; None if it is not known."""
        kept: Any = None if self._call is None else await self._call.recall_step(_name(asked))
        if kept is None:
            return None
        # Loaded where there is a journal.
        from miniagents.journal._promises import ReplayedPromise

        messages: list[Message] = [message for message, _ in kept["messages"]]
        promises = [ReplayedPromise(message, tokens or (str(message),)) for message, tokens in kept["messages"]]
        return TurnResult(tuple(messages), goes_on=kept["goes_on"], promises=promises)

    async def keep(self, asked: Sequence[Message], turn: TurnResult) -> None:
        """Keep a turn, if others follow; it is committed when this returns."""
        if self._call is None or turn.failed or not (turn.goes_on or tool_calls_of(turn.messages)):
            return
        messages: list[Any] = []
        for message, promise in zip(turn.messages, turn.promises, strict=True):
            tokens = promise.buffer().pieces
            messages.append([message, None if len(tokens) == 1 else list(tokens)])
        await self._call.remember_step(_name(asked), {"messages": messages, "goes_on": turn.goes_on})


def _name(asked: Sequence[Message]) -> str:
    hashes = " ".join([message.hash_key for message in asked])
    return f"turn {hashlib.sha256(hashes.encode()).hexdigest()[:_DIGITS]}"
