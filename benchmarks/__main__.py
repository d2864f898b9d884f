"""The command: see `python -m benchmarks --help`."""

import argparse
import contextlib
import os
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from benchmarks.cases import CASES
from benchmarks.cases_events import EVENT_CASES
from benchmarks.cases_journal import JOURNAL_CASES
from benchmarks.environments import ALWAYS_THERE, OURS, PEERS, cache_folder
from benchmarks.growth import GROWTH_ROUNDS, drawable, measure_growth
from benchmarks.measuring import Row, measure_all
from benchmarks.plot import draw
from benchmarks.processes import NotMeasuredError, SubjectProcess, checked_out_version
from benchmarks.report import as_json, descriptions, environment, line, markdown, put_between_marks, write_json

README = Path(__file__).with_name("README.md")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument("--quick", action="store_true", help="count tasks, objects and bytes only, without any timing")
    parser.add_argument(
        "--cases", nargs="+", metavar="NAME", help="only these (or those that begin so); all by default"
    )
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these, or `none`; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (default: 5)")
    parser.add_argument("--uvloop", action="store_true", help="run everything on uvloop (pip install uvloop)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured there")
    parser.add_argument("--readme", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="measure and draw cost against growth, too")
    parser.add_argument("--profile", action="store_true", help="show where our time goes in these cases, and end")
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    return parser.parse_args()


def chosen_cases(names: list[str] | None) -> list[Case]:
    """Give the cases that are asked for."""
    if not names:
        return list(CASES)
    for name in names:
        if not any(case.name.startswith(name) for case in CASES):
            raise SystemExit(f"There is no case {name!r}. There are: {', '.join(case.name for case in CASES)}.")
    return [case for case in CASES if case.name.startswith(tuple(names))]


@contextlib.contextmanager
def model_server_for(cases: list[Case]) -> Generator[dict[str, str]]:
    """Run the server that is asked, if one is; gives the environment variables by which it is found."""
    if not any(case.ours.function.startswith("llm_") for case in cases):
        yield {}
        return
    # Imports the package in this very process, which the others do not need.
    from benchmarks.model_server import model_server

    with model_server() as variables:
        yield variables


def start(
    stack: contextlib.ExitStack, chosen: list[str] | None, *, uvloop: bool, variables: Mapping[str, str]
) -> tuple[dict[str, SubjectProcess], dict[str, str]]:
    """Start a process for each subject; give also why some are absent."""
    known = [peer.name for peer in PEERS]
    for name in chosen or ():
        if name not in (*known, "none"):
            raise SystemExit(f"There is no peer {name!r}. There are: {', '.join(known)}; or say `--peers none`.")
    log = cache_folder() / "workers.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    processes: dict[str, SubjectProcess] = {}
    absent: dict[str, str] = {}
    for subject in (*ALWAYS_THERE, *PEERS):
        if subject in PEERS and chosen is not None and subject.name not in chosen:
            continue
        try:
            process = SubjectProcess(subject, log, uvloop=uvloop, variables=variables)
        except NotMeasuredError as error:
            absent[subject.name] = str(error)
            print(f"{subject.name}: {error}", file=sys.stderr)
        else:
            stack.callback(process.close)
            processes[subject.name] = process
    return processes, absent


def versions_of(processes: dict[str, SubjectProcess]) -> dict[str, str]:
    """Give the versions of the packages."""
    versions: dict[str, str] = {}
    for name, process in processes.items():
        if process.subject.package:
            versions[name] = checked_out_version() if process.subject == OURS else process.version()
    return versions


def publish(options: argparse.Namespace, rows: list[Row], about: dict[str, Any], content: dict[str, Any]) -> None:
    """Show the table, and write what is to be written."""
    print("\n" + markdown(rows, about))
    if options.json:
        write_json(options.json, content)
    if options.readme:
        for name, part in tables(rows, is_uvloop=options.uvloop).items():
            put_between_marks(README, name, markdown(part, about))
        put_between_marks(README, "cases", descriptions(CASES))


def tables(rows: list[Row], *, is_uvloop: bool) -> dict[str, list[Row]]:
    """Give the rows of each table of the page, by the name of its place; what was not measured stays as it is."""
    if is_uvloop:
        return {"uvloop": rows}
    apart = {case.name for case in (*JOURNAL_CASES, *EVENT_CASES)}
    parts = {
        "table": [row for row in rows if row.case.name not in apart],
        "journal and events": [row for row in rows if row.case.name in apart],
    }
    return {name: part for name, part in parts.items() if part}


def main() -> int:
    """Run the command."""
    options = arguments()
    if options.list:
        print("\n".join(f"{case.name:24} {case.target_text:16} {case.what}" for case in CASES))
        return 0
    if options.quick:
        # The rest of the command needs nothing of it, and it imports the package in this very process.
        from benchmarks.quick import check_structure

        return check_structure()
    cases = chosen_cases(options.cases)
    if options.uvloop:
        # An import runs on no loop.
        cases = [case for case in cases if case.ours.function != "import_cost"]
    if options.profile:
        from benchmarks.profiling import profile

        with model_server_for(cases) as variables:
            os.environ.update(variables)
            timed = (case for case in cases if case.unit in ("us", "wall") and case.ours.function != "import_cost")
            print("\n".join(profile(case) for case in timed))
        return 0

    def tell(row: Row) -> None:
        print(line(row), flush=True)

    with contextlib.ExitStack() as stack:
        variables = stack.enter_context(model_server_for(cases))
        processes, absent = start(stack, options.peers, uvloop=options.uvloop, variables=variables)
        rows = measure_all(cases, processes, absent, options.rounds, tell)
        about = environment(versions_of(processes), options.rounds, "uvloop" if options.uvloop else "asyncio's loop")
        content = as_json(rows, about)
        publish(options, rows, about, content)
        if options.plot:
            content["growth"] = pictures = drawable(measure_growth(processes, GROWTH_ROUNDS))
            caption = f"CPU time, medians of {GROWTH_ROUNDS} rounds; {about['date']}, Python {about['python']}"
            options.plot.write_text(draw(pictures, f"{caption}, {about['event_loop']}"), encoding="utf-8")
            if options.json:
                write_json(options.json, content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
