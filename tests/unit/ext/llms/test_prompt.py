import pytest

from miniagents.ext.llms import AssistantMessage, SystemMessage, UserMessage
from miniagents.ext.llms.errors import EmptyPromptError, UnknownRoleError
from miniagents.ext.llms.prompt import PromptRules
from miniagents.messages import Message

rules = PromptRules(agent_alias="SOME_AGENT")


def test_a_message_without_a_role_counts_as_the_users():
    assert rules.prompt_of([Message("Hi")]).dicts == [{"role": "user", "content": "Hi"}]


def test_system_messages_are_joined_and_go_first_after_the_setting():
    rules = PromptRules(agent_alias="SOME_AGENT", system="Be brief.")

    prompt = rules.prompt_of([SystemMessage("Be kind."), UserMessage("Hi"), SystemMessage("Be true.")])

    assert prompt.dicts == [
        {"role": "system", "content": "Be brief.\n\nBe kind.\n\nBe true."},
        {"role": "user", "content": "Hi"},
    ]


def test_messages_of_one_role_in_a_row_become_one_turn():
    prompt = rules.prompt_of(
        [UserMessage("a"), Message("b"), AssistantMessage("c"), AssistantMessage("d"), UserMessage("e")]
    )

    assert [(turn.role, turn.text) for turn in prompt.turns] == [
        ("user", "a\n\nb"),
        ("assistant", "c\n\nd"),
        ("user", "e"),
    ]


def test_a_system_message_in_between_does_not_split_a_turn():
    prompt = rules.prompt_of([UserMessage("a"), SystemMessage("s"), UserMessage("b")])

    assert [(turn.role, turn.text) for turn in prompt.turns] == [("user", "a\n\nb")]


def test_a_conversation_that_an_assistant_begins_is_opened_for_the_user():
    prompt = rules.prompt_of([AssistantMessage("How can I help?"), UserMessage("Hi")])

    assert [(turn.role, turn.text) for turn in prompt.turns] == [
        ("user", "/start"),
        ("assistant", "How can I help?"),
        ("user", "Hi"),
    ]


def test_the_opening_can_be_switched_off():
    rules = PromptRules(agent_alias="SOME_AGENT", fake_first_user_message=None)

    prompt = rules.prompt_of([AssistantMessage("How can I help?"), UserMessage("Hi")])

    assert [turn.role for turn in prompt.turns] == ["assistant", "user"]


def test_what_only_assistants_said_is_input_from_the_user():
    prompt = rules.prompt_of([SystemMessage("Translate."), AssistantMessage("one"), AssistantMessage("two")])

    assert [(turn.role, turn.text) for turn in prompt.turns] == [("user", "one\n\ntwo")]


def test_blank_messages_are_left_out():
    prompt = rules.prompt_of([SystemMessage(""), UserMessage("  \n"), UserMessage("Hi")])

    assert prompt.dicts == [{"role": "user", "content": "Hi"}]


def test_no_messages_at_all_are_sent_as_the_opening_alone():
    assert rules.prompt_of([]).dicts == [{"role": "user", "content": "/start"}]


def test_nothing_to_send_and_no_opening_is_an_error_that_says_so():
    rules = PromptRules(agent_alias="SOME_AGENT", fake_first_user_message=None)

    with pytest.raises(EmptyPromptError, match=r"`SOME_AGENT` has nothing to send.*fake_first_user_message"):
        rules.prompt_of([Message("")])


def test_a_system_prompt_alone_is_enough_where_there_is_no_opening():
    rules = PromptRules(agent_alias="SOME_AGENT", fake_first_user_message=None, system="Say hello.")

    assert rules.prompt_of([]).dicts == [{"role": "system", "content": "Say hello."}]


def test_content_blocks_of_the_system_prompt_are_kept_as_they_are():
    block = {"type": "text", "text": "Long instructions", "cache_control": {"type": "ephemeral"}}
    rules = PromptRules(agent_alias="SOME_AGENT", system=(block,))

    prompt = rules.prompt_of([SystemMessage("Be kind."), UserMessage("Hi")])

    assert prompt.system_content == [block, {"type": "text", "text": "Be kind."}]


def test_a_developer_speaks_as_the_system_does():
    assert rules.prompt_of([Message("Be brief.", role="developer"), Message("Hi")]).system == "Be brief."


def test_an_unknown_role_is_refused_by_name():
    with pytest.raises(UnknownRoleError, match=r"`SOME_AGENT` cannot send .*role='narrator'.*system, developer, user"):
        rules.prompt_of([Message("Once upon a time", role="narrator")])
