"""The program that `killing.py` kills again and again, and resumes.

It notes what happens in a file, a line at a time, outside of its journal:

    attempt                       it begins
    begin KEY                     a durable agent, or the effect of `once`, begins its work
    given HASH                    whoever called it has awaited one message of the answer
    seen NAME KEY VALUE           whoever called it has awaited the answer, whole
    result VALUE, left            it has its result; the context has ended
"""

import asyncio
import hashlib
import itertools
import os
import random
import re
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from miniagents import InteractionContext, Message, MessageSequencePromise, MiniAgents, miniagent
from miniagents.ext.llms.prompt import Prompt
from miniagents.ext.llms.scripted import ScriptedAgent, tool_call

# What a kind of work gives differs from one execution to the next: what was seen once must be what is seen for ever.
SIGNATURE = re.compile(r"<([^<>]*)>")
END_OF_LINE = " ."
LEAVES = {"PLAIN", "STREAMING", "TALKATIVE", "CAREFUL", "LOOK_UP", "MODEL"}


@dataclass
class Attempt:
    """What a victim needs besides its journal."""

    dice: random.Random = field(default_factory=random.Random)
    note_fd: int = -1
    differs: bool = True
    kill_at: int | None = None
    told_fd: int | None = None
    lines: Any = field(default_factory=itertools.count)


attempt = Attempt()


def note(text: str) -> None:
    # At once, whatever happens next. Where the process dies in the middle of it, the end of the line is missing.
    os.write(attempt.note_fd, f"{text}{END_OF_LINE}\n".encode())
    if next(attempt.lines) == attempt.kill_at:
        if attempt.told_fd is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            os.write(attempt.told_fd, b"!")


# -- the program --------------------------------------------------------------------------------------------------------


def signature(key: str) -> str:
    return f"<{key}:{secrets.token_hex(3) if attempt.differs else ''}>"


async def begin(ctx: InteractionContext) -> str:
    """Note that a durable agent works, and give what its answer ends with."""
    key = await ctx.call_key()
    note(f"begin {key}")
    # The order in which those that go on together end is another one each time.
    await asyncio.sleep(attempt.dice.choice([0, 0, 0.0005, 0.002]))
    return signature(key)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


async def texts(messages: MessageSequencePromise) -> str:
    return " ".join([str(message) for message in await messages])


@miniagent(alias="PLAIN", durable=True)
async def plain(ctx: InteractionContext) -> None:
    end = await begin(ctx)
    ctx.reply(f"plain({await texts(ctx.message_promises)}) {end}")


@miniagent(alias="STREAMING", durable=True)
async def streaming(ctx: InteractionContext) -> None:
    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        end = await begin(ctx)
        for token in ["streaming", "(", said, ")"]:
            yield token
            for _ in range(attempt.dice.randrange(4)):
                await asyncio.sleep(0)
        yield f" {end}"

    said = await texts(ctx.message_promises)
    ctx.reply(Message.promise(message_token_streamer=tokens))


@miniagent(alias="TALKATIVE", durable=True)
async def talkative(ctx: InteractionContext) -> None:
    end = await begin(ctx)
    for number in range(3):
        ctx.reply(f"{number}. {await texts(ctx.message_promises)}")
        await asyncio.sleep(attempt.dice.choice([0, 0.001]))
    ctx.reply(f"that is all {end}")


@miniagent(alias="CAREFUL", durable=True)
async def careful(ctx: InteractionContext) -> None:
    """Has a side effect that must not happen again, whatever happens to itself."""
    end = await begin(ctx)
    paid = await effect(ctx, "pay", await texts(ctx.message_promises))
    ctx.reply(f"careful({await texts(ctx.message_promises)}, {paid}) {end}")


async def look_up(word: str) -> str:
    """Look a word up."""
    end = await begin(InteractionContext.get_current())
    return f"looked up {word} {end}"


async def model_reply(prompt: Prompt) -> Any:
    key = await InteractionContext.get_current().call_key()
    known = prompt.last_text
    if "looked up" not in known:
        note(f"begin {key}")
        return ["thinking ", "aloud", tool_call("look_up", {"word": known.split()[0]}, "call-1")]
    tool_key = SIGNATURE.findall(known)[-1].split(":")[0]
    note(f"seen {tool_key} {tool_key} {known!r}")
    return ["model(", known, ") ", signature(key)]


async def effect(ctx: InteractionContext, name: str, whose: str) -> str:
    """Give what came of an effect, and note that its caller has it."""
    key = f"{await ctx.call_key()}/{name}"

    def act() -> str:
        note(f"begin {key}")
        return f"effect {signature(key)}"

    value = await ctx.once(name, act)
    note(f"seen {name}-{digest(whose)} {key} {value!r}")
    return value


async def seen(name: str, replies: MessageSequencePromise) -> str:
    """Give the answer of a durable agent, and note that its caller has it whole, with its tokens."""
    pieces: list[list[str]] = []
    async for message in replies:
        pieces.append([token async for token in message])
        note(f"given {(await message).hash_key}")
    text = await texts(replies)
    assert " ".join(map("".join, pieces)) == text
    key = SIGNATURE.findall(text)[-1].split(":")[0]
    note(f"seen {name.replace(' ', '-')} {key} {pieces!r}")
    return text


@miniagent
async def team(ctx: InteractionContext, name: str) -> None:
    """Gets an answer that may still be coming, and has work of its own that does not depend on it."""
    paid, said = await asyncio.gather(
        effect(ctx, "invoice", name), seen(f"{name}.own", plain.inquire(f"own work of {name}"))
    )
    ctx.reply([await texts(ctx.message_promises), paid, said])


@miniagent
async def region(ctx: InteractionContext, name: str) -> None:
    told = await texts(ctx.message_promises)
    twins = [plain.inquire(f"twin of {told}") for _ in range(2)]
    talk = talkative.inquire(told)
    found = await asyncio.gather(
        seen(f"{name}.twin 1", twins[1]),
        seen(f"{name}.stream", streaming.inquire(told)),
        seen(f"{name}.twin 0", twins[0]),
        effect(ctx, "charge", name),
        seen(f"{name}.chain 2", streaming.inquire(plain.inquire(talk))),
        seen(f"{name}.talk", talk),
    )
    end = await seen(f"{name}.careful", careful.inquire(found[1:3]))
    order = plain.inquire(end)
    # Whether the order is there already when the team is called is another matter in each attempt.
    await asyncio.sleep(attempt.dice.choice([0, 0.003]))
    last = team.inquire(order, name=f"{name}.team")
    ctx.reply([*found, await texts(last)])


@miniagent
async def everything(ctx: InteractionContext) -> None:
    told = await texts(ctx.message_promises)
    model = ScriptedAgent.fork(alias="MODEL", script=model_reply, tools=[look_up])
    regions = [region.inquire(f"{told} {number}", name=f"region {number}") for number in range(2)]
    answers = [seen(f"model {number}", model.inquire(f"{number} {told}")) for number in range(2)]
    parts = await asyncio.gather(*answers, effect(ctx, "open", told), *map(texts, regions))
    chain = parts[0]
    for number in range(3):
        chain = await seen(f"chain {number}", plain.inquire(chain))
    ctx.reply([*parts, chain])


@miniagent
async def asking(ctx: InteractionContext) -> None:
    """Asks three persons at once."""

    async def ask(key: str) -> str:
        before = await seen(f"before {key}", plain.inquire(f"before {key}"))
        answer = await ctx.ask(f"What is {key}?", key=key)
        note(f"answered {key}")
        return f"{before} {key}={answer} {await seen(f'after {key}', streaming.inquire(f'after {answer}'))}"

    ctx.reply(await asyncio.gather(*[ask(key) for key in ("a", "b", "c")]))


async def program(url: str, run_id: str, agent: Any, **settings: Any) -> str:
    # The line before may have been cut off.
    note("\nattempt")
    async with MiniAgents(journal=url, run_id=run_id, **settings):
        result = await texts(agent.inquire(f"run {run_id}"))
        # What is different each time, and the name of the run, which makes its messages its own.
        same = SIGNATURE.sub("", result).replace(run_id, "")
        note(f"result {same!r}")
    note("left")
    return same
