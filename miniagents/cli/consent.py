"""What the user answered when asked whether a model server found on this machine may be used; kept between runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

from miniagents.errors import MiniAgentsError

Answer = Literal["yes", "no"]

_ANSWERS: Final[Mapping[object, Answer]] = {"yes": "yes", "no": "no"}


class ConsentFileError(MiniAgentsError):
    """The file of remembered answers cannot be read or written; it is left as it is."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(
            f"`{file}`, which remembers the model servers that may be used, {problem}. Mend or delete it, or name the "
            "server yourself with `--model`."
        )


def consent_file(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/miniagents/local_servers.json`, by default below `~/.local/state`; it need not exist."""
    configured = environ.get("XDG_STATE_HOME", "")
    # The XDG specification has relative paths ignored.
    folder = Path(configured) if configured and Path(configured).is_absolute() else Path.home() / ".local" / "state"
    return folder / "miniagents" / "local_servers.json"


def remembered_answer(file: Path, base_url: str) -> Answer | None:
    """What was answered for the server at `base_url`; `None` if nobody was asked yet.

    Raises:
        ConsentFileError: the file is there but cannot be read.
    """
    return _ANSWERS.get(_read(file).get(base_url))


def remember_answer(file: Path, base_url: str, answer: Answer) -> None:
    """Keep `answer` for the server at `base_url`, beside the answers for others.

    Raises:
        ConsentFileError: the file cannot be read or written.
    """
    answers = {**_read(file), base_url: answer}
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")
        # Replaced in one step: a run that is interrupted here leaves the old answers whole.
        partial.replace(file)
    except OSError as error:
        raise ConsentFileError(file, f"cannot be written ({error.strerror})") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        answers: Any = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConsentFileError(file, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConsentFileError(file, f"is no JSON ({error})") from error
    if not isinstance(answers, dict):
        raise ConsentFileError(file, f"holds a {type(answers).__name__} where an object of answers should be")
    return cast("dict[str, Any]", answers)
