"""What a type checker must infer about agents and messages. Checked by basedpyright in strict mode, never run."""

from collections.abc import AsyncIterator
from typing import Any, assert_type

from miniagents import (
    AgentCall,
    InteractionContext,
    Message,
    MessagePromise,
    MessageSequencePromise,
    MessageTokenAppender,
    MiniAgent,
    MiniAgents,
    miniagent,
)


@miniagent
async def bare_agent(ctx: InteractionContext) -> None:
    assert_type(ctx.message_promises, MessageSequencePromise)
    assert_type(ctx.this_agent.alias, str)
    assert_type(ctx.this_agent.inquire("again"), MessageSequencePromise)
    await ctx.reply("hi")
    ctx.reply(["hi", None, Message("hi"), {"content": "hi"}, ["nested", ("deeper", ValueError("an error"))]])


@miniagent(alias="SHOUTER", description="Says it louder.", times=2)
async def agent_with_settings(ctx: InteractionContext, times: int = 1) -> None:
    async for message_promise in ctx.message_promises:
        ctx.reply(message_promise)


@miniagent
class ClassAgent:
    def __init__(self, ctx: InteractionContext, loudness: int = 1) -> None:
        self.ctx = ctx
        self.loudness = loudness

    async def __call__(self) -> None:
        self.ctx.reply("hi")


def decorated_functions_and_classes_are_agents() -> None:
    assert_type(bare_agent, MiniAgent)
    assert_type(agent_with_settings, MiniAgent)
    assert_type(ClassAgent, MiniAgent)
    assert_type(bare_agent.alias, str)
    assert_type(bare_agent.fork(alias="OTHER", temperature=0.5), MiniAgent)


async def replies_are_messages_that_stream_text() -> None:
    replies = bare_agent.inquire("hello", some_setting=5)

    assert_type(replies, MessageSequencePromise)
    assert_type(await replies, tuple[Message, ...])
    async for message_promise in replies:
        assert_type(message_promise, MessagePromise)
        assert_type(await message_promise, Message)
        async for token in message_promise:
            assert_type(token, str)


async def leaving_the_block_cancels_and_the_block_has_the_same_type() -> None:
    async with bare_agent.inquire("hello") as replies:
        assert_type(replies, MessageSequencePromise)


async def a_sequence_as_one_message() -> None:
    whole = bare_agent.inquire().as_single_promise(delimiter="\n")

    assert_type(whole, MessagePromise)
    assert_type(await whole, Message)


def firing_and_forgetting_gives_nothing() -> None:
    assert_type(bare_agent.kick_off("hello"), None)


async def a_call_in_steps() -> None:
    call = bare_agent.initiate_inquiry()

    assert_type(call, AgentCall)
    call.send_message("one").send_message(["two", Message("three")])
    assert_type(call.is_finished, bool)
    assert_type(call.reply_sequence(), MessageSequencePromise)


def messages_and_their_text() -> None:
    message = Message("hello", mood="friendly")

    assert_type(message.content, str | None)
    assert_type(str(message), str)
    assert_type(message.hash_key, str)
    assert_type(message.serialize(), dict[str, Any])
    assert_type(message.as_promise, MessagePromise)


class CustomMessage(Message):
    custom_field: str


def a_message_of_ones_own_has_typed_fields() -> None:
    message = CustomMessage("hello", custom_field="value")

    assert_type(message.custom_field, str)


async def tokens(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
    metadata_so_far["mood"] = "friendly"
    yield "hello"


def a_message_from_a_stream_of_tokens() -> None:
    assert_type(Message.promise(message_token_streamer=tokens, mood="unknown"), MessagePromise)

    with MessageTokenAppender() as appender:
        appender.append("hello")
        assert_type(appender.metadata_so_far, dict[str, Any])
        assert_type(Message.promise(message_token_streamer=appender), MessagePromise)


async def main() -> int:
    return 0


async def contexts() -> None:
    mini_agents = MiniAgents()
    assert_type(mini_agents.run(main()), int)
    assert_type(await mini_agents.arun(main()), int)
    assert_type(MiniAgents.get_current(), MiniAgents)
    async with MiniAgents(errors_to_messages=True, llm_logger_agent=True) as context:
        assert_type(context, MiniAgents)
        assert_type(InteractionContext.get_current(), InteractionContext)


async def handlers_are_registered_as_they_are(mini_agents: MiniAgents) -> None:
    @mini_agents.on_persist_message
    async def handler(_: object, message: Message) -> None:
        assert_type(message.hash_key, str)

    # They stay what they were, so that they can be called in a test.
    await handler(None, Message("hello"))
