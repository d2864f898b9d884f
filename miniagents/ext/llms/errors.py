"""Every error of the model agents, as one tree. An error inside a stream has the type that it has as a status.

    LLMError
    +-- BadRequestError           the request is wrong: refused by the provider (400, 413, 422), or before it was sent
    |   +-- PromptError               the messages cannot be made into a prompt
    |   |   +-- EmptyPromptError          there is nothing to send
    |   |   +-- UnknownRoleError          a message has a role that models do not know
    |   +-- SettingError              a setting has a value that it does not take
    |   +-- UnsupportedOptionError    an option that the provider's current API refuses
    |   +-- UnknownModelError         a model's name with a prefix that no provider has
    +-- AuthenticationError       the key is wrong (401)
    |   +-- MissingAPIKeyError        no key was found
    +-- PermissionDeniedError     the key may not do this, or its account has run out (402, 403)
    +-- ModelNotFoundError        no such model there (404)
    +-- TransientError            may go better the next time, so that it is asked again; one of these:
    |   +-- RateLimitedError          too many requests or tokens (429)
    |   +-- OverloadedError           the provider has too much to do (503, 529)
    |   +-- ProviderError             something is wrong at the provider (other 5xx), or its answer cannot be read
    |   +-- ModelTimeoutError         it took too long (408, 504, or silence)
    |   +-- ConnectionLostError       no connection, or it broke in the middle of the answer
    |   +-- IncompleteStreamError     the stream ended in good order, but without the mark that says it is complete
    +-- RefusalError              the model refused to answer in the asked form
    +-- TruncatedOutputError      the answer was cut off at its longest length, so it cannot be used
    +-- StructuredOutputError     the answer is not what `response_model` wants, after all retries
    +-- UsageLimitExceededError   a limit of `UsageLimits` is reached (defined in `miniagents.errors`)
    +-- ToolError                 a tool failed, and `tool_errors="raise"` says that this is to be raised
    |   +-- ToolRoundsExceededError   the model wanted to call tools more often than `max_tool_rounds` allows
    +-- MissingSDKError           the provider's package is not installed (also an ImportError)
    +-- WrongClientError          `async_client` is not what the adapter can talk through
    +-- ScriptExhaustedError      a scripted model was asked more often than its script has replies

Below `LLMError` are also what tools throw, `ToolDefinitionError`, `ToolArgumentsError`, `ToolResultError`,
`ToolFailedError` and `UnknownToolError` (in `miniagents.ext.llms.tools`), and `MCPServerError`
(in `miniagents.ext.llms.mcp`).

Each has `provider`, `model`, `status_code`, `code`, `request_id`, `retry_after_s`, `partial_text` (what had come until
then) and `raw_text` (what came in place of an answer), None where unknown; what the SDK threw is its `__cause__`.
"""

from collections.abc import Iterable
from typing import Any

from miniagents.errors import LLMError, MissingExtraError, UsageLimitExceededError

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "ConnectionLostError",
    "EmptyPromptError",
    "IncompleteStreamError",
    "LLMError",
    "MissingAPIKeyError",
    "MissingSDKError",
    "ModelNotFoundError",
    "ModelTimeoutError",
    "OverloadedError",
    "PermissionDeniedError",
    "PromptError",
    "ProviderError",
    "RateLimitedError",
    "RefusalError",
    "ScriptExhaustedError",
    "SettingError",
    "StructuredOutputError",
    "ToolError",
    "ToolRoundsExceededError",
    "TransientError",
    "TruncatedOutputError",
    "UnknownModelError",
    "UnknownRoleError",
    "UnsupportedOptionError",
    "UsageLimitExceededError",
    "WrongClientError",
]


class TransientError(LLMError):
    """What may well go better the next time; `LLMAgent` asks again by itself where nothing was visible yet."""


class BadRequestError(LLMError, ValueError):
    """The request is wrong; sending it again does not help."""


class PromptError(BadRequestError):
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


class SettingError(BadRequestError):
    """A setting has a value that it does not take; raised by the call that gives it, or in its replies."""


class UnsupportedOptionError(BadRequestError):
    """An option that the provider's current API refuses; found before anything is sent."""

    def __init__(self, agent_alias: str, option: str, model: str, instead: str) -> None:
        super().__init__(f"`{agent_alias}` cannot send `{option}` to `{model}`: {instead}", model=model)


class UnknownModelError(BadRequestError):
    """The name of a model tells no provider, and there is none by default."""

    def __init__(self, name: str, prefixes: Iterable[str], hint: str) -> None:
        super().__init__(
            f"No provider is known for the model {name!r}. Known prefixes: {', '.join(prefixes)}. {hint}", model=name
        )


class AuthenticationError(LLMError):
    """The provider does not accept the key."""


class MissingAPIKeyError(AuthenticationError):
    """No key for the provider was found."""

    def __init__(self, agent_alias: str, variable: str, client: str) -> None:
        super().__init__(
            f"`{agent_alias}` has no API key: set the environment variable {variable}, give `api_key=`, or hand over a "
            f"client that has one, `fork(async_client={client}(api_key=...))`."
        )


class PermissionDeniedError(LLMError):
    """The key is good, but not for this; or the account behind it has run out of money."""


class ModelNotFoundError(LLMError, LookupError):
    """The provider has no such model."""


class RateLimitedError(TransientError):
    """Too many requests, or tokens, in too short a time; `retry_after_s` says when to come back, if known."""


class OverloadedError(TransientError):
    """The provider has too much to do at the moment."""


class ProviderError(TransientError):
    """Something went wrong at the provider, or what it sent is not its protocol; `raw_text` is what came then."""


class ModelTimeoutError(TransientError, TimeoutError):
    """The provider took longer than `timeout` allows, or gave up by itself."""


class ConnectionLostError(TransientError, ConnectionError):
    """There was no connection to the provider, or it broke in the middle of the answer."""


class IncompleteStreamError(TransientError):
    """The stream ended in good order, but without the mark that says it is complete; `partial_text` is what came."""


class RefusalError(LLMError):
    """The model refused to answer where a structured answer was asked for; `partial_text` are its words."""


class TruncatedOutputError(LLMError):
    """The structured answer was cut off at the longest length that was allowed."""


class StructuredOutputError(LLMError, ValueError):
    """The answer is not what `response_model` wants, even after `output_retries`; `raw_text` is the last one."""


class ToolError(LLMError):
    """A tool failed and `tool_errors="raise"`; the tool's own exception is the `__cause__`.

    Attributes:
        tool_name: which tool.
        tool_call_id: which call of it.
    """

    def __init__(self, agent_alias: str, tool_name: str, tool_call_id: str, why: str, **details: Any) -> None:
        self.tool_name = tool_name
        self.tool_call_id = tool_call_id
        super().__init__(f"The tool `{tool_name}` that `{agent_alias}` called failed: {why}", **details)


class ToolRoundsExceededError(ToolError):
    """The model went on calling tools for more rounds than `max_tool_rounds`; what it said until then stays."""

    def __init__(self, agent_alias: str, tool_name: str, tool_call_id: str, allowed: int) -> None:
        super().__init__(
            agent_alias,
            tool_name,
            tool_call_id,
            f"it was not run, as the model had called tools {allowed} rounds in a row. Raise `max_tool_rounds`, or "
            "tell the model in `system` when to stop.",
        )


class MissingSDKError(LLMError, MissingExtraError):
    """The Python package of a provider is not installed."""

    def __init__(self, agent_alias: str, package: str, extra: str | None = None) -> None:
        MissingExtraError.__init__(self, package=package, extra=extra or package, purpose=f"`{agent_alias}`")


class WrongClientError(LLMError, TypeError):
    """`async_client` is not an asynchronous client of the provider's SDK."""

    def __init__(self, agent_alias: str, client: object, wanted: str) -> None:
        super().__init__(
            # Without the object: it may be a key, given in the wrong place.
            f"`{agent_alias}` cannot talk through its `async_client`: it needs a `{wanted}` (or a subclass, such as "
            f"those for the clouds), not a {type(client).__name__}."
        )


class ScriptExhaustedError(LLMError):
    """A scripted model was asked more often than its script has replies."""

    def __init__(self, agent_alias: str, reply_count: int, last_text: str) -> None:
        super().__init__(
            f"`{agent_alias}` was asked once more than its script has replies ({reply_count}); it was asked "
            f"{last_text!r}. Add a reply, or build the script with `when_exhausted='start_over'` or `'repeat_last'`."
        )
