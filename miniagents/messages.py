"""`Message`, immutable and named by its content, and `MessagePromise`, a message that streams its tokens."""

import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from types import MappingProxyType
from typing import Any, Self, TypeVar, cast

from pydantic import Field

from miniagents.miniagent_typing import MessageTokenStreamer
from miniagents.promising._buffer import Buffer, prefilled_buffer
from miniagents.promising._failure import Failure
from miniagents.promising.errors import FunctionNotProvidedError
from miniagents.promising.ext._json import AS_IN_JSON, json_text, to_json
from miniagents.promising.ext.frozen import Frozen, check_text, freeze
from miniagents.promising.promise import require_callable
from miniagents.promising.promising import PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sentinels import NO_VALUE

M = TypeVar("M", bound="Message")


class Message(Frozen):
    """What agents exchange: text, and any further fields.

    `Message("text", field=value)`. Subclass it for typed fields. `str(message)` is its `content`; without one, its
    `content_template` formatted with the message's own fields; without both, its JSON in a fenced block.

    A message may hold other messages, in fields, tuples and nested objects. In `serialize()` (and so in the hash key)
    they are replaced by their hash keys, as in a git tree; `sub_messages()` gives them.

    Raises:
        pydantic.ValidationError: a field cannot be frozen or has the wrong type.
    """

    content: str | None = Field(default=None, kw_only=False)
    """The text, if there is one."""
    content_template: str | None = Field(default=None)
    """A format string over the message's own fields; the text where there is no `content`."""

    # `self` is positional only, as a field may have that name.
    def __init__(self, /, content: str | None = None, **fields: Any) -> None:
        everything: dict[str, Any] = {"content": content, **fields}
        super().__init__(**everything)

    def _as_string(self) -> str:
        if self.content is not None:
            return self.content
        if self.content_template is not None:
            return self._formatted(self.content_template)
        return f"```json\n{super()._as_string()}\n```"

    def _formatted(self, template: str) -> str:
        fields = {"class_": self.class_, **self.as_kwargs()}
        try:
            return template.format_map(fields)
        except (KeyError, IndexError) as error:
            raise ValueError(
                f"`content_template` {template!r} needs {error}, which this message does not have. Its fields: "
                f"{', '.join(fields)}. Double a brace that is to stay one."
            ) from error

    @property
    def as_promise(self) -> "MessagePromise":
        """This message as a promise that is resolved already; the same one as long as anybody has it."""
        # Not `cached()`, as this is done for every message that is sent; weakly, as the promise holds the message.
        private: dict[str, Any] = cast("Any", self).__pydantic_private__
        cache: dict[str, Any] | None = private["_cache"]
        if cache is None:
            cache = private["_cache"] = {}
        kept: weakref.ref[MessagePromise] | None = cache.get("as_promise")
        promise = None if kept is None else kept()
        if promise is None:
            listens = PromisingContext.handlers_exist
            promise = MessagePromise(prefill_message=self) if listens else resolved_promise(self)
            cache["as_promise"] = weakref.ref(promise)
        return promise

    @classmethod
    def promise(
        cls,
        /,
        content: str | None = None,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        message_token_streamer: "MessageTokenStreamer | MessageTokenAppender | None" = None,
        *,
        read_ahead: int | None = None,
        **preliminary_metadata: Any,
    ) -> "MessagePromise":
        """Give a promise of a message of this class.

        With a `message_token_streamer` the tokens come from it, and its text is what they make together; else the
        message is resolved from the start. The metadata become fields, readable at once as `preliminary_metadata`.
        `read_ahead` is how many tokens the streamer may be ahead of its furthest reader; see `StreamedPromise`.

        Raises:
            ValueError: there are content and a token streamer, or a field cannot be frozen.
        """
        if message_token_streamer is None:
            message = cls(content, **preliminary_metadata)
            return MessagePromise(prefill_message=message, message_class=cls, **preliminary_metadata)
        if content is not None:
            raise ValueError(
                f"A message gets its text either from `content` or from a `message_token_streamer`, not from both; "
                f"`content` is {content!r}. Let the streamer yield it."
            )
        return MessagePromise(
            start_asap, message_token_streamer, message_class=cls, read_ahead=read_ahead, **preliminary_metadata
        )

    def serialize(self) -> dict[str, Any]:
        """Give the content as a dict that JSON can hold, nested messages replaced by their hash keys."""
        return _serialize_with_references(self)

    def _serialized(self) -> str:
        if not self.is_text:
            return super()._serialized()
        # The same, several times faster: most messages are such ones.
        return f'{{"class_": "Message", "content": {json_text(self.content)}, "content_template": null}}'

    @property
    def is_text(self) -> bool:
        """Whether it is a plain `Message` that has a `content` and nothing else."""
        is_plain = self.__class__ is Message and not self.__pydantic_extra__
        return is_plain and self.content.__class__ is str and self.content_template is None

    def sub_messages(self) -> Iterator["Message"]:
        """Give the messages inside this one, depth first: each after those that are inside it."""
        # A stack instead of recursion: a chain of messages may be longer than Python's recursion limit.
        stack: list[tuple[Message | None, Iterator[Message]]] = [(None, _direct_sub_messages(self))]
        while stack:
            message, inner = stack[-1]
            found = next(inner, None)
            if found is not None:
                stack.append((found, _direct_sub_messages(found)))
                continue
            stack.pop()
            if message is not None:
                yield message


_CONTENT_ONLY = {"content"}


def text_message(text: str) -> Message:
    """Give `Message(text)`, several times faster: plain texts are most of what is sent, and need no validation."""
    message = Message.__new__(Message)
    set_attribute = object.__setattr__
    set_attribute(message, "__dict__", {"class_": "Message", "content": text, "content_template": None})
    # One set for all is safe, as nothing of a frozen model ever adds to it.
    set_attribute(message, "__pydantic_fields_set__", _CONTENT_ONLY)
    set_attribute(message, "__pydantic_extra__", {})
    set_attribute(message, "__pydantic_private__", {"_cache": None})
    return message


def _direct_sub_messages(value: object) -> Iterator[Message]:
    """Give the messages that `value` holds without another message in between."""
    pending: list[Any] = [item for _, item in reversed(list(value))] if isinstance(value, Frozen) else []
    while pending:
        item = pending.pop()
        if isinstance(item, Message):
            yield item
        elif isinstance(item, tuple | frozenset):
            pending.extend(reversed(list(cast("tuple[Any, ...]", item))))
        elif isinstance(item, Frozen):
            pending.extend(inner for _, inner in reversed(list(item)))


def _serialize_with_references(frozen: Frozen) -> dict[str, Any]:
    serialized: dict[str, Any] = {}
    for name, value in frozen:
        if value.__class__ in AS_IN_JSON:
            serialized[name] = value
        elif isinstance(value, Message):
            serialized[f"{name}__hash_key"] = value.hash_key
        elif isinstance(value, tuple) and _holds_message(cast("tuple[Any, ...]", value)):
            serialized[f"{name}__hash_keys"] = to_json(value, name, nested=_reference)
        else:
            serialized[name] = to_json(value, name, nested=_reference)
    return serialized


def _holds_message(items: tuple[Any, ...]) -> bool:
    return any(
        isinstance(item, Message) or (isinstance(item, tuple) and _holds_message(cast("tuple[Any, ...]", item)))
        for item in items
    )


def _reference(frozen: Frozen) -> Any:
    return frozen.hash_key if isinstance(frozen, Message) else _serialize_with_references(frozen)


class MessageTokenAppender(StreamAppender[str]):
    """Writes the tokens of a message: give it to `Message.promise(message_token_streamer=appender)`.

    What is put into `metadata_so_far` before it is closed becomes fields of the message.
    """

    __slots__ = ("_metadata_so_far",)

    def __init__(self, capture_errors: bool | None = None) -> None:  # noqa: FBT001 - the published signature
        super().__init__(capture_errors)
        self._metadata_so_far: dict[str, Any] = {}

    @property
    def metadata_so_far(self) -> dict[str, Any]:
        """Fields of the message to be; may be changed until the appender is closed."""
        return self._metadata_so_far

    def append(self, piece: str | BaseException) -> Self:
        """Add a token; an exception object is raised to the readers at its place.

        Raises:
            TypeError: the token is no string.
            AppenderNotOpenError, AppenderClosedError, WrongThreadError: see `StreamAppender.append`.
        """
        if not isinstance(cast("object", piece), str | BaseException):
            raise TypeError(f"A token is a `str`, not {piece!r}. Append `str({piece!r})` if that is what you mean.")
        return super().append(piece)


class MessagePromise(StreamedPromise[str, Message]):
    """A promise of a message: `async for token in promise` streams its text, `await promise` gives the `Message`.

    A message that never streamed gives its whole text as one token. An error inside the tokens is raised at its place,
    and by `await`; the tokens before it stay readable.
    """

    __slots__ = ("_metadata_so_far", "_preliminary", "_token_streamer", "message_class")

    is_part_of_its_maker = True
    message_class: type[Message]
    """The class of the message to be."""

    def __init__(
        self,
        /,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        message_token_streamer: MessageTokenStreamer | MessageTokenAppender | None = None,
        prefill_message: Message | None = None,
        message_class: type[Message] = Message,
        read_ahead: int | None = None,
        **preliminary_metadata: Any,
    ) -> None:
        self._metadata_so_far: dict[str, Any] = {}
        self._token_streamer = message_token_streamer
        self._preliminary = {name: freeze(value, name) for name, value in preliminary_metadata.items()}
        if prefill_message is not None:
            self._token_streamer = None
            self.message_class = type(prefill_message)
            self._be_prefilled(prefill_message)
            return
        if message_token_streamer is None:
            raise FunctionNotProvidedError(
                "`MessagePromise` has no way to get its tokens. Give it `message_token_streamer=` or "
                "`prefill_message=`, or use `Message.promise(...)`."
            )
        require_callable(
            message_token_streamer, "message_token_streamer", "a function that is called with a dict and gives tokens"
        )
        self.message_class = message_class
        is_appender = isinstance(message_token_streamer, StreamAppender)
        if is_appender:
            # The stream must notice when nobody holds its writing end any more; a promise does not count.
            self._token_streamer = None
        if isinstance(message_token_streamer, MessageTokenAppender):
            self._metadata_so_far = message_token_streamer.metadata_so_far
        # Only an appender is told apart by the base class; a function comes in by way of `_streamer`.
        appender = cast("StreamAppender[str] | None", message_token_streamer if is_appender else None)
        super().__init__(streamer=appender, start_asap=start_asap, read_ahead=read_ahead)

    def _be_prefilled(self, message: Message) -> None:
        self._buffer = cast("Buffer[Any]", None)
        self._streamer_function = None
        self._set_up(None, message, needs_context=False)
        if self._context is not None:
            self._context.promise_was_made(self)

    @property
    def preliminary_metadata(self) -> Frozen:
        """The fields that are known before the first token."""
        if not self._preliminary and self._value.__class__ is not Failure and isinstance(self._value, Message):
            return Frozen(**_fields_beside_text(self._value))
        return Frozen(**self._preliminary)

    @property
    def metadata_so_far(self) -> dict[str, Any]:
        """The fields that its streamer has given so far, beside the preliminary ones."""
        return dict(self._metadata_so_far)

    @property
    def was_given(self) -> bool:
        """Whether it was made of a message that was there already (for this package)."""
        return self._token_streamer is None and (cast("Any", self._buffer) is None or self._buffer.handle is None)

    def _streamer(self) -> AsyncIterator[str]:
        assert self._token_streamer is not None
        return cast("MessageTokenStreamer", self._token_streamer)(self._metadata_so_far)

    def _package(self, pieces: list[Any]) -> Message:
        for piece in pieces:
            if not isinstance(piece, str):
                raise TypeError(f"A token is a `str`, but the token streamer of this message yielded {piece!r}.")
        return self.message_class(**{"content": "".join(pieces), **self._preliminary, **self._metadata_so_far})

    # What is prefilled gets a buffer when somebody wants tokens.

    def __aiter__(self) -> AsyncIterator[str]:
        self.buffer()
        return super().__aiter__()

    def buffer(self) -> Buffer[Any]:
        """Give the tokens (for this package)."""
        if cast("Any", self._buffer) is None:
            self._buffer = prefilled_buffer((str(self.outcome_if_done()),))
        return self._buffer

    def when_done(self, callback: Any) -> None:
        """Call `callback` when the promise is done, at once if it is; never makes anything start."""
        if cast("Any", self._buffer) is None:
            callback()
        else:
            super().when_done(callback)


def _fields_beside_text(message: Message) -> dict[str, Any]:
    return {name: value for name, value in message if name not in _TEXT_FIELDS}


class _ResolvedMessagePromise(MessagePromise):
    """A promise of a message that is there already. Most are, so that it has no attributes but those it needs."""

    __slots__ = ("_text",)

    # In place of the attributes of these names, which never change here.
    waiters = _context = _producer = _readers = _done_callbacks = None
    _resolver_function = _streamer_function = _token_streamer = None
    _preliminary = _metadata_so_far = cast("dict[str, Any]", MappingProxyType({}))

    @property
    def message_class(self) -> type[Message]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The class of the message."""
        return Message if self._value is NO_VALUE else cast("Message", self._value).__class__

    def outcome_if_done(self) -> Any:
        """Give the message, which is made of its text if nobody wanted it before."""
        value = self._value
        if value is NO_VALUE:
            value = self._value = text_message(self._text)
        return value

    def __await__(self) -> Generator[Any, Any, Message]:
        return self._value if self._value is not NO_VALUE else self.outcome_if_done()
        yield  # a generator, as `__await__` must give an iterator

    def done(self) -> bool:
        """Whether it can be awaited without waiting: always."""
        return True

    def cancel(self, msg: str | None = None) -> bool:
        """Stop nothing, as there is nothing left to do; `False`."""
        return False


kinds_of_one_message: set[type[Any]] = {Message, MessagePromise, _ResolvedMessagePromise}
"""Classes of what stands for one message and needs no closer look where it is handed over; see `know_kind`."""

MAX_KNOWN_KINDS = 1000
"""So many classes are remembered, and kept alive by that."""


def know_kind(kind: type[Any]) -> None:
    """Remember that what is of class `kind` is one message, as finding that out takes long."""
    if len(kinds_of_one_message) < MAX_KNOWN_KINDS:
        kinds_of_one_message.add(kind)


def resolved_promise(message: Message | str) -> MessagePromise:
    """Give a resolved promise of `message`, or of a message of a text, which is made when somebody wants it."""
    promise = _ResolvedMessagePromise.__new__(_ResolvedMessagePromise)
    if message.__class__ is str:
        promise._value, promise._text = NO_VALUE, message
    else:
        promise._value = message
    promise._buffer = cast("Buffer[Any]", None)
    return promise


_TEXT_FIELDS = frozenset({"class_", "content", "content_template"})


def checked_text(text: str) -> str:
    """Give `text`; a `ValueError` if it has a lone surrogate, so that it cannot be stored."""
    check_text(text, "content")
    return text
