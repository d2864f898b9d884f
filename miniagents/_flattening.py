"""What is handed over as a message, made flat: the one place that knows every allowed kind.

Ordinary iterables are read at once, without recursion, so that changing a list later changes nothing. Async ones get a
task each, which begins when everything before it in the same sequence is there.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel

from miniagents.errors import NotAMessageError
from miniagents.messages import Message, MessagePromise, checked_text
from miniagents.promising._failure import Failure

MakeAsyncPart = Callable[[Any], Any]


def flat_pieces(
    messages: object,
    *,
    is_sequence: Callable[[object], bool],
    make_failure: Callable[[BaseException], Failure],
    make_async_part: MakeAsyncPart,
) -> list[Any]:
    """Give the pieces of a sequence that `messages` stands for.

    A piece is a str, a `Message`, a `MessagePromise`, a nested sequence promise, or a `Failure`. Texts stay texts until
    somebody reads them. `make_async_part` turns an async iterable into a nested sequence.

    Raises:
        NotAMessageError: something in it cannot become a message; nothing is sent then.
    """
    if messages.__class__ is str:
        return [checked_text(cast("str", messages))]
    pieces: list[Any] = []
    # The containers that are being read, to refuse one that holds itself.
    path: list[tuple[object, Iterator[Any]]] = [(None, iter((messages,)))]
    while path:
        container, items = path[-1]
        try:
            item = next(items)
        except StopIteration:
            path.pop()
            continue
        except Exception as error:  # noqa: BLE001 - the iterable's own error: it belongs at its place in the sequence
            if container is None:
                raise
            pieces.append(make_failure(error))
            path.pop()
            continue
        if item.__class__ is str:
            pieces.append(checked_text(item))
        elif item is None:
            continue
        elif isinstance(item, Message | MessagePromise) or is_sequence(item):
            pieces.append(item)
        elif isinstance(item, BaseException):
            pieces.append(make_failure(item))
        elif (message := _as_message(item)) is not None:
            pieces.append(message)
        elif hasattr(item, "__aiter__"):
            pieces.append(make_async_part(item))
        elif isinstance(item, Iterable) and not _is_refused(item):
            if any(outer is item for outer, _ in path):
                raise NotAMessageError(item) from ValueError("a list that contains itself has no end")
            path.append((cast("object", item), iter(cast("Iterable[Any]", item))))
        else:
            _refuse(item)
    return pieces


def _as_message(item: object) -> str | Message | None:
    if isinstance(item, str):
        return checked_text(str(item))
    if isinstance(item, Mapping):
        return Message(**cast("Mapping[str, Any]", item))
    if isinstance(item, BaseModel):
        if hasattr(item, "inquire"):
            _refuse(item)
        return Message(**{name: value for name, value in item if name != "class_"})
    return None


def _is_refused(item: object) -> bool:
    return isinstance(item, bytes | bytearray | memoryview | Awaitable) or inspect.isclass(item)


def _refuse(item: Any) -> None:
    error = NotAMessageError(item)
    if inspect.iscoroutine(item):
        # Else Python warns, in addition, that it was never awaited.
        item.close()
    raise error
