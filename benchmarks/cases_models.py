"""The cases of models that are asked over the network."""

from typing import Any

from benchmarks.case import AGENT_FRAMEWORKS, Case, Work, same_work


def _model_stream(
    name: str,
    what: str,
    provider: str,
    how: dict[str, Any],
    target: float | None,
    *,
    relays: int = 0,
    floor: bool = False,
) -> Case:
    """Our agent, which may be relayed, against the SDK's objects, or (`floor`) its raw lines decoded by hand."""
    params = {"tokens": 2000, **how}
    objects, raw_lines = (
        Work(provider, "llm_stream", {**params, "how": how_sdk}, 2000, f"{provider} {how_sdk}")
        for how_sdk in ("objects", "raw lines")
    )
    ours = Work("ours", "llm_stream", {**params, "provider": provider, "relays": relays}, 2000)
    peers = tuple(Work(peer, "llm_stream", params, 2000) for peer in AGENT_FRAMEWORKS)
    with_peers = provider == "openai" and not relays and "padded" not in how
    return Case(
        name=name,
        what=what,
        ours=ours,
        against=(raw_lines if floor else objects,),
        others=(objects if floor else raw_lines, *(peers if with_peers else ())),
        target=target,
    )


def _model_streams() -> list[Case]:
    one, burst = {"per_write": 1}, {"per_write": 64}
    tokens = "2,000 tokens of a model over the network, each in a write of its own,"
    return [
        _model_stream("llm-stream-openai", f"{tokens} against the SDK's objects", "openai", one, 0.35),
        _model_stream(
            "llm-stream-relayed-5", f"{tokens} through 5 agents that restream them", "openai", one, 0.5, relays=5
        ),
        _model_stream("llm-stream-bursts", "the same through one agent, 64 tokens in a write", "openai", burst, 0.35),
        _model_stream(
            "llm-stream-padded",
            "the same with the random padding that OpenAI adds to each token",
            "openai",
            {**burst, "padded": True},
            0.35,
        ),
        _model_stream(
            "llm-stream-anthropic",
            f"{tokens} against the SDK's raw lines, decoded by hand",
            "anthropic",
            one,
            1.1,
            floor=True,
        ),
        _model_stream(
            "llm-stream-anthropic-bursts", "the same, 64 tokens in a write", "anthropic", burst, None, floor=True
        ),
        _model_stream(
            "llm-stream-anthropic-relayed-5",
            f"{tokens} through 5 agents that restream them",
            "anthropic",
            one,
            None,
            relays=5,
            floor=True,
        ),
    ]


def _with_sdk(name: str, what: str, function: str, params: dict[str, Any], units: int, target: float | None) -> Case:
    ours = Work("ours", function, params, units)
    objects, raw_lines = (
        Work("openai", function, {**params, "how": how}, units, f"openai {how}") for how in ("objects", "raw lines")
    )
    # With a bound, it is about the SDK; the others would take minutes.
    peers = same_work(AGENT_FRAMEWORKS, ours) if target is None else ()
    return Case(name, what, ours, (objects,), (raw_lines, *peers), target)


def _model_history() -> Case:
    params = {"tokens": 1, "per_write": 1, "history": 400}
    return Case(
        name="llm-history",
        what="one token in answer to a dialog of 400 messages, per message",
        ours=Work("ours", "llm_stream", params, 400),
        against=(Work("openai", "llm_stream", {**params, "how": "objects"}, 400, "openai objects"),),
    )


def _model_runs(name: str, what: str, function: str) -> Case:
    ours = Work("ours", function, {"runs": 20}, 20)
    return Case(
        name=name,
        what=what,
        ours=ours,
        against=same_work(AGENT_FRAMEWORKS, ours),
        others=(Work("openai", function, ours.params, ours.units, "openai SDK"),),
        target=1,
        sense="times faster",
    )


MODEL_CASES: tuple[Case, ...] = (
    *_model_streams(),
    _model_history(),
    _with_sdk(
        "llm-streams-at-once",
        "200 streams at once of 200 tokens each, over the network",
        "llm_streams_at_once",
        {"streams": 200, "tokens": 200},
        40000,
        0.5,
    ),
    _with_sdk(
        "llm-first-token",
        "time on the clock on the wall until the first token, where they come 10 ms apart",
        "llm_first_token",
        {"times": 5},
        1,
        None,
    ),
    _model_runs(
        "llm-tool-round", "a question whose answer takes one call of a tool: two requests, unstreamed", "llm_tool_round"
    ),
    _model_runs("llm-parsed", "an answer that is validated against a schema, unstreamed", "llm_parsed"),
)
