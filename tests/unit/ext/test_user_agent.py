import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext import dialog_loop, in_memory_history_agent, user_agent
from miniagents.ext.llms import AssistantMessage, UserMessage


class Console:
    """An input and an output agent that note in one list what happens."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.events: list[str] = []

    def user(self, **settings: Any) -> MiniAgent:
        @miniagent
        async def output(ctx: InteractionContext) -> None:
            async for promise in ctx.message_promises:
                marks = "".join(f" [{name}]" for name in ("is_error",) if promise.preliminary_metadata.get(name))
                self.events.append(f"shown{marks}: {await promise}")

        @miniagent
        async def read_line(ctx: InteractionContext) -> None:
            self.events.append("asked")
            if not self.lines:
                raise EOFError
            ctx.reply(self.lines.pop(0))

        return user_agent.fork(output_agent=output, input_agent=read_line, **settings)


async def test_it_shows_what_came_before_it_asks_and_replies_with_the_whole_conversation(
    mini_agents: MiniAgents,
) -> None:
    console = Console("fine")

    conversation = await console.user().inquire([UserMessage("hi"), "how are you?"])

    assert console.events == ["shown: hi", "shown: how are you?", "asked"]
    assert [(str(message), message.role) for message in conversation] == [
        ("hi", "user"),
        ("how are you?", "assistant"),
        ("fine", "user"),
    ]


async def test_without_a_history_agent_it_replies_with_the_input_alone(mini_agents: MiniAgents) -> None:
    user = Console("one", "two").user(history_agent=None)

    assert [str(message) for message in await user.inquire("a")] == ["one"]
    assert [str(message) for message in await user.inquire("b")] == ["two"]


async def test_any_agent_that_replies_with_what_it_keeps_can_be_the_history(mini_agents: MiniAgents) -> None:
    @miniagent
    async def numbered_history(ctx: InteractionContext, kept: list[str]) -> None:
        kept.extend([f"{len(kept)}: {message}" for message in await ctx.message_promises])
        ctx.reply(kept)

    history = numbered_history.fork(mutable_state={"kept": []})

    replies = await Console("b").user(history_agent=history).inquire("a")

    assert [str(message) for message in replies] == ["0: a", "1: b"]


async def test_what_is_shown_is_in_the_history_before_the_user_is_asked(mini_agents: MiniAgents) -> None:
    kept: list[Message] = []
    history = in_memory_history_agent.fork(mutable_state={"message_list": kept})

    with pytest.raises(EOFError):
        await Console().user(history_agent=history).inquire(AssistantMessage("hello"))

    assert kept == [AssistantMessage("hello")]


async def half_an_answer(_metadata: dict[str, Any]) -> AsyncIterator[str]:
    yield "half "
    yield "an answer"
    raise ConnectionError("the line\nis dead")


async def test_a_failing_assistant_is_told_to_the_user_and_the_dialog_goes_on(mini_agents: MiniAgents) -> None:
    console = Console("hi", "go on")
    asked: list[list[str]] = []

    @miniagent
    async def assistant(ctx: InteractionContext) -> None:
        asked.append([str(message) for message in await ctx.message_promises])
        if len(asked) > 1:
            ctx.reply("better now")
            return
        ctx.reply(["whole", Message.promise(message_token_streamer=half_an_answer)])
        raise ValueError("and the end of it")

    await dialog_loop.inquire(user_agent=console.user(), assistant_agent=assistant)

    assert console.events == [
        "asked",
        "shown: whole",
        "shown: half an answer",
        "shown [is_error]: ConnectionError: the line is dead",
        "shown [is_error]: ValueError: and the end of it",
        "asked",
        "shown: better now",
        "asked",
    ]
    assert asked == [["hi"], ["hi", "whole", "half an answer", "go on"]]


@pytest.mark.mini_agents(errors_to_messages=True)
async def test_the_end_of_input_is_no_message_where_errors_become_messages_by_default(mini_agents: MiniAgents) -> None:
    console = Console("hi", "go on")

    @miniagent
    async def assistant(ctx: InteractionContext) -> None:
        raise ValueError("no")

    await dialog_loop.inquire(user_agent=console.user(), assistant_agent=assistant)

    told = "shown [is_error]: ValueError: no"
    assert console.events == ["asked", told, "asked", told, "asked"]


@pytest.mark.mini_agents(start_everything_asap_by_default=False)
async def test_a_dialog_works_where_agents_start_only_when_their_replies_are_read(mini_agents: MiniAgents) -> None:
    console = Console("hi", "bye")

    @miniagent
    async def assistant(ctx: InteractionContext) -> None:
        ctx.reply(f"{len(await ctx.message_promises)} messages")

    await dialog_loop.inquire("be kind", user_agent=console.user(), assistant_agent=assistant)

    assert console.events == ["asked", "shown: 2 messages", "asked", "shown: 4 messages", "asked"]


async def test_tokens_are_shown_as_they_arrive(mini_agents: MiniAgents) -> None:
    first_token_was_shown = asyncio.Event()

    async def two_tokens(_metadata: dict[str, Any]) -> AsyncIterator[str]:
        yield "first "
        await first_token_was_shown.wait()
        yield "second"

    @miniagent
    async def output(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            async for _ in promise:
                first_token_was_shown.set()

    @miniagent
    async def read_line(ctx: InteractionContext) -> None:
        ctx.reply("ok")

    user = user_agent.fork(output_agent=output, input_agent=read_line)

    conversation = await user.inquire(Message.promise(message_token_streamer=two_tokens))

    assert [str(message) for message in conversation] == ["first second", "ok"]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
async def test_an_assistant_can_end_the_dialog(mini_agents: MiniAgents, end: type[BaseException]) -> None:
    console = Console("bye", "never said")
    kept: list[Message] = []

    @miniagent
    async def assistant(ctx: InteractionContext) -> None:
        ctx.reply("Goodbye.")
        raise end

    history = in_memory_history_agent.fork(mutable_state={"message_list": kept})
    await dialog_loop.inquire(user_agent=console.user(history_agent=history), assistant_agent=assistant)

    assert console.events == ["asked", "shown: Goodbye."]
    assert [str(message) for message in kept] == ["bye", "Goodbye."]
