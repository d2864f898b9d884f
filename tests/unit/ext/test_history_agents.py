import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext import AWAIT, MarkdownHistoryAgent, agent_loop, dialog_loop, in_memory_history_agent, user_agent
from miniagents.ext.history_agents import HistoryFileError
from miniagents.ext.llms import AssistantMessage, UserMessage


async def texts(replies: object) -> list[str]:
    return [str(message) for message in await replies]


@miniagent
async def silent_output(ctx: InteractionContext) -> None:
    ctx.reply(await ctx.message_promises)


@miniagent
async def echo(ctx: InteractionContext) -> None:
    ctx.reply(f"{len(await ctx.message_promises)} messages")


def user_that_says(*lines: str, history_agent: MiniAgent | None = in_memory_history_agent) -> MiniAgent:
    left = list(lines)

    @miniagent
    async def says_the_next_line(ctx: InteractionContext) -> None:
        if not left:
            raise EOFError
        ctx.reply(left.pop(0))

    return user_agent.fork(output_agent=silent_output, input_agent=says_the_next_line, history_agent=history_agent)


async def two_tokens_and_an_error(_metadata: dict[str, object]) -> AsyncIterator[str]:
    yield "half "
    yield "an answer"
    raise ConnectionError("the line is dead")


# -------------------------------------------------------------------------------------------- in_memory_history_agent


async def test_it_keeps_what_it_is_given_and_replies_with_everything(mini_agents: MiniAgents) -> None:
    assert await texts(in_memory_history_agent.inquire(["a", "b"])) == ["a", "b"]
    assert await texts(in_memory_history_agent.inquire("c")) == ["a", "b", "c"]
    assert await texts(in_memory_history_agent.inquire()) == ["a", "b", "c"]


async def test_it_can_pass_on_what_it_keeps(mini_agents: MiniAgents) -> None:
    quiet = in_memory_history_agent.fork(return_full_history=False)

    assert await texts(quiet.inquire("a")) == ["a"]
    assert await texts(quiet.inquire("b")) == ["b"]
    assert await texts(in_memory_history_agent.inquire()) == ["a", "b"]


async def test_another_context_has_another_history() -> None:
    async with MiniAgents():
        await in_memory_history_agent.inquire("a")
    async with MiniAgents():
        assert await texts(in_memory_history_agent.inquire("b")) == ["b"]


def test_the_history_of_a_context_goes_with_it() -> None:
    async def use_a_context() -> weakref.ref[MiniAgents]:
        async with MiniAgents() as context:
            await in_memory_history_agent.inquire("a")
        return weakref.ref(context)

    context = asyncio.run(use_a_context())
    gc.collect()

    assert context() is None


async def test_a_list_that_is_handed_over_is_the_history(mini_agents: MiniAgents) -> None:
    mine: list[Message] = [UserMessage("earlier")]
    agent = in_memory_history_agent.fork(mutable_state={"message_list": mine})

    assert await texts(agent.inquire(AssistantMessage("now"))) == ["earlier", "now"]

    assert mine == [UserMessage("earlier"), AssistantMessage("now")]
    assert await texts(in_memory_history_agent.inquire()) == []


async def test_a_list_that_was_frozen_on_the_way_is_refused_with_the_fix(mini_agents: MiniAgents) -> None:
    with pytest.raises(TypeError, match=r"`message_list` is \(\), .*fork\(mutable_state=\{\"message_list\": "):
        await in_memory_history_agent.inquire("a", message_list=())


async def test_two_dialogs_in_one_program_never_mix(mini_agents: MiniAgents) -> None:
    asked: dict[str, list[str]] = {"one": [], "two": []}

    def assistant(name: str) -> MiniAgent:
        @miniagent
        async def takes_note(ctx: InteractionContext) -> None:
            asked[name] = await texts(ctx.message_promises)
            ctx.reply(f"{name}: noted")

        return takes_note

    first = dialog_loop.inquire(user_agent=user_that_says("a", "b"), assistant_agent=assistant("one"))
    second = dialog_loop.inquire(user_agent=user_that_says("x", "y"), assistant_agent=assistant("two"))
    await first
    await second

    assert asked == {"one": ["a", "one: noted", "b"], "two": ["x", "two: noted", "y"]}
    assert await texts(in_memory_history_agent.inquire()) == []


async def test_a_loop_of_agents_is_a_dialog_too(mini_agents: MiniAgents) -> None:
    for _ in range(2):
        heard: list[str] = []

        @miniagent
        async def listens(ctx: InteractionContext, heard: list[list[str]]) -> None:
            heard.append(await texts(ctx.message_promises))

        listener = listens.fork(mutable_state={"heard": heard})
        await agent_loop.inquire(agents=[user_that_says("a", "b"), AWAIT, listener])

        assert heard == [["a"], ["a", "b"]]


async def test_what_was_received_before_an_error_is_kept_and_the_error_raised(mini_agents: MiniAgents) -> None:
    broken = Message.promise(message_token_streamer=two_tokens_and_an_error, role="assistant")

    with pytest.raises(ConnectionError, match="the line is dead"):
        await in_memory_history_agent.inquire(["whole", broken, "after it"])

    kept = await in_memory_history_agent.inquire()
    assert await texts(in_memory_history_agent.inquire()) == ["whole", "half an answer", "after it"]
    assert kept[1] == Message("half an answer", role="assistant", interrupted=True)


async def test_a_message_that_is_no_part_of_the_conversation_is_not_kept(
    mini_agents: MiniAgents, tmp_path: Path
) -> None:
    file_history = MarkdownHistoryAgent.fork(history_md_file=tmp_path / "CHAT.md")

    for history in (in_memory_history_agent, file_history):
        assert await texts(history.inquire(["kept", Message("not kept", no_history=True)])) == ["kept"]


# ----------------------------------------------------------------------------------------------- MarkdownHistoryAgent


async def test_a_markdown_history_survives_a_restart(tmp_path: Path) -> None:
    history = MarkdownHistoryAgent.fork(history_md_file=str(tmp_path / "talks" / "one.md"))
    async with MiniAgents():
        await history.inquire([UserMessage("hi"), AssistantMessage("hello", agent_alias="MY_AGENT")])

    async with MiniAgents():
        kept = await history.inquire(UserMessage("back again"))

    assert kept == (UserMessage("hi"), AssistantMessage("hello", agent_alias="MY_AGENT"), UserMessage("back again"))
    assert [type(message) for message in kept] == [UserMessage, AssistantMessage, UserMessage]
    assert (tmp_path / "talks" / "one.md").read_text() == (
        "## USER\n\nhi\n\n## ASSISTANT (MY_AGENT)\n\nhello\n\n## USER\n\nback again\n\n"
    )


async def test_the_file_is_chat_md_in_the_working_directory(
    mini_agents: MiniAgents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    await MarkdownHistoryAgent.inquire(UserMessage("hi"))

    assert (tmp_path / "CHAT.md").read_text() == "## USER\n\nhi\n\n"


async def test_edits_by_hand_count_from_the_next_turn_on(mini_agents: MiniAgents, tmp_path: Path) -> None:
    file = tmp_path / "CHAT.md"
    history = MarkdownHistoryAgent.fork(history_md_file=file)
    await history.inquire([UserMessage("hi"), AssistantMessage("helo")])

    file.write_text("My notes.\n" + file.read_text().replace("helo", "hello").rstrip() + " there")

    assert await texts(history.inquire(UserMessage("bye"))) == ["hi", "hello there", "bye"]
    assert file.read_text() == "My notes.\n## USER\n\nhi\n\n## ASSISTANT\n\nhello there\n\n## USER\n\nbye\n\n"


async def test_the_reply_can_be_what_came_in(mini_agents: MiniAgents, tmp_path: Path) -> None:
    history = MarkdownHistoryAgent.fork(history_md_file=tmp_path / "CHAT.md", return_full_history=False)
    await history.inquire("a")

    assert await texts(history.inquire("b")) == ["b"]


async def test_empty_messages_and_missing_roles_are_dealt_with_as_told(mini_agents: MiniAgents, tmp_path: Path) -> None:
    history = MarkdownHistoryAgent.fork(history_md_file=tmp_path / "CHAT.md", default_role="critic")

    assert await history.inquire(["", " \n", "no good"]) == (Message("no good", role="critic"),)
    assert len(await history.inquire("", skip_empty=False)) == 2


async def test_without_append_every_dialog_begins_with_an_empty_file(mini_agents: MiniAgents, tmp_path: Path) -> None:
    file = tmp_path / "CHAT.md"
    file.write_text("## USER\n\nlong ago\n\n")
    history = MarkdownHistoryAgent.fork(history_md_file=file, append=False)

    for _ in range(2):
        user = user_that_says("a", "b", history_agent=history)
        await dialog_loop.inquire(user_agent=user, assistant_agent=echo)

    said = "## USER\n\na\n\n## ASSISTANT\n\n1 messages\n\n## USER\n\nb\n\n## ASSISTANT\n\n3 messages\n\n"
    assert file.read_text() == said


@pytest.mark.parametrize("append", [True, False], ids=["append", "begin anew"])
async def test_a_file_that_is_no_text_is_refused_and_left_as_it_is(
    mini_agents: MiniAgents, tmp_path: Path, *, append: bool
) -> None:
    file = tmp_path / "CHAT.md"
    file.write_bytes(b"\x89PNG\xff\xfe")

    with pytest.raises(HistoryFileError, match=r"CHAT.md' is no text in UTF-8.*Nothing was written.*history_md_file="):
        await MarkdownHistoryAgent.inquire("hi", history_md_file=file, append=append)

    assert file.read_bytes() == b"\x89PNG\xff\xfe"


async def test_a_folder_in_the_place_of_the_file_is_refused(mini_agents: MiniAgents, tmp_path: Path) -> None:
    with pytest.raises(HistoryFileError, match=r"cannot be read \(Is a directory\)"):
        await MarkdownHistoryAgent.inquire("hi", history_md_file=tmp_path)


async def test_a_dialog_with_an_unusable_history_fails_before_the_user_has_typed_anything(
    mini_agents: MiniAgents, tmp_path: Path
) -> None:
    user = user_that_says("typed in vain", history_agent=MarkdownHistoryAgent.fork(history_md_file=tmp_path))

    with pytest.raises(HistoryFileError):
        await dialog_loop.inquire(user_agent=user, assistant_agent=echo)


async def test_messages_of_several_dialogs_in_one_file_are_whole(mini_agents: MiniAgents, tmp_path: Path) -> None:
    history = MarkdownHistoryAgent.fork(history_md_file=tmp_path / "CHAT.md")
    long_texts = [f"{number} " * 5000 for number in range(8)]

    await asyncio.gather(*(history.inquire(text).as_single_promise() for text in long_texts))

    assert sorted(await texts(history.inquire())) == sorted(long_texts)


async def test_the_event_loop_is_free_while_the_file_is_written(
    mini_agents: MiniAgents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    read_bytes = Path.read_bytes

    def noted_read(path: Path) -> bytes:
        threads.append(threading.current_thread())
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", noted_read)
    (tmp_path / "CHAT.md").write_text("")

    await MarkdownHistoryAgent.inquire("hi", history_md_file=tmp_path / "CHAT.md")

    assert threads
    assert threading.main_thread() not in threads


async def test_the_partial_answer_of_a_model_that_failed_is_in_the_file(
    mini_agents: MiniAgents, tmp_path: Path
) -> None:
    @miniagent
    async def failing_model(ctx: InteractionContext) -> None:
        ctx.reply(
            Message.promise(
                message_token_streamer=two_tokens_and_an_error, role="assistant", agent_alias="FAILING_MODEL"
            )
        )

    file = tmp_path / "CHAT.md"
    user = user_that_says("hi", "again?", history_agent=MarkdownHistoryAgent.fork(history_md_file=file))

    await dialog_loop.inquire(user_agent=user, assistant_agent=failing_model)

    answer = "## ASSISTANT (FAILING_MODEL, interrupted)\n\nhalf an answer\n\n"
    assert file.read_text() == f"## USER\n\nhi\n\n{answer}## USER\n\nagain?\n\n{answer}"
