"""How a function is called as a tool, and how what it returns becomes messages."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from pydantic_core import PydanticSerializationError, to_json

from miniagents.ext.llms._tools.threads import in_thread
from miniagents.ext.llms.errors import LLMError
from miniagents.interaction import InteractionContext
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise, MessageTokenAppender

_MESSAGES = (Message, MessagePromise, MessageSequencePromise, BaseException)


class ToolResultError(LLMError, TypeError):
    """A tool returned something that cannot be told to a model."""

    def __init__(self, tool_name: str, value: object) -> None:
        kind = type(value).__name__
        super().__init__(
            f"`{tool_name}` returned something (of type `{kind}`) that cannot be written as JSON: return a `str`, "
            "plain data, a pydantic model, a `Message`, or yield any of these."
        )


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives something to await or to iterate over, and does not block."""
    while isinstance(function, functools.partial):
        function = function.func
    called = function if inspect.isroutine(function) else type(function).__call__
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


async def call(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call `function` and give its result; one that is not async runs in a thread, with the context variables."""
    if is_async(function):
        result = function(*args, **kwargs)
    else:
        result = await in_thread(_without_stop_iteration, function, *args, **kwargs)
    return await result if inspect.isawaitable(result) and not isinstance(result, _MESSAGES) else result


def _without_stop_iteration(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        # It cannot be carried from one thread to another: whoever awaits would wait for ever.
        raise RuntimeError("the tool raised StopIteration") from error


async def reply_with(ctx: InteractionContext, result: Any, tool_name: str) -> None:
    """Reply with what a tool returned; what comes piece by piece is passed on piece by piece.

    Raises:
        ToolResultError: it cannot be told to a model.
    """
    if isinstance(result, _MESSAGES):
        ctx.reply(result)
    elif hasattr(result, "__aiter__"):
        await _reply_in_pieces(ctx, cast("AsyncIterator[Any]", aiter(result)), tool_name)
    elif isinstance(result, Iterator):
        await _reply_in_pieces(ctx, _from_thread(cast("Iterator[Any]", result)), tool_name)
    elif isinstance(result, list | tuple) and any(isinstance(item, _MESSAGES) for item in cast("list[Any]", result)):
        for item in cast("list[Any]", result):
            await reply_with(ctx, item, tool_name)
    else:
        ctx.reply(_text_of(result, tool_name))


async def _reply_in_pieces(ctx: InteractionContext, pieces: AsyncIterator[Any], tool_name: str) -> None:
    """Texts in a row are the tokens of one message."""
    tokens: MessageTokenAppender | None = None
    try:
        async for piece in pieces:
            if isinstance(piece, str):
                if tokens is None:
                    tokens = MessageTokenAppender().open()
                    ctx.reply(Message.promise(message_token_streamer=tokens))
                await tokens.append(piece)
                continue
            if tokens is not None:
                tokens.close()
                tokens = None
            await reply_with(ctx, piece, tool_name)
    finally:
        if tokens is not None:
            tokens.close()
        aclose = getattr(pieces, "aclose", None)
        if aclose is not None:
            await aclose()


async def _from_thread(items: Iterator[Any]) -> AsyncIterator[Any]:
    end = object()
    while (item := await in_thread(next, items, end)) is not end:
        yield item


def _text_of(result: Any, tool_name: str) -> str:
    if isinstance(result, str):
        return result
    try:
        return to_json(result, bytes_mode="base64", inf_nan_mode="strings").decode()
    except (PydanticSerializationError, ValueError) as error:
        raise ToolResultError(tool_name, result) from error
