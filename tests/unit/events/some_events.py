"""Events, and small tools, of the tests of the bus."""

import asyncio
from typing import Any

from miniagents.events import Event, Flow


class Text(Event):
    text: str = ""


class LongText(Text):
    pass


class Analysis(Event):
    text: str = ""


class Summary(Event):
    text: str = ""


class Number(Event):
    n: int = 0


async def task_switches(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def kinds(flow: Flow) -> list[str]:
    return [type(message).__name__ for message in await flow]


def errors_of(flow: Flow) -> list[Any]:
    return [letter.error for letter in flow.errors]
