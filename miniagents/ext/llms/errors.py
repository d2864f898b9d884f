"""Every error of the LLM agents, as one tree. What a provider's SDK raises before the first byte passes as it is.

    LLMError
    +-- MissingSDKError          the provider's package is not installed (also an ImportError)
    +-- MissingAPIKeyError       no key was found
    +-- WrongClientError         `async_client` is not what the adapter can talk through
    +-- PromptError              the messages cannot be made into a prompt
    |   +-- EmptyPromptError     there is nothing to send
    |   +-- UnknownRoleError     a message has a role that models do not know
    +-- AnswerError              the request was accepted, the answer is broken; tokens until then stay readable
    |   +-- TruncatedAnswerError     the stream ended without its end mark
    |   +-- InterruptedAnswerError   the connection broke in the middle of the answer
    |   +-- ReportedError            the provider sent an error in place of (the rest of) the answer
    |   +-- UnreadableAnswerError    what came is not the protocol
    +-- ScriptExhaustedError     a scripted model was asked more often than its script has replies

So `except openai.RateLimitError` works as with the bare SDK, and `except LLMError` catches what no SDK reports.
"""

from collections.abc import Iterable
from typing import Any, cast

from miniagents.errors import MiniAgentsError, MissingExtraError

_SHOWN_CHARACTERS = 200


class LLMError(MiniAgentsError):
    """The root of the errors that the LLM agents raise by themselves."""


class MissingSDKError(LLMError, MissingExtraError):
    """The Python package of a provider is not installed."""

    def __init__(self, agent_alias: str, package: str) -> None:
        MissingExtraError.__init__(self, package=package, extra=package, purpose=f"`{agent_alias}`")


class MissingAPIKeyError(LLMError):
    """No key for the provider was found."""

    def __init__(self, agent_alias: str, variable: str, client: str) -> None:
        super().__init__(
            f"`{agent_alias}` has no API key: set the environment variable {variable}, or hand over a client that has "
            f"one, `fork(async_client={client}(api_key=...))`."
        )


class WrongClientError(LLMError, TypeError):
    """`async_client` is not an asynchronous client of the provider's SDK."""

    def __init__(self, agent_alias: str, client: object, wanted: str) -> None:
        super().__init__(
            f"`{agent_alias}` cannot talk through `async_client={client!r}`: it needs a `{wanted}` (or a subclass, "
            f"such as those for the clouds), not a {type(client).__name__}."
        )


class PromptError(LLMError, ValueError):
    """The messages cannot be made into a prompt."""


class EmptyPromptError(PromptError):
    """There is neither a message nor anything to send in its place."""

    def __init__(self, agent_alias: str) -> None:
        super().__init__(
            f"`{agent_alias}` has nothing to send: it got no message with text, and `fake_first_user_message` is None. "
            "Send it a message, or set `fake_first_user_message` to what shall be sent then."
        )


class UnknownRoleError(PromptError):
    """A message has a role that a prompt has no place for."""

    def __init__(self, agent_alias: str, role: object, known: Iterable[str]) -> None:
        super().__init__(
            f"`{agent_alias}` cannot send a message with `role={role!r}`: models know {', '.join(known)}. Give it one "
            "of these, or no role at all, which counts as the user's."
        )


class AnswerError(LLMError):
    """The provider accepted the request, and the answer is broken. The tokens until then stay readable."""


class TruncatedAnswerError(AnswerError):
    """The answer's stream ended in good order, but without the mark that says it is complete."""

    def __init__(self, who: str, missing: str, hint: str = "") -> None:
        super().__init__(
            f"The answer of {who} is cut off: its stream ended without {missing}. The tokens that came can be read, "
            f"but they are not the whole answer; ask again.{' ' if hint else ''}{hint}"
        )


class InterruptedAnswerError(AnswerError):
    """The connection broke, or fell silent for too long, in the middle of the answer."""

    def __init__(self, who: str, cause: BaseException) -> None:
        super().__init__(
            f"The connection broke in the middle of the answer of {who} ({type(cause).__name__}: {cause}). The tokens "
            "that came can be read, but they are not the whole answer; ask again."
        )


class ReportedError(AnswerError):
    """The provider sent an error after it had accepted the request.

    Attributes:
        type: the provider's name for it, such as `"overloaded_error"`, or None.
        code: the provider's code, or None.
        body: all that it sent about the error.
    """

    def __init__(self, who: str, body: Any) -> None:
        details = cast("dict[str, Any]", body) if isinstance(body, dict) else {"message": body}
        self.type: str | None = details.get("type")
        self.code: str | int | None = details.get("code")
        self.body: Any = body
        name = self.type or self.code
        super().__init__(
            f"{who} reported an error in its answer: {details.get('message') or body}" + (f" ({name})" if name else "")
        )


class UnreadableAnswerError(AnswerError):
    """What came in place of an answer is not the provider's protocol."""

    def __init__(self, who: str, found: str, data: bytes) -> None:
        shown = data[:_SHOWN_CHARACTERS].decode(errors="replace")
        super().__init__(
            f"{who} sent {found} where an answer was expected: {shown!r}"
            f"{'...' if len(data) > _SHOWN_CHARACTERS else ''}. Is the base URL that of an API, and is no proxy or "
            "login page in between?"
        )


class ScriptExhaustedError(LLMError):
    """A scripted model was asked more often than its script has replies."""

    def __init__(self, agent_alias: str, reply_count: int, last_text: str) -> None:
        super().__init__(
            f"`{agent_alias}` was asked once more than its script has replies ({reply_count}); it was asked "
            f"{last_text!r}. Add a reply, or build the script with `when_exhausted='start_over'` or `'repeat_last'`."
        )
