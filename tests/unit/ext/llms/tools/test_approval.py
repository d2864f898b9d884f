"""Asking before a tool runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext.llms.llm_messages import ToolCallMessage
from miniagents.ext.llms.tools import ApprovalMessage, ToolDefinitionError, tool
from tests.unit.ext.llms.tools.tool_calls import call, result_of, toolbox
from tests.unit.ext.terminal import in_terminal

_DENIED = "This call of `delete` was not approved, so it was not run."


def delete(path: str) -> str:
    """Delete a file."""
    return f"deleted {path}"


def look(path: str) -> str:
    return f"saw {path}"


def answering(*answers: Any) -> tuple[MiniAgent, list[tuple[Message, ...]]]:
    asked: list[tuple[Message, ...]] = []

    @miniagent(alias="BOSS")
    async def boss(ctx: InteractionContext) -> None:
        asked.append(await ctx.message_promises)
        ctx.reply(answers[len(asked) - 1])

    return boss, asked


async def test_the_approval_agent_sees_the_call_and_what_the_tool_does(mini_agents: MiniAgents) -> None:
    boss, asked = answering(ApprovalMessage(approved=True))

    result = await result_of(
        toolbox(delete, requires_approval=True, approval_agent=boss), "delete", '{"path": "a.txt"}'
    )

    ((question,),) = asked
    assert isinstance(question, ToolCallMessage)
    assert (question.tool_name, str(question), question.tool_description) == (
        "delete",
        '{"path": "a.txt"}',
        "Delete a file.",
    )
    assert (str(result), result.is_error) == ("deleted a.txt", False)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ApprovalMessage(approved=False), _DENIED),
        (ApprovalMessage(approved=False, reason="it is mine"), f"{_DENIED} The reason: it is mine."),
        ({"approved": False, "reason": "no time"}, f"{_DENIED} The reason: no time."),
        (ApprovalMessage(approved=False, reason="It is mine."), f"{_DENIED} The reason: It is mine."),
        ("No, not today.", f"{_DENIED} The reason: not today."),
        ("**NO**", _DENIED),
        ("yes", "deleted a"),
        ("Yes, go on", "deleted a"),
    ],
    ids=["message", "with reason", "dict", "sentence", "text", "bold", "yes", "yes and more"],
)
async def test_an_answer_is_a_message_or_begins_with_yes_or_no(answer: Any, says: str, mini_agents: MiniAgents) -> None:
    boss, _ = answering(answer)

    result = await result_of(toolbox(delete, requires_approval=True, approval_agent=boss), "delete", '{"path": "a"}')

    assert (str(result), result.is_error) == (says, says != "deleted a")


@pytest.mark.parametrize("second", ["yes", "nothing"])
async def test_an_unclear_answer_is_asked_again_once_and_then_counts_as_no(
    second: str, mini_agents: MiniAgents
) -> None:
    boss, asked = answering("not sure", second)

    result = await result_of(toolbox(delete, requires_approval=True, approval_agent=boss), "delete", '{"path": "a"}')

    assert [str(message) for message in asked[1]][1:] == ["not sure", "Please begin your answer with yes or no."]
    assert str(result) == (
        "deleted a" if second == "yes" else f"{_DENIED} The reason: the answer was neither a yes nor a no."
    )


async def _about_a(call: ToolCallMessage) -> bool:
    return '"a"' in str(call)


@pytest.mark.parametrize(
    "rule",
    [True, {"delete"}, ["delete"], lambda call: call.tool_name == "delete", _about_a],
    ids=["all", "set", "list", "function", "async function"],
)
@pytest.mark.parametrize("place", ["toolbox", "tool"])
async def test_who_needs_approval_is_said_for_all_tools_or_for_one(
    rule: Any, place: str, mini_agents: MiniAgents
) -> None:
    boss, _ = answering("no", "no")
    tools = (
        toolbox(delete, look, requires_approval=rule, approval_agent=boss)
        if place == "toolbox"
        else toolbox(tool(requires_approval=rule)(delete), look, approval_agent=boss)
    )

    assert (await result_of(tools, "delete", '{"path": "a"}')).is_error
    if rule is not True:
        assert str(await result_of(tools, "look", '{"path": "x"}')) == ("saw x")


@pytest.mark.parametrize("rule", [True, lambda call: call.arguments.path], ids=["all", "function"])
async def test_nobody_is_asked_about_a_call_that_could_not_run(
    rule: Any, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    boss, asked = answering("yes")

    result = await result_of(toolbox(delete, requires_approval=rule, approval_agent=boss), "delete", '{"file": 1}')

    assert "`path`: Field required" in str(result)
    assert asked == []


@pytest.mark.parametrize("broken", ["rule", "agent"])
async def test_where_asking_fails_the_tool_does_not_run(
    broken: str, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    def rule(call: ToolCallMessage) -> bool:
        if broken == "rule":
            raise ValueError("no idea")
        return True

    boss, _ = answering(ValueError("no idea"))

    result = await result_of(toolbox(delete, requires_approval=rule, approval_agent=boss), "delete", '{"path": "a"}')

    assert (str(result), result.is_error) == ("The tool `delete` failed: ValueError: no idea", True)


async def test_a_denial_is_told_to_the_model_even_where_errors_are_raised(mini_agents: MiniAgents) -> None:
    boss, _ = answering("no")
    tools = toolbox(delete, requires_approval=True, approval_agent=boss, tool_errors="raise")

    assert str(await result_of(tools, "delete", '{"path": "a"}')) == _DENIED


async def test_approval_for_a_tool_that_is_not_there_is_refused() -> None:
    with pytest.raises(ToolDefinitionError) as raised:
        toolbox(delete, requires_approval={"erase"})

    assert str(raised.value) == (
        "`requires_approval` of `MODEL` names `erase`, but the tools are `delete`: correct the name, as nobody would "
        "be asked."
    )


async def test_a_rule_that_says_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="give True, False, a set of tool names"):
        toolbox(delete, requires_approval="delete")


async def test_without_a_terminal_nobody_can_approve(mini_agents: MiniAgents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)

    result = await result_of(toolbox(delete, requires_approval=True), "delete", '{"path": "a"}')

    assert str(result) == (
        f"{_DENIED} The reason: nobody can be asked, as standard input is no terminal (`approval_agent=` names "
        "somebody else)."
    )


async def test_a_tool_that_waits_for_approval_does_not_hold_up_the_others(mini_agents: MiniAgents) -> None:
    seen = asyncio.Event()

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        await seen.wait()
        ctx.reply("yes")

    tools = toolbox(delete, look, requires_approval={"delete"}, approval_agent=boss)
    deleting, looking = tools.run([call("delete", '{"path": "a"}'), call("look", '{"path": "b"}')])

    assert str(await looking) == "saw b"
    seen.set()
    assert str(await deleting) == "deleted a"


_PROGRAM = """\
from miniagents import MiniAgents
from miniagents.ext.llms import ScriptedAgent, Script, tool_call


def delete(path: str) -> str:
    return f"deleted {path}"


calls = [tool_call("delete", {"path": path}) for path in ("a\\n\\x1b[2J", "b")]
model = ScriptedAgent.fork(script=Script(calls, "done"), tools=[delete], requires_approval=True)


async def main() -> None:
    for message in await model.inquire("go"):
        if message.role == "tool":
            print(f"[{message}]")


MiniAgents().run(main())
"""


def test_by_default_the_person_at_the_console_is_asked_one_question_at_a_time(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        assert (
            'SCRIPTED_AGENT wants to call `delete` with {"path":"a\\n\\u001b[2J"}\nMay it? (yes / no)' in terminal.text
        )
        assert terminal.text.count("May it?") == 1
        terminal.type("n, not that\r")
        terminal.wait_for("USER:", times=2)
        terminal.type("Yes\r")

        assert terminal.exit_code() == 0

    assert f"[{_DENIED} The reason: not that.]\n[deleted b]" in terminal.text


def test_ctrl_d_at_the_question_is_a_no_and_ctrl_c_ends_the_program(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        terminal.type("\x04")
        terminal.wait_for("May it?", times=2)
        terminal.wait_for("USER:", times=2)
        terminal.type("\x03")

        assert terminal.exit_code() != 0

    assert "deleted" not in terminal.text
