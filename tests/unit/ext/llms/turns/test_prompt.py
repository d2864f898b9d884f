"""How messages become what a model is asked, seen in the prompts that a scripted model gets."""

from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import (
    AssistantMessage,
    Prompt,
    Script,
    ScriptedAgent,
    SystemMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llms._turns.conversation import conversation_of
from miniagents.ext.llms.errors import EmptyPromptError, UnknownRoleError
from miniagents.ext.llms.model_events import RequestTurn
from miniagents.messages import Message


async def prompt_of(messages: list[Message], **settings: Any) -> Prompt:
    script = Script("ok")
    async with MiniAgents():
        await ScriptedAgent.fork(alias="SOME_AGENT", script=script).inquire(messages, **settings)
    return script.prompts[0]


def turns_of(messages: list[Message], provider: str = "openai") -> tuple[RequestTurn, ...]:
    return conversation_of(
        messages, agent_alias="SOME_AGENT", provider=provider, fake_first_user_message="/start"
    ).turns


async def test_a_message_without_a_role_counts_as_the_users():
    assert (await prompt_of([Message("Hi")])).dicts == [{"role": "user", "content": "Hi"}]


async def test_system_messages_are_joined_and_go_first_after_the_setting():
    prompt = await prompt_of(
        [SystemMessage("Be kind."), UserMessage("Hi"), SystemMessage("Be true.")], system="Be brief."
    )

    assert prompt.dicts == [
        {"role": "system", "content": "Be brief.\n\nBe kind.\n\nBe true."},
        {"role": "user", "content": "Hi"},
    ]


async def test_messages_of_one_role_in_a_row_become_one_turn():
    prompt = await prompt_of(
        [UserMessage("a"), Message("b"), AssistantMessage("c"), AssistantMessage("d"), UserMessage("e")]
    )

    assert [(turn.role, turn.text) for turn in prompt.turns] == [
        ("user", "a\n\nb"),
        ("assistant", "c\n\nd"),
        ("user", "e"),
    ]


async def test_a_system_message_in_between_does_not_split_a_turn():
    prompt = await prompt_of([UserMessage("a"), SystemMessage("s"), UserMessage("b")])

    assert [(turn.role, turn.text) for turn in prompt.turns] == [("user", "a\n\nb")]


async def test_a_conversation_that_an_assistant_begins_is_opened_for_the_user():
    prompt = await prompt_of([AssistantMessage("How can I help?"), UserMessage("Hi")])

    assert [(turn.role, turn.text) for turn in prompt.turns] == [
        ("user", "/start"),
        ("assistant", "How can I help?"),
        ("user", "Hi"),
    ]


async def test_the_opening_can_be_switched_off():
    prompt = await prompt_of([AssistantMessage("How can I help?"), UserMessage("Hi")], fake_first_user_message=None)

    assert [turn.role for turn in prompt.turns] == ["assistant", "user"]


async def test_what_only_assistants_said_is_input_from_the_user():
    prompt = await prompt_of([SystemMessage("Translate."), AssistantMessage("one"), AssistantMessage("two")])

    assert [(turn.role, turn.text) for turn in prompt.turns] == [("user", "one\n\ntwo")]


async def test_blank_messages_are_left_out():
    prompt = await prompt_of([SystemMessage(""), UserMessage("  \n"), UserMessage("Hi")])

    assert prompt.dicts == [{"role": "user", "content": "Hi"}]


async def test_no_messages_at_all_are_sent_as_the_opening_alone():
    assert (await prompt_of([])).dicts == [{"role": "user", "content": "/start"}]


async def test_nothing_to_send_and_no_opening_is_an_error_that_says_so():
    with pytest.raises(EmptyPromptError, match=r"`SOME_AGENT` has nothing to send.*fake_first_user_message"):
        await prompt_of([Message("")], fake_first_user_message=None)


async def test_a_system_prompt_alone_is_enough_where_there_is_no_opening():
    assert (await prompt_of([], fake_first_user_message=None, system="Say hello.")).dicts == [
        {"role": "system", "content": "Say hello."}
    ]


async def test_content_blocks_of_the_system_prompt_are_kept_as_they_are():
    block = {"type": "text", "text": "Long instructions", "cache_control": {"type": "ephemeral"}}
    prompt = await prompt_of([SystemMessage("Be kind."), UserMessage("Hi")], system=(block,))

    assert prompt.system_content == [block, {"type": "text", "text": "Be kind."}]


async def test_a_developer_speaks_as_the_system_does():
    assert (await prompt_of([Message("Be brief.", role="developer"), Message("Hi")])).system == "Be brief."


async def test_an_unknown_role_is_refused_by_name():
    with pytest.raises(UnknownRoleError, match=r"`SOME_AGENT` cannot send .*role='narrator'.*system, developer, user"):
        await prompt_of([Message("Once upon a time", role="narrator")])


def call(number: int) -> ToolCallMessage:
    return ToolCallMessage("{}", tool_name="look", tool_call_id=f"call-{number}")


def result(number: int) -> ToolResultMessage:
    return ToolResultMessage(f"seen {number}", tool_call_id=f"call-{number}", tool_name="look")


def test_calls_and_results_are_turns_of_the_assistant_and_the_user():
    said = [UserMessage("Look!"), AssistantMessage("I look."), call(1), call(2), result(2), result(1)]

    turns = turns_of([*said, AssistantMessage("Seen.")])

    assert [turn.role for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert turns[1].parts == (said[1], said[2], said[3])
    # In the order of the calls, as providers want it.
    assert turns[2].parts == (said[5], said[4])


def test_a_call_that_was_never_answered_is_answered_with_an_error():
    turns = turns_of([UserMessage("Look!"), call(1), UserMessage("Never mind.")])

    [answer, text] = turns[2].parts
    assert isinstance(answer, ToolResultMessage)
    assert (answer.tool_call_id, answer.is_error) == ("call-1", True)
    assert str(text) == "Never mind."


def test_a_result_without_its_call_becomes_a_text():
    turns = turns_of([UserMessage("Hi"), result(7)])

    assert [type(part) for part in turns[0].parts] == [UserMessage, UserMessage]
    assert "seen 7" in str(turns[0].parts[1])


def test_thoughts_are_sent_back_to_the_provider_whose_model_had_them_and_to_no_other():
    said = [UserMessage("Hi"), ThinkingMessage("Hm.", provider="anthropic", signature="s"), AssistantMessage("Hello")]

    assert len(turns_of(said, provider="anthropic")[1].parts) == 2
    assert len(turns_of(said, provider="openai")[1].parts) == 1


def test_what_a_failure_tore_is_left_out_if_the_model_began_anew():
    torn = AssistantMessage("Once up", interrupted=True)

    assert turns_of([UserMessage("Tell!"), torn, AssistantMessage("Once upon a time")])[1].parts == (
        AssistantMessage("Once upon a time"),
    )
    assert turns_of([UserMessage("Tell!"), torn, UserMessage("Go on.")])[1].parts == (torn,)
