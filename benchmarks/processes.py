"""The processes that do the measured work; see `subjects/worker.py` for their other end."""

import importlib.util
import json
import subprocess
import threading
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.environments import OURS, Subject, clean_environment, python_for

TIMEOUT_S = 300.0
SUBJECTS = Path(__file__).with_name("subjects")


class NotMeasuredError(Exception):
    """A subject cannot do what was asked of it; the text says why."""


class SubjectProcess:
    """A subject in a process of its own, which is kept for all the cases."""

    def __init__(self, subject: Subject, log: Path, *, uvloop: bool, variables: Mapping[str, str]) -> None:
        """Start the process, installing what it needs; `variables` are added to its environment.

        Raises:
            NotMeasuredError: it could not be installed.
        """
        self.subject = subject
        try:
            python = python_for(subject, with_uvloop=uvloop)
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or "").strip().splitlines() or [f"exit code {error.returncode}"]
            raise NotMeasuredError(f"could not be installed: {lines[-1]}") from error
        environment = clean_environment(**variables)
        if not subject.requirement:
            environment["PYTHONPATH"] = str(folder_of_miniagents())
        self._log: IO[str] = log.open("a", encoding="utf-8")
        command = [str(python), str(SUBJECTS / "worker.py"), subject.module, *(["uvloop"] if uvloop else [])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            cwd=log.parent,  # far from the repository, whose package must not be taken for that of a peer
        )

    def call(self, function: str, repeats: int = 1, clock: str = "cpu", **params: Any) -> float:
        """Run a function of the subject and give its value.

        Raises:
            NotMeasuredError: the subject has no such case, or it failed, or it took longer than `TIMEOUT_S`.
        """
        return cast("float", self._ask(function=function, params=params, repeats=repeats, clock=clock))

    def version(self) -> str:
        """Give the version of the package that is measured."""
        return cast("str", self._ask(function="version", params={"package": self.subject.package}, repeats=1))

    def _ask(self, **request: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(TIMEOUT_S, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise NotMeasuredError(f"its process ended or took over {TIMEOUT_S:.0f} s; see {self._log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise NotMeasuredError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()


def checked_out_version() -> str:
    """Give the version of the package that is measured as ours, with the commit where git knows it."""
    folder = folder_of_miniagents()
    project = folder / "pyproject.toml"
    if not project.exists():
        return version(OURS.package)
    number = tomllib.loads(project.read_text("utf-8"))["project"]["version"]
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return number
    return f"{number} ({commit})"


def folder_of_miniagents() -> Path:
    """Give the folder in which the package is that `import miniagents` finds here.

    Raises:
        ModuleNotFoundError: there is none.
    """
    spec = importlib.util.find_spec(OURS.package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("There is no `miniagents` to measure: run this in a clone of its repository.")
    return Path(spec.origin).parents[1]
