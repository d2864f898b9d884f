"""`on_persist_message`: every message that gets resolved, once, what is inside it first, and the records of calls."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MessageSequence, MiniAgents, miniagent


class Store:
    """Keeps what it is given, in the order in which it comes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def persist(self, _: Any, message: Message) -> None:
        self.messages.append(message)

    def texts(self) -> list[str]:
        """The plain messages, without the records of calls."""
        return [str(message) for message in self.messages if not message.class_.endswith("Node")]

    def nodes(self, class_name: str) -> list[Message]:
        return [message for message in self.messages if message.class_ == class_name]


@pytest.fixture
def store(mini_agents: MiniAgents) -> Store:
    store = Store()
    mini_agents.on_persist_message(store.persist)
    return store


@miniagent
async def echo(ctx: InteractionContext, k: int = 0) -> None:
    """An agent."""
    async for message_promise in ctx.message_promises:
        ctx.reply(f"Echo: {await message_promise}")


# -- messages ------------------------------------------------------------------------------------------------------------


async def test_input_replies_and_the_records_of_both_are_persisted(store: Store, mini_agents: MiniAgents) -> None:
    await echo.inquire("hi")
    await mini_agents.aflush_tasks()

    assert [message.class_ for message in store.messages] == ["Message", "AgentCallNode", "Message", "AgentReplyNode"]
    assert store.texts() == ["hi", "Echo: hi"]
    assert all(len(message.hash_key) == 40 for message in store.messages)


async def test_a_handler_is_registered_by_a_decorator_or_a_keyword() -> None:
    persisted: list[str] = []

    async def first(_: Any, message: Message) -> None:
        persisted.append(f"first {message.class_}")

    async def second(_: Any, message: Message) -> None:
        persisted.append(f"second {message.class_}")

    async with MiniAgents(on_persist_message=[first]) as mini_agents:
        assert mini_agents.on_persist_message(second) is second
        await MessageSequence.turn_into_sequence_promise("hi")
    async with MiniAgents(on_persist_message=second):
        await MessageSequence.turn_into_sequence_promise("hi")

    assert sorted(persisted) == ["first Message", "second Message", "second Message"]


@pytest.mark.parametrize("how", ["method", "keyword"])
def test_a_plain_function_is_refused(how: str) -> None:
    def handler(_: Any, message: Message) -> None: ...

    with pytest.raises(TypeError, match="async def handler"):
        if how == "method":
            MiniAgents().on_persist_message(handler)  # pyright: ignore
        else:
            MiniAgents(on_persist_message=handler)  # pyright: ignore


async def test_all_is_persisted_when_the_context_ends() -> None:
    store = Store()
    async with MiniAgents(on_persist_message=store.persist):
        echo.inquire(["a", "b"])

    assert sorted(store.texts()) == ["Echo: a", "Echo: b", "a", "b"]


async def test_messages_inside_come_first(store: Store, mini_agents: MiniAgents) -> None:
    inner = Message("inner")
    middle = Message("middle", box={"of": [inner]})
    outer = Message("outer", middle=middle)

    await MessageSequence.turn_into_sequence_promise(outer)
    await mini_agents.aflush_tasks()

    assert store.texts() == ["inner", "middle", "outer"]
    assert store.messages[1]["box"]["of"][0] is store.messages[0]


async def test_each_message_object_is_persisted_once(store: Store, mini_agents: MiniAgents) -> None:
    message = Message("same")
    for _ in range(3):
        await echo.inquire([message, message])
        await message.as_promise
    await MessageSequence.turn_into_sequence_promise(Message("outer", inner=message))
    await mini_agents.aflush_tasks()

    assert store.texts().count("same") == 1


async def test_two_equal_objects_count_as_two(store: Store, mini_agents: MiniAgents) -> None:
    await echo.inquire(["same", "same"])
    await mini_agents.aflush_tasks()

    assert store.texts().count("same") == 2
    assert store.texts().count("Echo: same") == 2


async def test_a_streamed_message_is_persisted_when_it_is_whole(store: Store, mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "slow "
        await release.wait()
        yield "tokens"

    promise = Message.promise(message_token_streamer=tokens)
    assert await anext(aiter(promise)) == "slow "
    await asyncio.sleep(0)
    assert store.texts() == []

    release.set()
    await promise
    await mini_agents.aflush_tasks()
    assert store.texts() == ["slow tokens"]


async def test_a_message_that_nobody_awaits_is_persisted_too(store: Store, mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "unread"

    Message.promise(message_token_streamer=tokens)
    Message.promise("prefilled")
    await mini_agents.aflush_tasks()

    assert sorted(store.texts()) == ["prefilled", "unread"]


async def test_a_message_that_fails_is_not_persisted(store: Store, mini_agents: MiniAgents) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "some"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Message.promise(message_token_streamer=tokens)
    await mini_agents.aflush_tasks()

    assert store.messages == []


async def test_persisting_delays_nobody(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    begun: list[str] = []

    @mini_agents.on_persist_message
    async def slow(_: Any, message: Message) -> None:
        begun.append(message.class_)
        await release.wait()

    assert [str(message) for message in await echo.inquire("hi")] == ["Echo: hi"]
    release.set()
    await mini_agents.aflush_tasks()
    assert len(begun) == 4


async def test_contexts_further_out_persist_too(store: Store, mini_agents: MiniAgents) -> None:
    inner_store = Store()
    async with MiniAgents(on_persist_message=inner_store.persist):
        await echo.inquire("hi")
    await mini_agents.aflush_tasks()

    assert inner_store.texts() == ["hi", "Echo: hi"]
    assert store.texts() == ["hi", "Echo: hi"]


# -- handlers that fail --------------------------------------------------------------------------------------------------


async def test_a_handler_that_fails_is_reported_and_the_message_is_offered_again(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    offered: list[str] = []

    @mini_agents.on_persist_message
    async def flaky(_: Any, message: Message) -> None:
        offered.append(str(message))
        if len(offered) == 1:
            raise OSError("disk full")

    message = Message("important")
    for _ in range(4):
        assert await MessageSequence.turn_into_sequence_promise(message) == (message,)
        await mini_agents.aflush_tasks()

    assert offered == ["important", "important"]
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "OSError: disk full" in record.getMessage()
    assert message.hash_key in record.getMessage()


async def test_a_handler_that_fails_keeps_no_other_from_its_work(
    mini_agents: MiniAgents, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    @mini_agents.on_persist_message
    async def broken(_: Any, message: Message) -> None:
        raise OSError("disk full")

    await echo.inquire("hi")
    await mini_agents.aflush_tasks()

    assert {"hi", "Echo: hi"} <= set(store.texts())
    assert "disk full" in caplog.text


async def test_a_handler_that_fails_for_a_shared_message_holds_up_nobody_who_waits_for_it(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()
    persisted: list[str] = []

    @mini_agents.on_persist_message
    async def fails_once(_: Any, message: Message) -> None:
        if str(message) == "shared" and not release.is_set():
            await release.wait()
            raise OSError("disk full")
        persisted.append(str(message))

    shared = Message("shared")
    await MessageSequence.turn_into_sequence_promise([Message("a", inner=shared), Message("b", inner=shared)])
    await asyncio.sleep(0)
    release.set()
    async with asyncio.timeout(5):
        await mini_agents.aflush_tasks()

    assert {"a", "b"} <= set(persisted)
    assert "disk full" in caplog.text


# -- the records of calls ------------------------------------------------------------------------------------------------


async def test_the_record_of_a_call_tells_who_was_called_how_with_what(store: Store, mini_agents: MiniAgents) -> None:
    forked = echo.fork(alias="FORKED", k=1, interaction_metadata={"tag": "x"})

    await forked.inquire(["a", Message("b")], k=2)
    await mini_agents.aflush_tasks()

    (call,) = store.nodes("AgentCallNode")
    assert [str(message) for message in call["messages"]] == ["a", "b"]
    assert call["agent"]["alias"] == "FORKED"
    assert call["settings"].as_kwargs() == {"k": 2}
    assert call["tag"] == "x"


async def test_the_record_of_the_replies_names_the_call(store: Store, mini_agents: MiniAgents) -> None:
    await echo.inquire(["a", "b"])
    await mini_agents.aflush_tasks()

    (call,) = store.nodes("AgentCallNode")
    (reply,) = store.nodes("AgentReplyNode")
    assert reply["agent_call"] is call
    assert [str(message) for message in reply["replies"]] == ["Echo: a", "Echo: b"]
    assert reply.serialize()["agent_call__hash_key"] == call.hash_key
    assert reply.serialize()["replies__hash_keys"] == tuple(message.hash_key for message in reply["replies"])


async def test_whatever_a_record_refers_to_was_persisted_before_it(store: Store, mini_agents: MiniAgents) -> None:
    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        ctx.reply(["first", echo.inquire(ctx.message_promises), Message("last", inner=Message("inner"))])

    await outer.inquire(["a", "b"])
    await mini_agents.aflush_tasks()

    seen: set[str] = set()
    for message in store.messages:
        for inner in message.sub_messages():
            assert inner.hash_key in seen
        seen.add(message.hash_key)
    assert len(store.nodes("AgentCallNode")) == len(store.nodes("AgentReplyNode")) == 2


async def test_records_can_be_stored_as_json(store: Store, mini_agents: MiniAgents) -> None:
    await echo.inquire("hi")
    await mini_agents.aflush_tasks()

    for message in store.messages:
        assert json.loads(message.serialized) == json.loads(json.dumps(message.serialize()))


async def test_each_kind_of_call_is_recorded(store: Store, mini_agents: MiniAgents) -> None:
    echo.kick_off("fired")
    await echo.initiate_inquiry().send_message("sent").reply_sequence()
    await mini_agents.aflush_tasks()

    assert sorted(str(call["messages"][0]) for call in store.nodes("AgentCallNode")) == ["fired", "sent"]
    assert len(store.nodes("AgentReplyNode")) == 2


async def test_the_record_of_replies_that_fail_has_the_messages_and_the_error(
    store: Store, mini_agents: MiniAgents
) -> None:
    @miniagent
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await failing.inquire()
    await mini_agents.aflush_tasks()

    (reply,) = store.nodes("AgentReplyNode")
    assert [str(message) for message in reply["replies"]] == ["before"]
    assert "broken" in reply["error"]


async def test_a_lazy_message_that_nobody_reads_stays_unproduced_and_is_recorded_as_unread() -> None:
    produced: list[str] = []
    store = Store()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        produced.append("token")
        yield "text"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(["a", Message.promise(message_token_streamer=tokens, start_asap=False, role="user"), "b"])

    async with MiniAgents(on_persist_message=store.persist):
        replies = agent.inquire()
        assert len([promise async for promise in replies]) == 3

    assert produced == []
    (reply,) = store.nodes("AgentReplyNode")
    first, unread, last = reply["replies"]
    assert [str(first), str(last)] == ["a", "b"]
    assert unread["is_unread"] is True
    assert unread["role"] == "user"


async def test_a_lazy_call_that_nobody_reads_is_not_started_by_its_record() -> None:
    started: list[str] = []
    store = Store()

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        started.append("agent")

    async with MiniAgents(on_persist_message=store.persist):
        agent.inquire("hi", start_asap=False)

    assert started == []
    assert store.texts() == ["hi"]


async def test_two_runs_of_a_program_give_equal_records() -> None:
    async def run() -> set[str]:
        store = Store()
        async with MiniAgents(on_persist_message=store.persist):
            await echo.fork(k=1).inquire([echo.inquire("a"), "b"])
        return {message.hash_key for message in store.messages}

    assert await run() == await run()


async def test_without_handlers_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch, mini_agents: MiniAgents) -> None:
    tasks: list[str] = []
    create_task = asyncio.get_running_loop().create_task

    def counting(coroutine: Any, **kwargs: Any) -> Any:
        tasks.append(coroutine.__qualname__)
        return create_task(coroutine, **kwargs)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_task", counting)

    await echo.inquire(["a", "b", "c"])

    assert len(tasks) == 1
