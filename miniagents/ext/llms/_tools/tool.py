"""`Tool`, what a model can call, and how functions and agents become tools."""

import functools
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast, overload

from pydantic_core import to_json

from miniagents._agent_kit import kit_of
from miniagents.ext.llms._common.strict_schema import strict_schema
from miniagents.ext.llms._tools.approval import ApprovalRule, checked_rule
from miniagents.ext.llms._tools.docstrings import read_docstring
from miniagents.ext.llms._tools.results import call, reply_with
from miniagents.ext.llms._tools.schemas import (
    ArgumentsModel,
    ToolDefinitionError,
    annotations_of,
    any_arguments,
    can_be_argument,
    is_of,
)
from miniagents.ext.llms.model_events import ToolSchema
from miniagents.interaction import InteractionContext
from miniagents.message_sequence import MessageSequencePromise
from miniagents.miniagents import MiniAgent, miniagent
from miniagents.utils import collapse_spaces, upper_snake_case

ArgumentsAs: TypeAlias = Literal["settings", "request", "json"]


@dataclass(frozen=True, slots=True)
class _Options:
    """What a user says about a tool beyond what it was made of."""

    name: str | None = None
    description: str | None = None
    requires_approval: ApprovalRule | None = None
    strict: bool | None = None


_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REQUEST = "What you want to have done, with everything that one needs to know for it."


@dataclass(frozen=True, eq=False)
class Tool:
    """Something that a model can call: an agent, and how a model sees it.

    Made by `@tool` and `as_tool()`. `tool.inquire(city="Paris")` calls it like an agent, without a model.

    Attributes:
        schema: its name, what it does, and what it takes.
        agent: who does the work; the text of its replies is the result, as it streams.
        requires_approval: which of its calls are asked about first; see `Toolbox`.
        arguments_as: how the agent gets the arguments: as its `"settings"`; as one message, which is the argument
            `request`; or as one message that is all of them in `"json"`. None: as its settings if it takes any.
        origin: what it was made of, for the texts of errors.

    Raises:
        ToolDefinitionError: providers refuse the name, or the schema is not as strict as it says.
    """

    schema: ToolSchema
    agent: MiniAgent
    requires_approval: ApprovalRule = False
    arguments_as: ArgumentsAs | None = None
    origin: str = ""
    arguments: ArgumentsModel | None = None
    """What validates the arguments; None: the agent does."""
    function: Callable[..., Any] | None = None
    """The function that it was made of, if it was made of one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "requires_approval", checked_rule(self.requires_approval))
        object.__setattr__(self, "origin", self.origin or f"the agent `{self.agent.alias}`")
        if self.arguments_as is None:
            takes_settings = bool(_open_settings(self.agent, self.origin)[0])
            object.__setattr__(self, "arguments_as", "settings" if takes_settings else "request")
        if not _NAME.fullmatch(self.schema.name):
            raise ToolDefinitionError(
                f"{_sentence(self.origin)} cannot be a tool named {self.schema.name!r}: providers want 1 to 64 "
                "letters, digits, `_` and `-`. Give it another name: `@tool(name=...)`, or `as_tool(..., name=...)`."
            )
        if self.schema.strict:
            _demand_strict(self.schema.parameters, self.origin)

    @property
    def name(self) -> str:
        """How the model calls it."""
        return self.schema.name

    def inquire(self, /, **arguments: Any) -> MessageSequencePromise:
        """Call the tool with these arguments and give its replies.

        Raises:
            ToolArgumentsError: it does not take them.
        """
        return self.start(to_json(arguments).decode())

    def start(self, arguments_json: str) -> MessageSequencePromise:
        """Call the tool with arguments as a model writes them, and give its replies.

        Raises:
            ToolArgumentsError: it does not take them (one whose `arguments_as` is `"json"` replies with the error).
        """
        if self.arguments_as == "json":
            return self.agent.inquire(arguments_json.strip() or "{}", errors_to_messages=False)
        values = self.checked(arguments_json)
        if self.arguments_as == "request":
            return self.agent.inquire(values.get("request"), errors_to_messages=False)
        return self.agent.inquire(errors_to_messages=False, **values)

    def checked(self, arguments_json: str) -> dict[str, Any]:
        """Give the arguments as values.

        Raises:
            ToolArgumentsError: it does not take them.
        """
        return any_arguments(arguments_json) if self.arguments is None else self.arguments.values_of(arguments_json)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function that the tool was made of, as if it were none.

        Raises:
            TypeError: it was made of an agent.
        """
        if self.function is None:
            raise TypeError(f"The tool `{self.name}` is no function: write `await {self.name}.inquire(...)`.")
        return self.function(*args, **kwargs)


class ToolSource(ABC):
    """Gives tools that are known only when one asks, such as those of an MCP server."""

    @abstractmethod
    async def load(self) -> Sequence[Tool]:
        """Give the tools that there are now; asked before every request to the model, so it must be cheap."""


_KEPT_AS = "__miniagents_tool__"


def as_tool(
    something: Any,
    *,
    name: str | None = None,
    description: str | None = None,
    requires_approval: ApprovalRule | None = None,
    strict: bool | None = None,
) -> Tool:
    """Make a tool of a function, or of an agent; a `Tool` is given back, with what is said here on top.

    Of a function, async or not (those that are not run in threads, so that they do not block the others): its
    parameters are the arguments, by their annotations, defaults and what the docstring says about them. A parameter
    annotated `InteractionContext` gets the tool's own context and is no argument. What it returns is the result: text,
    messages, or anything that JSON can hold; what it yields (or an async iterator that it returns) streams.

    Of an agent: the settings that are still open are the arguments; one that has none, or takes any, as model agents
    do, gets one argument, `request`, as its message.

    Args:
        something: a function, a `MiniAgent` or a `Tool`.
        name: by default that of the function, or the agent's alias in lower case.
        description: what it does, by default the docstring without what it says about parameters and results.
        requires_approval: which of its calls are asked about first; see `Toolbox`.
        strict: whether providers shall enforce the schema; None: where they can.

    Raises:
        ToolDefinitionError: it cannot be a tool; says what to change.
    """
    options = _Options(name, description, requires_approval, strict)
    if isinstance(something, Tool):
        return something if options == _Options() else _changed(something, options)
    if isinstance(something, MiniAgent):
        if options != _Options():
            return _tool_of_agent(something, options)
        return something.cached("as a tool", lambda: _tool_of_agent(something, options))
    if options != _Options() or not inspect.isfunction(something):
        return _tool_of_function(something, options)
    # Kept by the function itself, so that it goes with it. What wraps another function copies what that one keeps.
    found: Tool | None = vars(something).get(_KEPT_AS)
    if found is None or found.function is not something:
        found = vars(something)[_KEPT_AS] = _tool_of_function(something, options)
    return found


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    function: None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    requires_approval: ApprovalRule = False,
    strict: bool | None = None,
) -> Callable[[Callable[..., Any] | MiniAgent], Tool]: ...
def tool(
    function: Any = None,
    *,
    name: str | None = None,
    description: str | None = None,
    requires_approval: ApprovalRule = False,
    strict: bool | None = None,
) -> Any:
    """Make a tool of a function (or agent), bare or with options; see `as_tool`, and give it to `tools=[...]`.

    Raises:
        ToolDefinitionError: it cannot be a tool; says what to change.
    """

    def decorate(something: Any) -> Tool:
        return as_tool(
            something, name=name, description=description, requires_approval=requires_approval, strict=strict
        )

    return decorate if function is None else decorate(function)


# -- functions ------------------------------------------------------------------------------------------------------


def _tool_of_function(function: Any, options: _Options) -> Tool:
    target, own_name = _what_is_called(function)
    origin = f"the function `{own_name}`"
    text, described = read_docstring(getattr(target, "__doc__", None))
    hints = annotations_of(target, _sentence(origin))
    parameters = list(inspect.signature(function).parameters.values())
    contexts = [found.name for found in parameters if hints.get(found.name) is InteractionContext]
    taken = [found for found in parameters if found.name not in contexts]
    for found in taken:
        if found.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise ToolDefinitionError(
                f"{_sentence(origin)} takes `{found}`, of which a model cannot know what to give: give it parameters "
                "with names and annotations."
            )
    name = options.name or own_name
    arguments = ArgumentsModel(_sentence(origin), taken, hints, described)
    by_position = [found.name for found in parameters if found.kind is inspect.Parameter.POSITIONAL_ONLY]

    async def run(ctx: InteractionContext) -> None:
        values = arguments.values_of("".join([str(message) for message in await ctx.message_promises]))
        values.update(dict.fromkeys(contexts, ctx))
        # Positional ones that were not given are the last of them.
        args = [values.pop(key) for key in by_position if key in values]
        await reply_with(ctx, await call(function, args, values), name)

    described_as = text if options.description is None else options.description
    # An alias of its own, as agents have it; the name may be anything here, it is checked with the tool.
    agent = miniagent(alias=upper_snake_case(name), description=described_as, durable=True)(run)
    schema = _schema(name, described_as, arguments.schema, options, origin)
    return Tool(schema, agent, options.requires_approval or False, "json", origin, arguments, function)


def _what_is_called(function: Any) -> tuple[Callable[..., Any], str]:
    """Give the function with the annotations, and the name."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = cast("functools.partial[Any]", inner).func
    if inspect.isroutine(inner):
        return inner, inner.__name__
    if callable(inner) and not isinstance(inner, type):
        return type(inner).__call__, upper_snake_case(type(inner).__name__).lower()
    raise ToolDefinitionError(
        f"{inner!r} cannot be a tool: `tools=[...]` takes functions, agents, what `@tool` makes of them, and "
        "`mcp_tools(...)`."
    )


# -- agents ---------------------------------------------------------------------------------------------------------


def _tool_of_agent(agent: MiniAgent, options: _Options) -> Tool:
    origin = f"the agent `{agent.alias}`"
    text, described = _said_about(agent)
    parameters, hints = _open_settings(agent, origin)
    arguments_as: ArgumentsAs = "settings" if parameters else "request"
    if not parameters:
        parameters = [inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)]
        hints, described = {"request": str}, {"request": _REQUEST}
    arguments = ArgumentsModel(_sentence(origin), parameters, hints, described)
    described_as = text if options.description is None else options.description
    schema = _schema(options.name or agent.alias.lower(), described_as, arguments.schema, options, origin)
    if kit_of(agent).marks.durable is None:
        # What a model was told is kept in a journal whole, like the answer that it made of it.
        agent = agent.fork(durable=True)
    return Tool(schema, agent, options.requires_approval or False, arguments_as, origin, arguments)


def _said_about(agent: MiniAgent) -> tuple[str, dict[str, str]]:
    """Give the description, and what the docstring says about each setting."""
    docstring = inspect.getdoc(kit_of(agent).func_or_class) or ""
    text, described = read_docstring(docstring)
    # The description is the docstring without its line breaks, unless the user gave another.
    is_docstring = agent.description == collapse_spaces(docstring).replace("{AGENT_ALIAS}", agent.alias)
    return text.replace("{AGENT_ALIAS}", agent.alias) if is_docstring else agent.description or "", described


def _open_settings(agent: MiniAgent, origin: str) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """Give the settings that a model can fill in; none if the agent takes whatever it is given."""
    kit = kit_of(agent)
    if kit.signature.takes_anything:
        return [], {}
    found = inspect.signature(kit.func_or_class).parameters
    hints = {key: parameter.annotation for key, parameter in found.items()}
    for source in (kit.func_or_class, getattr(kit.func_or_class, "__init__", None)):
        if inspect.isfunction(source):
            hints.update(annotations_of(source, _sentence(origin)))
    parameters: list[inspect.Parameter] = []
    for key, parameter in found.items():
        if key not in kit.signature.names or key in kit.defaults:
            continue
        hint = hints.get(key, inspect.Parameter.empty)
        has_default = parameter.default is not inspect.Parameter.empty
        if is_of(hint, MiniAgent) or (hint is not inspect.Parameter.empty and not can_be_argument(hint)):
            if has_default:
                continue
            raise ToolDefinitionError(
                f"{_sentence(origin)} needs `{key}`, which a model cannot give: fix it before, with `fork({key}=...)`."
            )
        parameters.append(parameter)
    return parameters, {key: hint for key, hint in hints.items() if hint is not inspect.Parameter.empty}


# -- both -----------------------------------------------------------------------------------------------------------


def _changed(given: Tool, options: _Options) -> Tool:
    schema = given.schema
    parameters = given.arguments.schema if given.arguments is not None else dict(schema.parameters)
    if schema.strict and options.strict is None:
        options = replace(options, strict=True)
    description = schema.description if options.description is None else options.description
    return replace(
        given,
        schema=_schema(options.name or schema.name, description, parameters, options, given.origin),
        requires_approval=given.requires_approval if options.requires_approval is None else options.requires_approval,
    )


def _schema(name: str, description: str, parameters: dict[str, Any], options: _Options, origin: str) -> ToolSchema:
    if options.strict:
        return ToolSchema(name, description, _demand_strict(parameters, origin), strict=True)
    form = strict_schema(parameters, references="put in place")
    if options.strict is None and not form.losses:
        return ToolSchema(name, description, form.schema, strict=True)
    return ToolSchema(name, description, parameters)


def _demand_strict(parameters: Any, origin: str) -> dict[str, Any]:
    form = strict_schema(parameters, references="put in place")
    for loss in form.losses:
        raise ToolDefinitionError(
            f"{_sentence(origin)} cannot be a strict tool: `{loss.where or 'the arguments'}` {loss.why}. Change that, "
            "or leave out `strict=True`."
        )
    return form.schema


def _sentence(origin: str) -> str:
    return origin[:1].upper() + origin[1:]
