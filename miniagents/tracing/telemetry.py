"""`Telemetry`, the value of the setting `MiniAgents(telemetry=...)`, and the extension that reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from miniagents._interception import CallInterceptor
from miniagents.errors import MissingExtraError


@dataclass(frozen=True, kw_only=True, slots=True)
class Telemetry:
    """Where spans and metrics go, and what they hold.

    Attributes:
        tracer_provider: an OpenTelemetry `TracerProvider`; None: the one that is set for the whole process.
        meter_provider: a `MeterProvider`; None: the one that is set for the whole process.
        capture_content: whether spans hold what was said: prompts, answers, system prompts, arguments and results of
            tools, texts of errors. Keys and other secrets of the settings are on no span, whatever is set here.
    """

    tracer_provider: Any = None
    meter_provider: Any = None
    capture_content: bool = False


def telemetry_extension(settings: Mapping[str, Any], mini_agents: object) -> CallInterceptor | None:
    """Give what listens to the calls of a context for `telemetry=...`: True, False, None or a `Telemetry`.

    Raises:
        TypeError: it is something else.
        MissingExtraError: the package `opentelemetry-api` is not installed.
    """
    value = settings["telemetry"]
    if value is None or value is False:
        return None
    if value is not True and not isinstance(value, Telemetry):
        raise TypeError(f"`telemetry` is `True`, `False` or a `Telemetry(...)`, not {value!r}.")
    telemetry = value if isinstance(value, Telemetry) else Telemetry()
    try:
        from miniagents.tracing._otel import OpenTelemetry
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise MissingExtraError(
            package="opentelemetry-api", extra="otel", purpose="`MiniAgents(telemetry=...)`"
        ) from error
    from miniagents.tracing._calls import CallTracer

    otel = OpenTelemetry(telemetry.tracer_provider, telemetry.meter_provider)
    return CallTracer(otel, captures_content=telemetry.capture_content)
