"""Ctrl-C and SIGTERM at any moment between entering and leaving `run()`: all is cleaned up, and nothing else is said."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.endurance.tools import FACTOR, times

PROGRAM = Path(__file__).parent / "interrupted_program.py"
ROOT = PROGRAM.parents[2]
ROUNDS = times(200)
EXIT_CODES = {signal.SIGINT: {-signal.SIGINT, 130}, signal.SIGTERM: {143}}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals and `fork`")


@dataclass(frozen=True)
class Round:
    """How one run of the program was interrupted, and how it ended."""

    number: int
    signal: signal.Signals
    exit_code: int
    events: list[str]
    output: str

    def notes(self, kind: str) -> Counter[str]:
        """The notes of one kind, each without its kind."""
        return Counter(rest for event in self.events for first, _, rest in [event.partition(" ")] if first == kind)

    @property
    def has_begun(self) -> bool:
        return "main begins" in self.events

    @property
    def has_ended(self) -> bool:
        return "main ends" in self.events

    def what_is_wrong(self) -> str | None:
        """Say what is not as it should be, if anything."""
        left_open = self.notes("begin") - self.notes("end")
        if left_open:
            return f"these began and never ended: {left_open}"
        if self.exit_code == 0 and self.has_ended:
            # It came too late. (Raised in a callback of the garbage collector, Python's own interrupt is only shown.)
            return self.output if "_runner.py" in self.output else None
        # Before the loop runs, and after it has ended, SIGTERM does what it does to every Python program.
        is_at_the_edge = not self.has_begun or self.has_ended
        allowed = EXIT_CODES[self.signal] | ({-signal.SIGTERM} if is_at_the_edge else set())
        if self.exit_code not in allowed:
            return f"the exit code is {self.exit_code}"
        if self.signal == signal.SIGTERM:
            return self.output or None
        return None if self._tells_of_a_keyboard_interrupt_alone(is_at_the_edge) else self.output

    def _tells_of_a_keyboard_interrupt_alone(self, is_at_the_edge: bool) -> bool:
        lines = self.output.splitlines()
        if not self.has_begun and "_handle" not in self.output and "KeyboardInterrupt" in lines:
            # It came before `run()` had put its handlers in place, perhaps before `run()` itself: the interrupt is
            # Python's own, which may add that `main()` was never awaited.
            return True
        if "never awaited" in self.output or not lines or lines[0] != "Traceback (most recent call last):":
            return False
        # Python's own interrupt, at the edge, may come while another exception is being handled.
        return lines[-1] == "KeyboardInterrupt" and (is_at_the_edge or self.output.count("Traceback") == 1)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> list[Round]:
    folder = tmp_path_factory.mktemp("interrupted")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), str(folder), str(ROUNDS), "any seed"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300 * FACTOR,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return [
        Round(
            number,
            signal.Signals(sent),
            exit_code,
            (folder / f"{number}.events").read_text().splitlines(),
            (folder / f"{number}.output").read_text(),
        )
        for number, sent, exit_code in map(json.loads, (folder / "rounds").read_text().splitlines())
    ]


def test_a_signal_at_any_moment_runs_every_finally_block_and_gives_the_right_exit_code_and_no_traceback_of_ours(
    rounds: list[Round],
) -> None:
    wrong = [f"{found}\n{one}" for one in rounds if (found := one.what_is_wrong())]

    assert len(rounds) == ROUNDS
    assert not wrong, f"{len(wrong)} of {ROUNDS} rounds:\n" + "\n\n".join(wrong[:5])


@pytest.mark.parametrize("sent", EXIT_CODES, ids=lambda sent: sent.name)
def test_the_signals_came_while_the_program_ran(rounds: list[Round], sent: signal.Signals) -> None:
    hit = [one for one in rounds if one.signal == sent and one.exit_code in EXIT_CODES[sent]]
    began = [len(one.notes("begin")) for one in hit]

    assert len(hit) >= ROUNDS // 4
    # Some found little that had begun, some much.
    assert min(began) < 10 < 40 < max(began)
