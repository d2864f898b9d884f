"""An agent that fails, agents that pass its error on, and what of it is on the log."""

import logging

import pytest

from miniagents import InteractionContext, MiniAgent, miniagent


class BrokenError(Exception):
    """What the agents here fail with."""


@miniagent
async def failing(ctx: InteractionContext, text: str = "broken") -> None:
    ctx.reply("before")
    raise BrokenError(text)


def forwarder_of(inner: MiniAgent, alias: str) -> MiniAgent:
    @miniagent(alias=alias)
    async def forwarder(ctx: InteractionContext) -> None:
        ctx.reply([f"{alias} in", inner.inquire(), f"{alias} out"])

    return forwarder


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
