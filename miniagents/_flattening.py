"""What is handed over as a message, made flat: the one place that knows every allowed kind.

Ordinary iterables are read at once, without recursion, so that changing a list later changes nothing. Async ones get a
task each, which begins when everything before it in the same sequence is there.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn, cast

from pydantic import BaseModel

from miniagents.errors import NotAMessageError
from miniagents.messages import Message, MessagePromise, checked_text, kinds_of_one_message, know_kind
from miniagents.promising._failure import Failure
from miniagents.promising.ext.frozen import check_field_name


class Flattener:
    """Makes one thing that was handed over flat; `pieces` is what it stands for.

    A piece is a str, a `Message`, a `MessagePromise`, a nested sequence promise, or a `Failure`. Texts stay texts until
    somebody reads them.
    """

    __slots__ = ("_is_sequence", "_make_async_part", "_make_failure", "nested", "pieces")

    def __init__(
        self,
        *,
        is_sequence: Callable[[object], bool],
        make_failure: Callable[[BaseException], Failure],
        make_async_part: Callable[["Flattener", Any], Any],
    ) -> None:
        self.pieces: list[Any] = []
        self.nested: list[Any] = []
        self._is_sequence = is_sequence
        self._make_failure = make_failure
        self._make_async_part = make_async_part

    def flatten(self, messages: object) -> None:
        """Collect what `messages` stands for.

        Raises:
            NotAMessageError: something in it cannot become a message; nothing must be sent then.
        """
        pieces = self.pieces
        path: list[Iterator[Any]] = [iter((messages,))]
        # What is being read, to refuse a container that holds itself.
        containers: list[int] = [0]
        on_path = {0}
        while path:
            try:
                # Texts and messages are nearly all there is; whatever else comes is looked at outside of this loop.
                for item in path[-1]:
                    kind = item.__class__
                    if kind in kinds_of_one_message or (kind is str and item.isascii()):
                        pieces.append(item)
                    else:
                        break
                else:
                    path.pop()
                    on_path.discard(containers.pop())
                    continue
            except Exception as error:  # noqa: BLE001 - the iterable's own error belongs at its place in the sequence
                pieces.append(self._make_failure(error))
                path.pop()
                on_path.discard(containers.pop())
                continue
            if kind is list or kind is tuple or self._is_iterable(item):
                if id(item) in on_path:
                    raise NotAMessageError(item) from ValueError("A list that contains itself has no end.")
                path.append(iter(item))
                containers.append(id(item))
                on_path.add(id(item))
            elif item is not None:
                pieces.append(self._piece(item))

    def _is_iterable(self, item: Any) -> bool:
        """Whether `item` stands for several; models and messages can be iterated too, but do not."""
        return (
            isinstance(item, Iterable)
            and not isinstance(
                item, str | Mapping | BaseModel | BaseException | bytes | bytearray | memoryview | Awaitable
            )
            and not isinstance(item, type)
        )

    def _piece(self, item: Any) -> Any:
        if isinstance(item, Message | MessagePromise):
            if isinstance(item, Message):
                know_kind(type(item))
            return item
        if self._is_sequence(item):
            self.nested.append(item)
            return item
        if isinstance(item, BaseException):
            return self._make_failure(item)
        message = _as_message(item)
        if message is not None:
            return message
        if hasattr(item, "__aiter__"):
            part = self._make_async_part(self, item)
            self.nested.append(part)
            return part
        return _refuse(item)


def _as_message(item: object) -> str | Message | None:
    if isinstance(item, str):
        return checked_text(str(item))
    if isinstance(item, Mapping):
        for name in cast("Mapping[object, Any]", item):
            check_field_name(name)
        return Message(**cast("Mapping[str, Any]", item))
    if isinstance(item, BaseModel):
        if hasattr(item, "inquire"):
            _refuse(item)
        return Message(**{name: value for name, value in item if name != "class_"})
    return None


def _refuse(item: Any) -> NoReturn:
    error = NotAMessageError(item)
    if inspect.iscoroutine(item):
        # Else Python warns, in addition, that it was never awaited.
        item.close()
    raise error
