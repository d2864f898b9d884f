"""Where a context has telemetry, each run of a handler is a span below that of the handler that replied."""

from typing import Any

import pytest

from miniagents import InteractionContext, miniagent
from miniagents.events import EventBus
from tests.unit.events.some_events import Analysis, Text
from tests.unit.tracing.conftest import Recorder


async def test_each_run_of_a_handler_is_a_span_in_the_causal_tree() -> None:
    recorder = Recorder()

    @miniagent
    async def helper(ctx: InteractionContext) -> None:
        ctx.reply("helped")

    async with recorder.mini_agents(), EventBus() as bus:

        @bus.on(Text)
        async def first(ctx: Any, event: Text) -> None:
            ctx.reply(helper.inquire())
            ctx.reply(Analysis())

        @bus.on(Analysis)
        async def second(ctx: Any, event: Analysis) -> None:
            raise ValueError("secret")

        flow = bus.emit(Text())
        await flow

    assert sorted(recorder.names) == ["handle first", "handle second", "invoke_agent HELPER"]
    assert recorder.parent("handle second") == recorder.parent("invoke_agent HELPER") == "handle first"
    assert recorder.parent("handle first") is None
    attributes = recorder.span("handle second").attributes
    assert attributes["miniagents.event.type"] == "Analysis"
    assert attributes["miniagents.event.flow_id"] == attributes["miniagents.event.causation_id"] == flow.id
    assert attributes["error.type"] == "ValueError"
    assert recorder.span("handle second").status.description is None
    assert recorder.span("handle first").status.is_ok


@pytest.mark.parametrize("has_telemetry", [True, False])
async def test_a_context_without_telemetry_makes_no_spans(has_telemetry: bool) -> None:
    recorder = Recorder()

    async def run() -> None:
        async with EventBus() as bus:

            @bus.on(Text)
            async def handler(ctx: Any, event: Text) -> None: ...

            bus.emit(Text())

    if has_telemetry:
        async with recorder.mini_agents():
            await run()
    else:
        await run()

    assert recorder.names == (["handle handler"] if has_telemetry else [])
