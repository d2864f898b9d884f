"""What all LLM agents have in common: their messages, and `LLMAgent`, the base class of one per provider."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from miniagents.ext.llms._call_log import LLMCallLog
from miniagents.ext.llms._parameters import thawed
from miniagents.ext.llms._streams import checked_stream, closed_at_the_end
from miniagents.ext.llms.llm_messages import AssistantMessage, LLMMessage, SystemMessage, TokenUsage, UserMessage
from miniagents.ext.llms.prompt import Prompt, PromptRules
from miniagents.interaction import InteractionContext
from miniagents.messages import Message
from miniagents.miniagents import MiniAgent, MiniAgents
from miniagents.promising.ext.frozen import Frozen

__all__ = ["AssistantMessage", "LLMAgent", "LLMMessage", "SystemMessage", "TokenUsage", "UserMessage"]


class LLMAgent(BaseModel, ABC):
    """The base class of the agents that ask a model. It replies with one message, streamed token by token.

    A provider of your own is one subclass with one method, decorated with `@miniagent`:

    ```python
    @miniagent
    class ParrotAgent(LLMAgent):
        async def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
            for word in prompt.last_text.split():
                yield word + " "
            answer_fields["stop_reason"] = "said it all"


    reply_sequence = ParrotAgent.inquire("Polly wants a cracker", model="polly-1")
    ```

    Everything else is done here: the prompt is put together, the reply is a promise with `model`, `role` and
    `agent_alias` in its `preliminary_metadata` before the first token, `stream=False` joins the tokens into one, the
    prompt log is written, and on cancellation (`promise.cancel()`, the end of an `async with agent.inquire(...)`, the
    end of the context) `stream_answer` is closed at the `yield` or `await` where it stands, so that its `async with`
    and `finally` blocks run.

    How the messages become a prompt:
    - A message without a role counts as the user's. Blank messages are left out.
    - System messages, wherever they stand, and `system` before them, are joined into one system prompt.
    - Messages of one role in a row are joined into one turn.
    - If nobody but assistants speaks, their messages count as the user's: that is what a model gets from another one
      in a chain.
    - A conversation that an assistant begins is opened with `fake_first_user_message`, and so is an empty one: a model
      that gets no messages at all is asked all the same, with `system` and that one turn.

    Attributes:
        ctx: the interaction, passed in by the framework.
        model: the provider's name of the model.
        system: the system prompt; a list of content blocks where the provider takes these.
        stream: token by token, or the whole answer as one token; None takes the context's
            `stream_llm_tokens_by_default`, and is True or False by the time `stream_answer` is called.
        fake_first_user_message: what the user is made to have said where the conversation does not begin with the user;
            None leaves it as it is.
        message_delimiter_for_same_role: goes between texts that are joined.
        response_metadata: further fields of the reply, there before the first token.
        llm_logger_agent: an agent that is given the prompt and the answer when the answer has ended; True for
            `markdown_llm_logger_agent`, None for the context's `llm_logger_agent`.

    Any other keyword that is given to `fork()` or `inquire()` is a parameter of the API, see `api_parameters`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="allow")

    answer_class: ClassVar[type[Message]] = AssistantMessage
    """The class of the reply."""

    ctx: InteractionContext
    model: str
    system: str | tuple[Frozen, ...] | None = None
    stream: bool | None = None
    fake_first_user_message: str | None = "/start"
    message_delimiter_for_same_role: str = "\n\n"
    response_metadata: Frozen | None = None
    llm_logger_agent: bool | MiniAgent | None = None

    @abstractmethod
    def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        """Ask the model and yield its answer token by token; written as `async def` with `yield`.

        Args:
            prompt: what to ask.
            answer_fields: what is put in here becomes fields of the reply (values like those of JSON); it is read when
                the answer has ended. `usage` should be a `TokenUsage`.

        An error that is raised ends the reply at its place; the tokens before it stay readable.
        """

    @property
    def agent_alias(self) -> str:
        """The alias of this agent, as its fork names it."""
        return self.ctx.this_agent.alias

    @property
    def api_parameters(self) -> dict[str, Any]:
        """The keywords that are no settings of the agent class, as plain JSON: parameters to pass on to the API."""
        return {name: thawed(value) for name, value in (self.model_extra or {}).items()}

    async def __call__(self) -> None:
        """Reply with the answer. Work starts when the framework runs the agent; nothing is sent before."""
        if self.stream is None:
            self.stream = MiniAgents.get_current().stream_llm_tokens_by_default
        known: dict[str, Any] = {"role": "assistant", "model": self.model, "agent_alias": self.agent_alias}
        if self.response_metadata:
            known = {**self.response_metadata.as_kwargs(), **known}
        # Replied before the prompt is complete: whoever reads sees at once that, and who, will answer.
        self.ctx.reply(self.answer_class.promise(message_token_streamer=self._answer, **known))

    def prompt_rules(self) -> PromptRules:
        """How this agent makes messages into a prompt, by its settings."""
        system = self.system
        return PromptRules(
            agent_alias=self.agent_alias,
            system=tuple(thawed(system)) if isinstance(system, tuple) else system or "",
            delimiter=self.message_delimiter_for_same_role,
            fake_first_user_message=self.fake_first_user_message,
        )

    async def _answer(self, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        prompt = self.prompt_rules().prompt_of(await self.ctx.message_promises)
        method = f"{type(self).__name__}.stream_answer"
        tokens = checked_stream(self.stream_answer(prompt, answer_fields), method)
        log = LLMCallLog.of_call(
            logger_agent=self.llm_logger_agent,
            agent_alias=self.agent_alias,
            model=self.model,
            prompt=prompt,
            request={"stream": self.stream, **self.api_parameters},
        )
        if log is not None:
            tokens = log.watching(tokens, answer_fields)
        async with closed_at_the_end(tokens):
            if self.stream:
                async for token in tokens:
                    if token:
                        yield token
            elif whole := "".join([token async for token in tokens]):
                yield whole
