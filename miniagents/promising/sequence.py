"""`FlatSequence`: nested in, flat out."""

from collections.abc import AsyncIterator
from typing import Any, Generic

from miniagents.promising._pumping import as_async_iterator
from miniagents.promising.errors import FunctionNotProvidedError
from miniagents.promising.promise import overrides
from miniagents.promising.promise_typing import IN, OUT, PromiseStreamer, SequenceFlattener
from miniagents.promising.streamed import StreamedPromise


class FlatSequence(Generic[IN, OUT]):
    """Turns a stream of items, each of which may stand for several, into one flat stream.

    `flattener(sequence, item)` is an async generator that yields the zero or more outgoing items of one incoming item;
    a subclass may override `_flattener(self, item)` instead. The incoming items come from `incoming_streamer`, a
    streamer as for `StreamedPromise`. One task does both, in order, and starts when the promise does.

    `sequence_promise` (of class `sequence_promise_class`) streams the flat items and resolves to a tuple of them. An
    error of the incoming stream or of the flattener ends it.

    Raises:
        FunctionNotProvidedError: there is neither a flattener nor an override of `_flattener`.
    """

    sequence_promise: StreamedPromise[OUT, tuple[OUT, ...]]

    def __init__(
        self,
        incoming_streamer: PromiseStreamer[IN],
        flattener: SequenceFlattener[IN, OUT] | None = None,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        sequence_promise_class: type[StreamedPromise[Any, Any]] = StreamedPromise,
        read_ahead: int | None = None,
    ) -> None:
        if flattener is None and not overrides(self, FlatSequence, "_flattener"):
            raise FunctionNotProvidedError(
                f"`{type(self).__name__}` cannot flatten anything. Give it `flattener=` (an async generator that is "
                "called with the sequence and an item), or override `_flattener(self, item)` in a subclass."
            )
        self._flattener_function = flattener
        self._incoming_streamer = incoming_streamer
        self.sequence_promise = sequence_promise_class(
            streamer=self._flat_items, start_asap=start_asap, read_ahead=read_ahead
        )

    def _flattener(self, item: IN) -> AsyncIterator[OUT]:
        """Yield what one incoming item stands for; for subclasses that override it."""
        assert self._flattener_function is not None
        return self._flattener_function(self, item)

    async def _flat_items(self, promise: StreamedPromise[OUT, tuple[OUT, ...]]) -> AsyncIterator[OUT]:
        async for item in as_async_iterator(self._incoming_streamer(promise)):
            async for flat_item in as_async_iterator(self._flattener(item)):
                yield flat_item
