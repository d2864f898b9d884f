"""The cases of events, beside a package whose agents are coupled by events, too, with the batch size that suits it."""

from typing import Any

from benchmarks.case import Case, Work

PEER = "mojentic"


def _on_the_wall(
    name: str, what: str, function: str, params: dict[str, Any], target: float, others: tuple[Work, ...] = ()
) -> Case:
    ours = Work("ours", function, params)
    return Case(name, what, ours, others=(Work(PEER, function, params), *others), target=target, unit="wall")


def _three_hops() -> Case:
    ours = Work("ours", "events_three_hops", {"events": 10_000}, 10_000)
    return Case(
        name="events-three-hops",
        what="10,000 events, each with two more that follow from it, one after the other; per emitted event",
        ours=ours,
        against=(Work(PEER, ours.function, ours.params, ours.units),),
        others=(
            Work(PEER, ours.function, {**ours.params, "logs": False}, ours.units, f"{PEER} without log lines"),
            Work(PEER, ours.function, ours.params, ours.units, f"{PEER} on the wall", clock="wall"),
        ),
        target=5,
        sense="times faster",
    )


def _live_flows() -> Case:
    params = {"events": 50_000}
    return Case(
        name="events-live-flows",
        what="the longest that the event loop is held up while 50,000 flows, all live at the same time, go over three "
        "hops",
        ours=Work("ours", "events_worst_gap", params),
        against=(Work(PEER, "events_worst_gap", params),),
        target=10,
        sense="times faster",
        unit="wall",
    )


EVENT_CASES: tuple[Case, ...] = (
    _three_hops(),
    _on_the_wall(
        "events-fan-out",
        "one event to 100 handlers, each of which waits for 50 ms",
        "events_fan_out",
        {"handlers": 100, "each_s": 0.05},
        0.1,
    ),
    _on_the_wall(
        "events-idle",
        "from `emit` to the handler, where nothing else is to be done",
        "events_idle_latency",
        {"times": 20},
        0.001,
    ),
    _live_flows(),
    Case(
        name="events-kept-bytes",
        what="bytes that 100,000 finished flows of three events leave behind (at most one each)",
        ours=Work("ours", "events_kept_bytes", {"flows": 100_000}),
        target=100_000,
        unit="bytes",
    ),
)
