"""What a handler has replied with and is still coming, on its way into the flow."""

from typing import Any

from miniagents._segments import SequenceBuffer
from miniagents.message_sequence import MessageSequencePromise
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, current_producer
from miniagents.promising._waiting import AnyTask


class Relay(Producer):
    """Moves a sequence that a handler replied with into the flow, at its place, and routes the events in it."""

    __slots__ = ("_buffer", "_run", "_sequence", "error", "is_of_same_bus")

    def __init__(self, run: Any, sequence: MessageSequencePromise, buffer: SequenceBuffer) -> None:
        super().__init__(run.context, self, is_lazy=False)
        self.owner = run
        self._run = run
        self._sequence = sequence
        self.is_of_same_bus = run.has_routed(sequence)
        self._buffer = buffer
        self.error: BaseException | None = None
        buffer.producer = self

    async def main(self) -> None:
        """Move."""
        current_producer.set(self)
        try:
            self.error = await self._run.follow(self._sequence, self._buffer)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the handler has failed with it
            self.error = Failure(error).error
        self._buffer.close()
        self.retire()

    def describe(self) -> str:
        """Name it."""
        return f"what {self._run.describe()} replied with"

    # -- as its own target: what it fills ends without an error, as that is the handler's ------------------------------

    def is_settled(self) -> bool:
        """Whether nothing more will come."""
        return self._buffer.end is not None

    def fail(self, failure: Failure) -> None:
        """End."""
        self.error = self.error or failure.error
        self._buffer.close()

    def forget_producer(self) -> None:
        """It has nothing more to do."""
        self._buffer.producer = None

    def reading_tasks(self) -> tuple[AnyTask, ...]:
        """Nobody reads it but the flow."""
        return ()


__all__ = ["Relay"]
