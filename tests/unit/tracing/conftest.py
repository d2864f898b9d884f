from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from miniagents import MiniAgents
from miniagents.testing.server import ProtocolServer, start_protocol_server
from miniagents.tracing import Telemetry, telemetry_extension


class Recorder:
    """The real SDK of OpenTelemetry, which keeps everything in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meter_provider = MeterProvider(metric_readers=[self._reader])

    def telemetry(self, **options: Any) -> Telemetry:
        return Telemetry(tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options)

    def mini_agents(self, *, capture_content: bool = False, **options: Any) -> MiniAgents:
        """What `MiniAgents(telemetry=...)` gives, but for the look for installed extensions, which reads files."""
        value = self.telemetry(capture_content=capture_content)
        interceptors = [*options.pop("interceptors", ()), telemetry_extension({"telemetry": value}, None)]
        return MiniAgents(interceptors=interceptors, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def parent(self, name: str) -> str | None:
        parent = self.span(name).parent
        return next((span.name for span in self.spans if parent and span.context.span_id == parent.span_id), None)

    def metrics(self) -> dict[str, list[Any]]:
        """The data points of each metric."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        (resource,) = data.resource_metrics
        return {metric.name: list(metric.data.data_points) for metric in resource.scope_metrics[0].metrics}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def traced(recorder: Recorder) -> AsyncIterator[MiniAgents]:
    async with recorder.mini_agents() as mini_agents:
        yield mini_agents


@pytest.fixture(scope="session")
def running_server() -> Iterator[ProtocolServer]:
    with start_protocol_server() as server:
        yield server


@pytest.fixture
def server(running_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProtocolServer]:
    """The protocol server, with nothing scripted; the environment points both SDKs at it."""
    for name, value in running_server.environment.items():
        monkeypatch.setenv(name, value)
    running_server.reset()
    yield running_server
    running_server.open_gates()


@pytest.fixture(autouse=True)
def no_context_is_detached_in_another_task(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert "Failed to detach context" not in caplog.text
