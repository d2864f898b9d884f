"""Who waits for whom, in words."""

import weakref
from typing import Protocol

from miniagents.promising._background import BackgroundTasks
from miniagents.promising._current import outside_waits
from miniagents.promising._shutdown import name_of_task
from miniagents.promising._waiting import AnyTask, Source, Waiter

Waits = dict[AnyTask, tuple[Waiter | None, Source]]
"""What each waiting task waits for; a task that is not in here may go on by itself."""


known_contexts: "weakref.WeakSet[NamingContext]" = weakref.WeakSet()
"""The contexts that know what their tasks work at."""


class NamingContext(Protocol):
    """What can name tasks: a `PromisingContext`."""

    @property
    def background(self) -> BackgroundTasks:
        """The tasks that it knows."""
        ...


def describe_task(task: AnyTask) -> str:
    """Name a task in the user's words."""
    for context in known_contexts:
        producer = context.background.tasks.get(task)
        if producer is not None:
            return producer.describe()
    return f"the task `{name_of_task(task)}`"


def stall_is_explained() -> bool:
    """Whether somebody has said that the program now waits for something outside, such as a person."""
    return any(not task.done() for task in outside_waits)


def tree_of_waits(waits: Waits) -> str:
    """Give one line a waiting task, below it what its wait hangs on."""
    writers = {task: list(source.writers() or ()) for task, (_, source) in waits.items()}
    waited_for = {writer for task in waits for writer in writers[task] if writer is not task}
    lines: list[str] = []
    shown: set[AnyTask] = set()
    for root in [task for task in waits if task not in waited_for] + list(waits):
        if root not in shown:
            _add_lines(root, 0, waits, writers, lines, shown)
    return "\n".join(lines)


def _add_lines(
    root: AnyTask,
    depth: int,
    waits: Waits,
    writers: dict[AnyTask, list[AnyTask]],
    lines: list[str],
    shown: set[AnyTask],
) -> None:
    pending = [(root, depth)]
    while pending:
        task, level = pending.pop()
        indent = "  " * level
        name = describe_task(task)
        if task in shown:
            lines.append(f"{indent}{name} (see above)")
            continue
        shown.add(task)
        if task in waits:
            lines.append(f"{indent}{name} waits for {waits[task][1].describe()}")
            pending.extend((writer, level + 1) for writer in reversed(writers[task]))
        else:
            outside = outside_waits.get(task)
            lines.append(f"{indent}{name} {f'waits for {outside}' if outside else 'is at work, or waits outside'}")
