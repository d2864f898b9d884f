"""That the benchmarks run, that their counts are within their bounds, and that they compare what they say."""

import ast
import inspect
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import quick
from benchmarks.__main__ import tables
from benchmarks.case import Case, Work
from benchmarks.cases import CASES
from benchmarks.environments import ALWAYS_THERE, PEERS
from benchmarks.growth import GROWTHS
from benchmarks.measuring import Row, measure
from benchmarks.plot import draw
from benchmarks.processes import NotMeasuredError
from benchmarks.report import cells, descriptions, markdown, put_between_marks
from benchmarks.subjects import asking
from benchmarks.subjects.worker import difference, function_of, module_of

ROOT = Path(__file__).parents[2]
SUBJECTS = ROOT / "benchmarks" / "subjects"


def all_work() -> list[Work]:
    growing = [work_of(size) for growth in GROWTHS for work_of in growth.lines.values() for size in growth.sizes]
    return [*growing, *(work for case in CASES for work in (case.ours, *case.against, *case.others))]


@pytest.mark.parametrize("check", quick.CHECKS, ids=lambda check: check.name)
def test_a_count_is_within_its_bound(check: quick.Check) -> None:
    assert check.count() <= check.at_most


def test_the_quick_variant_says_which_count_is_too_high(monkeypatch, capsys) -> None:
    too_high, fine = quick.Check("tasks per wish", lambda: 3, 1), quick.Check("bytes per wish", lambda: 8, 8)
    monkeypatch.setattr(quick, "CHECKS", (too_high, fine))

    assert quick.check_structure() == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tasks per wish")
    assert lines[0].endswith("TOO MANY")
    assert lines[1].endswith("ok")
    assert lines[2].startswith("2 counts, 1 of them too high")


def test_every_subject_has_the_functions_that_the_cases_ask_of_it() -> None:
    subjects = {subject.name: subject.module for subject in (*ALWAYS_THERE, *PEERS)}
    defined = {
        path.stem: {
            node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.AsyncFunctionDef)
        }
        for path in SUBJECTS.glob("*.py")
    }
    # How the subjects ask, for those that are asked in the same words.
    ways = {"llm_tool_round": "with_a_tool", "llm_parsed": "parsed"}

    missing = {
        (work.subject, work.function)
        for work in all_work()
        if work.function not in defined.get(module_of(subjects[work.subject], work.function), set()) | defined["worker"]
        and not (
            work.function in defined["asking"]
            and ways.get(work.function, "streaming") in defined[f"{subjects[work.subject]}_models"]
        )
    }

    assert not missing


def test_the_parameters_of_the_cases_are_those_of_the_functions() -> None:
    for work in all_work():
        if work.function.startswith("llm_"):
            inspect.signature(getattr(asking, work.function)).bind(None, **work.params)
            continue
        for subject, module in (("ours", "on_miniagents"), ("floor", "bare_asyncio")):
            if work.subject == subject and work.function != "import_cost":
                _, function = function_of(module, work.function)
                assert function is not None
                inspect.signature(function).bind(**work.params)


def test_cases_of_one_part_of_the_package_may_stand_in_a_file_of_their_own() -> None:
    assert module_of("on_miniagents", "journal_chain") == "on_miniagents_journal"
    assert module_of("on_miniagents", "restream") == "on_miniagents"
    assert module_of("on_mojentic", "events_fan_out") == "on_mojentic"


async def test_what_a_case_prepares_and_clears_away_is_not_measured() -> None:
    clock = 0

    async def case(work: int) -> AsyncIterator[None]:
        nonlocal clock
        try:
            clock += 100
            yield
            clock += work
            yield
        finally:
            clock += 1000

    assert await difference(lambda: clock, case, {"work": 7}) == 7
    assert clock == 1107


def test_the_names_of_the_cases_are_different() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


class Constant:
    """Stands for the process of a subject that always takes as long."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def call(self, function: str, repeats: int = 1, **params: object) -> float:
        value = self.values.pop(0) if len(self.values) > 1 else self.values[0]
        if value < 0:
            raise NotMeasuredError("it has failed")
        return value


OURS_WORK, FLOOR_WORK, PEER_WORK = (
    Work("ours", "f", units=10),
    Work("floor", "f", units=10),
    Work("0.0.24", "f", units=10),
)


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    case = Case("f", "", OURS_WORK, against=(FLOOR_WORK,), target=1.5)
    # The first value is that of the warm-up.
    processes = {"ours": Constant(1, 1, 2, 30), "floor": Constant(1, 1, 1, 10)}

    row = measure(case, processes, {}, rounds=3)

    assert row.ratio == 2
    assert row.holds is False
    assert row.values["ours"] == [0.1, 0.2, 3.0]


def test_of_several_peers_the_cheapest_is_what_ours_must_beat() -> None:
    case = Case("f", "", OURS_WORK, against=(FLOOR_WORK, PEER_WORK), target=2, sense="times faster")

    row = measure(case, {"ours": Constant(1), "floor": Constant(5), "0.0.24": Constant(3)}, {}, rounds=5)

    assert (row.compared_with, row.holds) == ("0.0.24", True)
    assert row.ratio == pytest.approx(3)


def test_what_is_not_there_or_fails_is_named_and_judges_nothing() -> None:
    case = Case("f", "", OURS_WORK, against=(FLOOR_WORK,), others=(PEER_WORK,), target=1)

    row = measure(case, {"ours": Constant(1), "floor": Constant(1, -1)}, {"0.0.24": "no network"}, rounds=3)

    assert row.holds is None
    assert row.missing == {"floor": "it has failed", "0.0.24": "no network"}
    assert cells(row)[2:6] == ("no floor", "", "<= 1 x", "not measured")


def test_a_failure_of_our_own_is_no_gap_in_the_table() -> None:
    case = Case("f", "", OURS_WORK, against=(FLOOR_WORK,), target=1)

    with pytest.raises(NotMeasuredError, match="it has failed"):
        measure(case, {"ours": Constant(-1), "floor": Constant(1)}, {}, rounds=1)


def test_a_time_on_the_wall_is_measured_once_in_each_round_and_shown_with_its_unit() -> None:
    case = Case("f", "", Work("ours", "f", clock="wall"), others=(PEER_WORK,), target=0.1, unit="wall")

    row = measure(case, {"ours": Constant(9, 0.0004, 0.0005, 0.0006), "0.0.24": Constant(0.02)}, {}, rounds=3)

    assert row.values["ours"] == [0.0004, 0.0005, 0.0006]
    assert cells(row) == ("f", "500 us", "", "", "<= 100 ms", "yes", "0.0.24 4")


def test_the_journal_and_events_have_a_table_of_their_own() -> None:
    rows = [Row(case) for case in CASES]

    parts = tables(rows, is_uvloop=False)

    assert [row.case.name for row in parts["journal and events"]] == [
        case.name for case in CASES if case.name.startswith(("journal-", "events-"))
    ]
    assert len(parts["table"]) + len(parts["journal and events"]) == len(CASES)
    assert tables(parts["table"], is_uvloop=False).keys() == {"table"}
    assert tables(rows, is_uvloop=True) == {"uvloop": rows}


def test_the_table_names_the_versions_and_a_missed_target() -> None:
    row = Row(Case("slow", "", OURS_WORK, against=(FLOOR_WORK,), target=1), {"ours": [0.002], "floor": [0.001]})
    about = {"date": "today", "python": "3", "event_loop": "loop", "system": "s", "rounds": 1, "versions": {"a": "1.0"}}

    table = markdown([row], about)

    assert "a 1.0" in table
    assert "| slow | 2e+03 us | 1e+03 us floor | 2 | <= 1 x | **no** |" in table


def test_the_page_describes_the_cases_as_they_are() -> None:
    page = (ROOT / "benchmarks" / "README.md").read_text("utf-8")

    assert descriptions(CASES) in page, "write it anew: python -m benchmarks --readme"


def test_a_table_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- begin table -->\nold\n<!-- end table -->\nbelow\n", "utf-8")

    put_between_marks(page, "table", "new\n")

    assert page.read_text("utf-8") == "above\n<!-- begin table -->\n\nnew\n\n<!-- end table -->\nbelow\n"
    with pytest.raises(ValueError, match="<!-- begin plot -->"):
        put_between_marks(page, "plot", "new")


def test_a_plot_is_an_svg_with_a_label_for_every_line() -> None:
    picture = {
        "title": "a & b",
        "axis": "size",
        "lines": {"ours": [[1, 2.0], [100, 3.0]], "peer": [[1, 20.0], [100, 40.0]]},
    }

    tree = ElementTree.fromstring(draw([picture, picture], "made today"))

    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("ours 3") == texts.count("peer 40") == texts.count("a & b") == 2


def test_the_command_measures_in_processes_of_its_own_and_writes_what_it_found(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks", "--peers", "none", "--rounds", "1", "--json", str(found)]

    done = subprocess.run(
        [*command, "--cases", "live-call", "garbage-plain", "llm-first-token"],
        cwd=ROOT,
        env={**os.environ, "MINIAGENTS_BENCHMARKS_CACHE": str(tmp_path / "cache")},
        check=True,
        capture_output=True,
        text=True,
        timeout=25,
    )

    assert "| live-call-tasks | 1 |" in done.stdout
    content = json.loads(found.read_text("utf-8"))
    assert {case["case"]: case["holds"] for case in content["cases"]} == {
        "live-call-tasks": True,
        "live-call-bytes": True,
        "garbage-plain": True,
        "llm-first-token": None,
    }
    first_token = content["cases"][-1]
    assert first_token["medians"].keys() == {"ours", "openai objects", "openai raw lines"}
    # The server waits so long before the first one.
    assert all(value >= 0.01 for value in first_token["medians"].values())
    assert content["versions"].keys() == {"ours", "openai", "anthropic"}
