"""`guide_agent`: answers questions about miniagents from its documentation, offline, and shows agents at work."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from miniagents.ext._guide_demos import DEMOS, Demo
from miniagents.ext._guide_docs import docs_index
from miniagents.ext._guide_texts import (
    CONNECT,
    NOT_A_MODEL,
    answer_text,
    demos_text,
    help_text,
    topics_text,
    unknown_command,
)
from miniagents.ext._guide_words import meaningful_words
from miniagents.ext.llms._common.words import words_of
from miniagents.ext.llms.llm_common import AssistantMessage
from miniagents.interaction import InteractionContext
from miniagents.messages import MessageTokenAppender
from miniagents.miniagents import miniagent

_MORE: Final = frozenset({"more", "/more"})
_DEMO_COMMANDS: Final = frozenset({"/demo", "/demos", "demo"})
_DEMO_WORDS: Final = frozenset({"demo", "demos", "demonstration", "demonstrations", "live"})


@miniagent
async def guide_agent(ctx: InteractionContext, docs_folder: Path | None = None) -> None:
    """Answer the user's last message by quoting the documentation of miniagents, or run the demonstration asked for.

    It is no LLM, and says so: it needs no key, no network and no weights. It searches the sections of the documentation
    for the words of the question and replies with the best one, its file and heading, token by token; `more` as the
    next message gives the next best. `/demo` lists demonstrations, `/demo parallel` runs one, with real agents whose
    models are scripted; `/topics`, `/connect` and `/help` do what they say.

    The reply is one message. The documentation is read, and its index built, in a thread when it is first needed.

    Args:
        ctx: the interaction, passed in by the framework.
        docs_folder: a folder with a `README.md` and `docs/*.md` to answer from, in place of those of miniagents.
    """
    messages = await ctx.message_promises
    said = [str(message).strip() for message in messages if message.get("role") in (None, "user")]
    has_spoken = any(message.get("role") == "assistant" for message in messages)
    with MessageTokenAppender() as screen:
        ctx.reply(
            AssistantMessage.promise(message_token_streamer=screen, role="assistant", agent_alias=ctx.this_agent.alias)
        )

        async def show(text: str) -> None:
            await screen.append(text)

        demo = _demo_asked_for(said[-1] if said else "")
        if demo is not None:
            await demo.run(show)
            return
        text = await asyncio.to_thread(_reply_to, said, docs_folder)
        is_command = bool(said) and said[-1].startswith("/")
        if not (has_spoken or is_command or "not an LLM" in text):
            text += f"\n\n({NOT_A_MODEL})"
        for token in words_of(text):
            await show(token)


def _demo_asked_for(text: str) -> Demo | None:
    command, _, name = text.lower().partition(" ")
    return DEMOS.get(name.strip()) if command in _DEMO_COMMANDS else None


def _reply_to(said: Sequence[str], docs_folder: Path | None) -> str:
    """The answer to the last of what the user has said (blocking)."""
    text = said[-1].lower() if said else ""
    command, _, argument = text.partition(" ")
    words = set(meaningful_words(text))
    if command in _DEMO_COMMANDS:
        return demos_text({name: demo.about for name, demo in DEMOS.items()}, asked_for=argument.strip())
    if words and words <= _DEMO_WORDS:
        return demos_text({name: demo.about for name, demo in DEMOS.items()})
    if text in ("", "/help", "help", "?"):
        return help_text()
    if text == "/connect":
        return CONNECT
    if text == "/topics":
        return topics_text(docs_index(docs_folder))
    if text in _MORE:
        return _more(said, docs_folder)
    if text.startswith("/"):
        return unknown_command(command)
    return answer_text(said[-1], docs_index(docs_folder))


def _more(said: Sequence[str], docs_folder: Path | None) -> str:
    """Answer the last question again, leaving out as many sections as there were requests for more since."""
    skip = 0
    for text in reversed(said):
        if text.lower() in _MORE:
            skip += 1
        elif not text.startswith("/"):
            return answer_text(text, docs_index(docs_folder), skip=skip)
    return "There is nothing to say more about yet: ask first, or see `/topics`."
