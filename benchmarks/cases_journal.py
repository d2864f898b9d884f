"""The cases of the journal, all with SQLite."""

from typing import Any, Literal

from benchmarks.case import Case, Work


def _chain(label: str = "", clock: Literal["cpu", "wall"] = "cpu", **how: Any) -> Work:
    params = {"calls": 100, "durability": "step", "shape": "nested"}
    return Work("ours", "journal_chain", {**params, **how}, 100, label, clock)


def _against_tasks(name: str, what: str, others: tuple[Work, ...], **how: Any) -> Case:
    return Case(
        name=name,
        what=what,
        ours=_chain(**how),
        against=(Work("floor", "task_chain", {"tasks": 100, "shape": how.get("shape", "nested")}, 100, "task chain"),),
        others=others,
        target=20,
    )


def _chains() -> list[Case]:
    return [
        _against_tasks(
            "journal-chain",
            "100 durable calls, of which each makes the next and awaits its answer, every record committed, against "
            "tasks that do so",
            (
                _chain("and filed", flushes=True),
                _chain("on the wall", clock="wall"),
                _chain("no journal", durability=""),
                Work("langgraph", "journal_chain", {"calls": 100}, 100, "langgraph with SQLite"),
            ),
        ),
        _against_tasks(
            "journal-chain-lazy",
            "the same, committed in the background",
            (_chain("and filed", flushes=True),),
            durability="lazy",
        ),
        _against_tasks(
            "journal-chain-in-sequence",
            "100 durable calls one after another, each with the answer of the one before",
            (
                _chain("and filed", shape="in sequence", flushes=True),
                _chain("lazy", shape="in sequence", durability="lazy"),
                _chain("no journal", shape="in sequence", durability=""),
            ),
            shape="in sequence",
        ),
        Case(
            name="journal-none",
            what="100 calls of a durable agent, of which each makes the next, without a journal, against an agent that "
            "is not durable",
            ours=_chain(durability=""),
            against=(_chain("not durable", durability="", durable=False),),
            target=1.05,
        ),
    ]


def _first_token(how: str) -> Work:
    return Work("ours", "journal_first_token", {"times": 50, "how": how}, 1, "" if how == "locked" else how)


JOURNAL_CASES: tuple[Case, ...] = (
    *_chains(),
    Case(
        name="journal-at-once",
        what="1,000 durable calls at once, per message (each has one and answers with one), every record committed",
        ours=Work("ours", "journal_at_once", {"calls": 1000}, 2000, clock="wall"),
        others=(Work("ours", "journal_at_once", {"calls": 1000}, 2000, "CPU time"),),
        target=1 / 10_000,
        unit="wall",
    ),
    Case(
        name="journal-first-token",
        what="from a durable call to its first token, while another process keeps the file locked, so that nothing can "
        "be committed, against with a file that is free",
        ours=_first_token("locked"),
        against=(_first_token("free"),),
        others=(_first_token("no journal"),),
        target=1.25,
        unit="wall",
    ),
    *(
        Case(
            name=f"journal-resume{'' if shape == 'at once' else '-in-sequence'}",
            what=f"opening and resuming a run of 10,000 finished calls, asked for {shape}; no leaf is executed",
            ours=(resume := Work("ours", "journal_resume", {"calls": 10_000, "shape": shape}, clock="wall")),
            others=(Work("ours", resume.function, resume.params, label="CPU time"),),
            target=2,
            unit="wall",
        )
        for shape in ("at once", "in sequence")
    ),
    Case(
        name="journal-bytes",
        what="bytes of the file per message of 1 kB, of 10,000 that durable agents have answered with",
        ours=Work("ours", "journal_bytes", {"messages": 10_000}, 10_000),
        target=2500,
        unit="bytes",
    ),
    Case(
        name="journal-log",
        what="opening that file and listing its 10,000 calls",
        ours=Work("ours", "journal_log", {"messages": 10_000}, clock="wall"),
        target=1,
        unit="wall",
    ),
)
