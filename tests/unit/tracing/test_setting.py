"""The setting `telemetry`."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.errors import MissingExtraError
from miniagents.tracing import Telemetry, telemetry_extension
from tests.unit.tracing.conftest import Recorder


@miniagent
async def greeter(ctx: InteractionContext) -> None:
    ctx.reply("Hello!")


async def greet() -> list[str]:
    return [str(message) for message in await greeter.inquire()]


def test_it_is_a_setting_of_the_context(recorder: Recorder) -> None:
    assert MiniAgents(telemetry=recorder.telemetry()).run(greet()) == ["Hello!"]

    assert recorder.names == ["invoke_agent GREETER"]


@pytest.mark.parametrize("value", [True, False, None])
def test_it_can_be_turned_on_and_off(value: bool | None) -> None:
    assert MiniAgents(telemetry=value).run(greet()) == ["Hello!"]


def test_anything_else_is_refused() -> None:
    with pytest.raises(TypeError, match=r"`telemetry` is `True`, `False` or a `Telemetry\(...\)`, not 'yes'"):
        MiniAgents(telemetry="yes")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in ("_otel", "_calls", "_chats", "_faults"):
        monkeypatch.delitem(sys.modules, f"miniagents.tracing.{name}", raising=False)

    with pytest.raises(MissingExtraError, match=r'pip install "miniagents\[otel\]"'):
        telemetry_extension({"telemetry": True}, None)


def test_opentelemetry_is_not_imported_where_it_is_not_wanted() -> None:
    program = """
import sys
from miniagents import MiniAgents, miniagent
from miniagents.ext.llms import ScriptedAgent
import miniagents.tracing

async def main():
    await ScriptedAgent.inquire("Hi", script="Hello!")

MiniAgents().run(main())
MiniAgents(telemetry=False).run(main())
print([name for name in sys.modules if name.split(".")[0] == "opentelemetry"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


async def test_what_is_not_sampled_is_not_recorded_and_neither_is_what_it_calls() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry(tracer_provider=provider, capture_content=True)

    async with MiniAgents(interceptors=[telemetry_extension({"telemetry": telemetry}, None)]):
        assert await greet() == ["Hello!"]

    assert exporter.get_finished_spans() == ()


def test_a_provider_that_is_set_for_the_process_later_is_used() -> None:
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from miniagents import MiniAgents, miniagent

@miniagent
async def greeter(ctx):
    ctx.reply("Hello!")

async def main():
    await greeter.inquire()

mini_agents = MiniAgents(telemetry=True)
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
mini_agents.run(main())
print([span.name for span in exporter.get_finished_spans()])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "['invoke_agent GREETER']\n"
