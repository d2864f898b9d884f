"""`Toolbox`: the tools of a model agent, and how their calls are run.

called --count--> known? --> arguments valid? --> approved? --> running --> the result, token by token
                    `-------------`-----------------`-------------`--> an error result, or `ToolError`
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any, Literal, cast

from miniagents._tool_marks import current_tool_call
from miniagents.ext.llms._common.secrets import without_secrets
from miniagents.ext.llms._common.streams import closed_at_the_end
from miniagents.ext.llms._tools.approval import ApprovalRule, ask_for_approval, checked_rule, needs_approval
from miniagents.ext.llms._tools.schemas import ToolArgumentsError, ToolDefinitionError
from miniagents.ext.llms._tools.tool import Tool, ToolSource, as_tool
from miniagents.ext.llms.errors import LLMError, ToolError, UsageLimitExceededError
from miniagents.ext.llms.llm_messages import MediaMessage, ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llms.model_events import ToolSchema
from miniagents.messages import MessagePromise
from miniagents.miniagents import MiniAgent, MiniAgents
from miniagents.promising._reporting import error_report
from miniagents.promising._wording import class_and_text
from miniagents.usage import count_tool_call

_LONGEST_ERROR = 2000
_LONGEST_REPORT = 100_000
"""Characters; of what the model is told, and of what goes to the log."""
_NO_PART_OF_A_RESULT = (ThinkingMessage, ToolCallMessage, ToolResultMessage)


class UnknownToolError(LLMError, LookupError):
    """A model called a tool that it does not have."""


class ToolFailedError(LLMError):
    """Raise this in a tool to tell the model what went wrong in your own words, and no more than these."""


class Toolbox:
    """The tools of a model agent.

    Args:
        tools: functions, agents, `Tool`s, sources of tools such as `mcp_tools(...)`, and lists of these.
        agent_alias: whose tools they are.
        tool_errors: whether what goes wrong is a result with `is_error=True`, so that the model can mend it, or
            raised as `ToolError`.
        approval_agent: who is asked; None: the person at the console.
        requires_approval: which calls are asked about before they run: all (True), those of the tools with these
            names, or those for which a function of the `ToolCallMessage`, async or not, says so. Besides those for
            which the tool itself says so.

    Raises:
        ToolDefinitionError: something cannot be a tool, or two tools have one name.
    """

    def __init__(
        self,
        tools: Iterable[Any],
        *,
        agent_alias: str,
        tool_errors: Literal["to_model", "raise"] = "to_model",
        approval_agent: MiniAgent | None = None,
        requires_approval: ApprovalRule = False,
    ) -> None:
        self._alias = agent_alias
        self._tool_errors = tool_errors
        self._approval_agent = approval_agent
        self._requires_approval = checked_rule(requires_approval)
        self._given = list(_flat(tools))
        self._has_sources = any(isinstance(given, ToolSource) for given in self._given)
        self._by_name: dict[str, Tool] = {}
        if not self._has_sources:
            self._use(cast("list[Tool]", self._given))

    async def prepare(self) -> None:
        """Ask the sources for the tools that they have now; to be awaited before each request to the model.

        Raises:
            LLMError: a source cannot be reached.
            ToolDefinitionError: two tools have one name.
        """
        if not self._has_sources:
            return
        tools: list[Tool] = []
        for given in self._given:
            tools.extend(await given.load() if isinstance(given, ToolSource) else [given])
        self._use(tools)

    def _use(self, tools: list[Tool]) -> None:
        by_name: dict[str, Tool] = {}
        for tool in tools:
            other = by_name.setdefault(tool.name, tool)
            if other is not tool:
                raise ToolDefinitionError(
                    f"`{self._alias}` has two tools named `{tool.name}`, {other.origin} and {tool.origin}: rename one, "
                    "with `as_tool(..., name=...)`, `@tool(name=...)` or `mcp_tools(..., prefix=...)`."
                )
        rule = self._requires_approval
        unknown = () if isinstance(rule, bool) or callable(rule) else sorted(set(rule) - by_name.keys())
        if unknown:
            raise ToolDefinitionError(
                f"`requires_approval` of `{self._alias}` names `{unknown[0]}`, but the tools are {_listed(by_name)}: "
                "correct the name, as nobody would be asked."
            )
        self._by_name = by_name

    @property
    def schemas(self) -> tuple[ToolSchema, ...]:
        """The tools as a model sees them, in the order in which they were given; those of sources after `prepare`."""
        return tuple([tool.schema for tool in self._by_name.values()])

    def run(self, calls: Sequence[ToolCallMessage]) -> list[MessagePromise]:
        """Start all calls at the same time, and give one promise of a `ToolResultMessage` for each, in their order.

        The tools belong to the agent that calls this, and are cancelled with it. What a tool says streams; images and
        files among it are in the field `media` of the result.

        The promises raise `UsageLimitExceededError` where a limit on tool calls is reached, and `ToolError` if
        `tool_errors="raise"`.
        """
        return [
            ToolResultMessage.promise(
                message_token_streamer=partial(self._answer, call),
                start_asap=True,
                tool_call_id=call.tool_call_id,
                tool_name=call.tool_name,
                role="tool",
            )
            for call in calls
        ]

    async def _answer(self, call: ToolCallMessage, fields: dict[str, Any]) -> AsyncIterator[str]:
        count_tool_call(agent_alias=self._alias, tool_name=call.tool_name)
        has_said = False
        try:
            tool = self._tool_for(call)
            denial = await self._denial(tool, call)
            if denial is not None:
                fields["is_error"] = True
                yield denial
                return
            async with closed_at_the_end(_result(tool, call, fields)) as tokens:
                async for token in tokens:
                    has_said = has_said or bool(token)
                    yield token
        except UsageLimitExceededError:
            raise
        except Exception as error:
            self._log(call, error)
            if self._tool_errors == "raise":
                raise ToolError(self._alias, call.tool_name, call.tool_call_id, _why(error)) from error
            told = _told(call, error)
            fields["is_error"] = True
            yield f"\n\n{told}" if has_said else told

    def _tool_for(self, call: ToolCallMessage) -> Tool:
        found = self._by_name.get(call.tool_name)
        if found is None:
            raise UnknownToolError(
                f"There is no tool named `{call.tool_name}`. The tools are {_listed(self._by_name) or 'none'}."
            )
        return found

    async def _denial(self, tool: Tool, call: ToolCallMessage) -> str | None:
        """Give what the model is told if somebody who was asked did not approve; None: it may run."""
        rules = [rule for rule in (self._requires_approval, tool.requires_approval) if rule is not False]
        if not rules:
            return None
        # Nobody is bothered with a call that could not run anyway, and no rule has to cope with one.
        tool.checked(str(call))
        if not any([await needs_approval(rule, call) for rule in rules]):
            return None
        verdict = await ask_for_approval(self._approval_agent, call, tool.schema.description)
        if verdict.approved:
            return None
        why = f" The reason: {verdict.reason.rstrip('.')}." if verdict.reason else ""
        return f"This call of `{call.tool_name}` was not approved, so it was not run.{why}"

    def _log(self, call: ToolCallMessage, error: Exception) -> None:
        context = MiniAgents.get_current()
        is_expected = isinstance(error, LLMError)
        report = error_report(
            error,
            f"The tool `{call.tool_name}` that `{self._alias}` called failed",
            with_traceback=not is_expected,
            reduced=context.reduces_tracebacks(),
        )
        context.logger.warning("%s", without_secrets(report, longest=_LONGEST_REPORT))


def _flat(tools: Iterable[Any]) -> Iterable[Tool | ToolSource]:
    for given in tools:
        if isinstance(given, list | tuple):
            yield from _flat(cast("list[Any]", given))
        else:
            yield given if isinstance(given, ToolSource) else as_tool(given)


async def _result(tool: Tool, call: ToolCallMessage, fields: dict[str, Any]) -> AsyncIterator[str]:
    """Give the tokens of what the tool says; pictures and files go into `fields`."""
    current_tool_call.set(call)
    media: list[MediaMessage] = []
    is_first = True
    async for promise in tool.start(str(call)):
        if issubclass(promise.message_class, _NO_PART_OF_A_RESULT):
            continue
        if issubclass(promise.message_class, MediaMessage):
            media.append(cast("MediaMessage", await promise))
            continue
        if not is_first:
            yield "\n\n"
        is_first = False
        async for token in promise:
            yield token
    if media:
        fields["media"] = tuple(media)


def _told(call: ToolCallMessage, error: Exception) -> str:
    """Say to a model what went wrong, so that it can mend it."""
    says_all = isinstance(error, ToolArgumentsError | UnknownToolError | ToolFailedError)
    return _why(error) if says_all else f"The tool `{call.tool_name}` failed: {_why(error)}"


def _why(error: Exception) -> str:
    text = str(error) if isinstance(error, LLMError) and str(error) else class_and_text(error)
    return without_secrets(text, longest=_LONGEST_ERROR)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
