"""Conversations whose course both sides know beforehand: what the server answers, and what that has to cost.

Each has one round of a tool, so two turns of the model. The user's first text says how it goes, as JSON; the functions
for the server are imported by it, in a process of its own.
"""

import asyncio
import json
import random
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import Any

from miniagents.testing.server import (
    Answer,
    Cut,
    Drop,
    Endless,
    ErrorInside,
    Failure,
    RecordedRequest,
    ToolCall,
    Usage,
)

STOP_HERE = " now"
FAULTS = {
    "overloaded": Failure(503, "too much to do"),
    "bad request": Failure(400, "no, sorry"),
    "dropped": Answer(["Once", Drop()]),
    "error inside": Answer(["Once", ErrorInside()]),
    "cut": Answer(["Once", Cut()]),
}
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class Course:
    """How a conversation goes: `fate` is `"succeeds"`, `"is cancelled"` or one of FAULTS, in turn 1 or 2.

    `with_claude` says with whom: Anthropic's streams begin with what the prompt costs, OpenAI's end with everything.
    """

    run: str
    together: int
    number: int
    fate: str
    last_turn: int
    with_claude: bool

    @property
    def text(self) -> str:
        """What the user says first."""
        return json.dumps(asdict(self))

    @property
    def complete_turns(self) -> int:
        """How many turns of the model end well."""
        return 2 if self.fate == "succeeds" else self.last_turn - 1

    @property
    def usage(self) -> dict[str, int]:
        """What it costs, as far as that is told."""
        turns = [usage_of(self.number, turn) for turn in range(1, self.complete_turns + 1)]
        if self.with_claude and self.complete_turns < self.last_turn and not isinstance(FAULTS.get(self.fate), Failure):
            turns.append(replace(usage_of(self.number, self.last_turn), output_tokens=1))
        return {
            "requests": self.last_turn,
            "tool_calls": self.last_turn - 1,
            "input_tokens": sum(turn.input_tokens for turn in turns),
            "output_tokens": sum(turn.output_tokens for turn in turns),
            "cache_read_tokens": sum(turn.cache_read_tokens for turn in turns),
            "unknown": self.last_turn - self.complete_turns,
        }


def courses_of(run: str, count: int, dice: random.Random) -> list[Course]:
    """Give so many courses, of which a tenth is cancelled and a tenth fails, in either turn."""
    fates = ["is cancelled"] * (count // 10) + dice.choices(list(FAULTS), k=count // 10)
    fates += ["succeeds"] * (count - len(fates))
    dice.shuffle(fates)
    return [
        Course(
            run,
            together=count,
            number=number,
            fate=fate,
            last_turn=2 if fate == "succeeds" else dice.choice([1, 2]),
            with_claude=number % 3 == 0,
        )
        for number, fate in enumerate(fates)
    ]


def usage_of(number: int, turn: int) -> Usage:
    """What a turn is said to cost: other numbers for each conversation, so that no mistake cancels out another one."""
    return Usage(input_tokens=1000 * turn + number, output_tokens=7 * turn + number % 13, cache_read_tokens=number % 5)


# ------------------------------------------------------------------------------------------------------ the server's side

_arrived: defaultdict[str, int] = defaultdict(int)
_all_are_here: dict[str, asyncio.Event] = {}


async def answer(request: RecordedRequest) -> Any:
    """Answer a turn; the first turns wait until so many conversations are open at the same time."""
    course = Course(**json.loads(request.first_user_text))
    turn = 1 if len(request.dialog) == 1 else 2
    if turn == 1:
        event = _all_are_here.setdefault(course.run, asyncio.Event())
        _arrived[course.run] += 1
        if _arrived[course.run] >= course.together:
            event.set()
        async with asyncio.timeout(LONGEST_WAIT_S):
            await event.wait()
    usage = usage_of(course.number, turn)
    if course.fate in FAULTS and turn == course.last_turn:
        fault = FAULTS[course.fate]
        return replace(fault, usage=usage) if isinstance(fault, Answer) else fault
    if course.fate == "is cancelled" and turn == course.last_turn:
        return Answer(["Let", " us", STOP_HERE, Endless(delay_s=0.05)], usage=usage)
    if turn == 1:
        return Answer(["Let me see.", ToolCall("double", {"number": course.number})], usage=usage)
    return Answer(["It is", f" {2 * course.number}", "."], usage=usage)
