"""Agents made of other agents: `agent_chain`, one after the other; `agent_loop`, for ever; `dialog_loop`, in turns."""

import signal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias, cast

from miniagents.errors import MiniAgentsError
from miniagents.ext._checked_settings import checked_agent, checks_settings
from miniagents.ext._dialog import Dialog
from miniagents.ext._interrupts import ctrl_c_calls
from miniagents.interaction import InteractionContext
from miniagents.message_sequence import MessageSequencePromise
from miniagents.miniagents import MiniAgent, miniagent

AWAIT: Final = "AWAIT"
"""Among the agents of a chain or a loop: wait until everything before it is resolved, then go on."""

CLEAR: Final = "CLEAR"
"""Among the agents of a chain or a loop: drop the messages, so that the next agent begins with none."""

_INTERRUPTED_EXIT_CODE = 128 + signal.SIGINT

_Flow: TypeAlias = MessageSequencePromise | tuple[()]
_Mark: TypeAlias = Literal["AWAIT", "CLEAR"]
_Stage: TypeAlias = Callable[[_Flow], MessageSequencePromise] | _Mark


class NotAStageError(MiniAgentsError, TypeError):
    """Something that is neither an agent nor one of the marks stands among the agents of a chain or a loop.

    Or in their place (`place` is None then).
    """

    def __init__(self, called: str, place: int | None, value: object) -> None:
        if place is not None:
            what = (
                f"is {value!r}, a {type(value).__name__}. An agent (a function or class with `@miniagent`), `AWAIT`, "
            )
            super().__init__(f"`agents[{place}]` of `{called}` {what}`CLEAR` or `None` (skipped) can stand there.")
        elif isinstance(value, MiniAgent):
            super().__init__(
                f"`agents` of `{called}` is the agent `{value.alias}` alone: write `agents=[...]` around it."
            )
        else:
            super().__init__(f"`agents` of `{called}` is a list of agents, not {value!r}.")


class EndlessLoopError(MiniAgentsError, ValueError):
    """A loop of agents that would never wait for anything, and so would spin for ever."""

    def __init__(self, missing: str, agents: Iterable[MiniAgent | str]) -> None:
        names = [agent.alias if isinstance(agent, MiniAgent) else agent for agent in agents]
        super().__init__(
            f"`agent_loop` was given no {missing}: `agents=[{', '.join(names)}]`. It would go round "
            "for ever without waiting for anybody. Put `AWAIT` behind the agent whose reply the next turn depends on, "
            "as in `agents=[user_agent, AWAIT, assistant_agent]`."
        )


def _check_chain(name: str, value: object) -> None:
    if name == "agents":
        _check_agents("agent_chain", value)


def _check_loop(name: str, value: object) -> None:
    if name == "agents":
        _check_agents("agent_loop", value)


@miniagent
@checks_settings(_check_chain)
async def agent_chain(ctx: InteractionContext, agents: Iterable[MiniAgent | str | None]) -> None:
    """Pass the messages through `agents`, each one's replies being the next one's input; reply with the last one's.

    All agents work at the same time: each starts on the first token of the one before it. `AWAIT` among them waits
    until everything before it is resolved (an error in it ends the chain there), `CLEAR` drops the messages, `None` is
    skipped. Without agents the chain replies with what it was given.

    Raises:
        NotAStageError: something else stands among the agents. None of them has started then.
    """
    stages: list[_Stage] = [
        agent.inquire if isinstance(agent, MiniAgent) else agent for agent in _checked("agent_chain", agents)
    ]
    ctx.reply(await _once(stages, ctx.message_promises))


@miniagent
@checks_settings(_check_loop)
async def agent_loop(ctx: InteractionContext, agents: Iterable[MiniAgent | str | None]) -> None:
    """Go through `agents` as `agent_chain` does, again and again; what the last one replies goes to the first one.

    At least one `AWAIT` is needed, behind the agent whose reply makes the next turn possible (usually the user):
    nothing else in the loop waits. The loop ends in good order, and replies with nothing, when `KeyboardInterrupt` or
    `EOFError` comes out of one of its agents, or when Ctrl+C is pressed; then the agents that are still at work are
    cancelled. (A program with its own Ctrl+C handler keeps it.) Any other error comes out of the loop.

    Raises:
        EndlessLoopError: there is no agent, or no `AWAIT`. Nothing has started then.
        NotAStageError: something that is no agent stands among the agents. Nothing has started then.
    """
    checked = _checked("agent_loop", agents)
    if not any(isinstance(agent, MiniAgent) for agent in checked):
        raise EndlessLoopError("agent", checked)
    if AWAIT not in checked:
        raise EndlessLoopError("`AWAIT`", checked)
    last_await = max(place for place, agent in enumerate(checked) if agent == AWAIT)
    stages: list[_Stage] = []
    for place, agent in enumerate(checked):
        if not isinstance(agent, MiniAgent):
            stages.append(agent)
        elif place < last_await:
            # The loop itself must hear of the end of input, also where errors become messages by default.
            stages.append(partial(agent.inquire, errors_to_messages=False))
        else:
            stages.append(agent.inquire)
    await _again_and_again(stages, ctx.message_promises, Dialog())


@miniagent
@checks_settings(partial(checked_agent, "dialog_loop"))
async def dialog_loop(ctx: InteractionContext, user_agent: MiniAgent, assistant_agent: MiniAgent) -> None:
    """Let `user_agent` and `assistant_agent` talk in turns until the user leaves; the user begins.

    What the loop itself is given is a prompt for the assistant: it comes before the conversation in each of its turns,
    and no history ever sees it. Each side gets what the other one replied; so it is the user agent that replies with
    the whole conversation, if the assistant is to remember it (see `user_agent`). The dialog ends as `agent_loop` does.

    An error of the assistant reaches the user agent, at its place among the messages. The ready-made `user_agent`
    shows it and goes on.
    """
    prompt = ctx.message_promises

    def ask_assistant(conversation: _Flow) -> MessageSequencePromise:
        return assistant_agent.inquire([prompt, conversation])

    ask_user = partial(user_agent.inquire, errors_to_messages=False)
    dialog = Dialog(assistant_alias=assistant_agent.alias)
    await _again_and_again([ask_user, AWAIT, ask_assistant], (), dialog)


def _check_agents(called: str, agents: object) -> None:
    """Refuse what is no list of agents and marks."""
    # An agent can be iterated over, and so can a mark.
    if isinstance(agents, MiniAgent | str) or not isinstance(agents, Iterable):
        raise NotAStageError(called, None, agents)
    for place, agent in enumerate(cast("Sequence[object]", agents if isinstance(agents, list | tuple) else ())):
        if not isinstance(agent, MiniAgent) and agent not in (AWAIT, CLEAR, None):
            raise NotAStageError(called, place, agent)


def _checked(called: str, agents: Iterable[object]) -> list[MiniAgent | _Mark]:
    given = list(agents)
    _check_agents(called, given)
    return [cast("MiniAgent | _Mark", agent) for agent in given if agent is not None]


async def _once(stages: Iterable[_Stage], messages: _Flow, dialog: Dialog | None = None) -> _Flow:
    for stage in stages:
        if stage == AWAIT:
            if not isinstance(messages, tuple):
                await messages
            if dialog is not None and dialog.interrupted:
                # Whoever was waited for had something to say all the same; nobody is to answer it.
                raise KeyboardInterrupt
        elif stage == CLEAR:
            messages = ()
        else:
            messages = stage(messages)
            if dialog is not None:
                dialog.watch(messages)
    return messages


async def _again_and_again(stages: Sequence[_Stage], messages: _Flow, dialog: Dialog) -> None:
    dialog.make_current()
    with ctrl_c_calls(dialog.interrupt):
        try:
            while True:
                messages = await _once(stages, messages, dialog)
        except (KeyboardInterrupt, EOFError):
            pass
        except Exception:
            # Agents that were cut off by Ctrl+C say so with an error; that is no failure.
            if not dialog.interrupted:
                raise
        finally:
            dialog.close()
    if dialog.interrupted and dialog.reads_pipe:
        # Nobody was there to leave the dialog: the answer to what came through the pipe was cut off.
        raise SystemExit(_INTERRUPTED_EXIT_CODE)
