"""The cases: what is done, what it is compared with, and what is to be reached."""

from typing import Any

from benchmarks.case import AGENT_FRAMEWORKS, PUBLISHED, Case, Work, same_work
from benchmarks.cases_events import EVENT_CASES
from benchmarks.cases_journal import JOURNAL_CASES
from benchmarks.cases_models import MODEL_CASES


def _restream(depth: int, burst: int) -> Case:
    tokens = {1: 4000, 10: 1500, 50: 500}[depth]
    params = {"tokens": tokens, "depth": depth, "burst": burst}
    units = tokens * depth
    return Case(
        name=f"restream-{'one-by-one' if burst == 1 else 'bursts'}-{depth}",
        what=f"{tokens:,} tokens, {'one' if burst == 1 else burst} at a time, each yielded again into a new message by "
        f"{depth} agent{'s' * (depth > 1)}",
        ours=Work("ours", "restream", params, units),
        against=(Work("floor", "restream", params, units, "queue chain"),),
        others=(
            Work("floor", "restream_generators", params, units, "generator chain"),
            *(Work(name, "restream", params, units) for name in PUBLISHED),
        ),
        target=1.05 if burst == 1 else 0.7,
    )


def _forward() -> Case:
    deep, flat = ({"tokens": 5000, "depth": depth, "burst": 1} for depth in (50, 1))
    return Case(
        name="forward-50",
        what="a message of 5,000 tokens replied by 50 agents, each as it got it, against through one agent",
        ours=Work("ours", "forward", deep, 5000),
        against=(Work("ours", "forward", flat, 5000, "through one"),),
        others=tuple(Work(name, "forward", deep, 5000) for name in PUBLISHED),
        target=1.2,
    )


def _against_published(name: str, what: str, function: str, params: dict[str, Any], units: int) -> Case:
    ours = Work("ours", function, params, units)
    return Case(
        name=name,
        what=what,
        ours=ours,
        against=same_work(("0.0.24",), ours),
        others=same_work(("floor", "0.0.35"), ours),
        target=12,
        sense="times faster",
    )


def _garbage(kind: str, what: str) -> Case:
    ours = Work("ours", "garbage_per_call", {"calls": 500, "kind": kind})
    others = same_work(PUBLISHED, ours) if kind == "plain" else ()
    return Case(name=f"garbage-{kind}", what=what, ours=ours, others=others, target=0, unit="objects")


def _growth(name: str, what: str, function: str, parameter: str, few: int, more: dict[str, Any]) -> Case:
    small, large = (Work("ours", function, {parameter: n, **more}, n) for n in (few, 100 * few))
    return Case(
        name=name,
        what=what,
        ours=large,
        against=(Work("ours", function, small.params, few, f"at {few:,}"),),
        others=same_work(PUBLISHED, large),
        target=1.15,
    )


def _against_floor(name: str, what: str, function: str, params: dict[str, Any], units: int, target: float) -> Case:
    ours = Work("ours", function, params, units)
    return Case(name, what, ours, same_work(("floor",), ours), same_work(PUBLISHED, ours), target)


def _against_frameworks(name: str, what: str, function: str, params: dict[str, Any], units: int) -> Case:
    ours = Work("ours", function, params, units)
    peers = same_work((*AGENT_FRAMEWORKS, *PUBLISHED), ours)
    return Case(name, what, ours, peers, same_work(("floor",), ours), target=1, sense="times faster")


def _imports() -> list[Case]:
    ours = Work("ours", "import_cost", {"statement": "import miniagents"})
    pydantic = {"statement": "import asyncio; from pydantic import BaseModel"}
    return [
        Case(
            name="import",
            what="`import miniagents` against `import asyncio; from pydantic import BaseModel`",
            ours=ours,
            against=(Work("ours", "import_cost", pydantic, label="asyncio and pydantic"),),
            others=same_work(PUBLISHED, ours),
            target=1.35,
        ),
        Case(
            name="import-openai",
            what="`import miniagents` against `import openai`",
            ours=ours,
            against=(Work("openai", "import_cost", {"statement": "import openai"}),),
            target=0.35,
        ),
    ]


def _dialog(name: str, function: str, history: str, others: tuple[str, ...]) -> Case:
    ours = Work("ours", function, {"early": 100, "late": 800, "times": 3}, 1400)
    return Case(
        name=name,
        what=f"turn 800 of a dialog that sends its whole history{history}, less turn 100, against reading the 1,400 "
        "messages between once",
        ours=ours,
        against=(Work("ours", "read_once", {"messages": 1400, "times": 5}, 1400, "reading once"),),
        others=same_work(others, ours),
        target=1.15,
    )


CASES: tuple[Case, ...] = (
    *(_restream(depth, burst) for burst in (1, 50) for depth in (1, 10, 50)),
    _forward(),
    Case(
        name="first-token-50",
        what="CPU time until the first token has come through 50 agents that restream, the calls included",
        ours=Work("ours", "first_token", {"depth": 50}),
        against=(Work("floor", "first_token", {"depth": 50}, label="queue chain"),),
        others=tuple(Work(name, "first_token", {"depth": 50}) for name in PUBLISHED),
        target=2,
    ),
    _against_published(
        "calls-in-sequence", "2,000 trivial calls, one after another", "calls_in_sequence", {"calls": 2000}, 2000
    ),
    _against_published("calls-at-once", "5,000 trivial calls at once", "calls_at_once", {"calls": 5000}, 5000),
    _against_published("flatten-lists", "3,125 messages in lists five deep", "flatten_lists", {"levels": 5}, 3125),
    _against_published(
        "flatten-agents", "3,125 messages from 781 nested agents", "flatten_agents", {"levels": 5}, 3125
    ),
    Case(
        name="live-call-tasks",
        what="asyncio tasks per call, 5,000 live, no message, nobody reading",
        ours=(tasks := Work("ours", "live_call_tasks", {"calls": 5000})),
        others=same_work(PUBLISHED, tasks),
        target=1,
        unit="tasks",
    ),
    Case(
        name="live-call-bytes",
        what="bytes per call, the same",
        ours=(size := Work("ours", "live_call_bytes", {"calls": 5000})),
        others=same_work(("floor", *PUBLISHED), size),
        target=4096,
        unit="bytes",
    ),
    Case(
        name="retained-bytes",
        what="bytes per token that a finished message of 20,000 different tokens keeps, its text included",
        ours=(kept := Work("ours", "retained_bytes", {"tokens": 20000})),
        others=same_work(("floor", *PUBLISHED), kept),
        target=90,
        unit="bytes",
    ),
    _garbage("plain", "objects of cyclic garbage that a trivial call leaves behind"),
    _garbage("nested", "the same, of 6 agents that call one another"),
    _garbage("streaming", "the same, of 2 agents that restream tokens"),
    _garbage("forwarding", "the same, of 2 agents that forward a message"),
    _garbage("unread", "the same, of a call whose reply nobody reads"),
    Case(
        name="first-token-at-hand",
        what="a streamer has 2,000 tokens at hand: the part of the whole time after which its reader has the first",
        ours=(at_hand := Work("ours", "first_token_at_hand", {"tokens": 2000, "times": 30})),
        others=same_work(PUBLISHED, at_hand),
        target=0.05,
        unit="part",
    ),
    _growth(
        "growth-tokens",
        "a token of a message of 100,000 against one of 1,000, restreamed by an agent",
        "restream",
        "tokens",
        1000,
        {"depth": 1, "burst": 1},
    ),
    _growth(
        "growth-messages", "a message of a reply of 10,000 against one of 100", "reply_of_messages", "messages", 100, {}
    ),
    _dialog("dialog", "dialog_growth", ", a list of messages", PUBLISHED),
    _dialog("dialog-linked", "linked_dialog_growth", ", a promise of them", ()),
    _against_floor(
        "readers-live",
        "20 readers of one live stream of 2,000 tokens",
        "readers_live",
        {"readers": 20, "tokens": 2000},
        40000,
        1.5,
    ),
    _against_floor(
        "replays",
        "20 replays of a stream of 2,000 tokens that has ended",
        "replays",
        {"readers": 20, "tokens": 2000},
        40000,
        1.5,
    ),
    *_imports(),
    _against_frameworks(
        "agent-runs",
        "runs of an agent on a model that answers at once, one after another",
        "agent_run",
        {"runs": 200},
        200,
    ),
    _against_frameworks("agents-at-once", "1,000 such runs at once", "agents_at_once", {"runs": 1000}, 1000),
    _against_frameworks(
        "agent-stream",
        "2,000 tokens of a model, one by one, streamed through an agent",
        "agent_stream",
        {"tokens": 2000},
        2000,
    ),
    Case(
        name="limits",
        what="`agent-runs` with limits of requests, tokens and cost on every call, against without",
        ours=Work("ours", "limited_agent_run", {"runs": 200}, 200),
        against=(Work("ours", "agent_run", {"runs": 200}, 200, "without"),),
        target=1.2,
    ),
    *MODEL_CASES,
    *JOURNAL_CASES,
    *EVENT_CASES,
)
