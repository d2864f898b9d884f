"""Telemetry: what agents, models and tools do, as OpenTelemetry spans and metrics.

```python
from miniagents import MiniAgents

MiniAgents(telemetry=True).run(main())  # pip install "miniagents[otel]"
```

`Telemetry` says where the spans go and whether they hold what was said. The package listens to the core through
`CallInterceptor`; nothing in the core knows of it, and `opentelemetry` is imported only where the setting is given.
"""

from miniagents.tracing.telemetry import Telemetry, telemetry_extension

__all__ = ["Telemetry", "telemetry_extension"]
