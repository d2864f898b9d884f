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
    """Give one line a waiting task, and below it, indented, those that its wait hangs on."""
    writers = {task: list(source.writers() or ()) for task, (_, source) in waits.items()}
    waited_for = {writer for task in waits for writer in writers[task] if writer is not task}
    roots = [task for task in waits if task not in waited_for]
    lines: list[str] = []
    shown: set[AnyTask] = set()
    # Those in a circle hang on each other, so that none of them is a root.
    for root in [*roots, *waits]:
        pending = [(root, 0)] if root not in shown else []
        while pending:
            task, depth = pending.pop()
            line = _line(task, waits) if task not in shown else f"{describe_task(task)} (see above)"
            lines.append("  " * depth + line)
            if task not in shown:
                pending.extend((writer, depth + 1) for writer in reversed(writers.get(task, [])))
            shown.add(task)
    return "\n".join(lines)


def _line(task: AnyTask, waits: Waits) -> str:
    if task in waits:
        return f"{describe_task(task)} waits for {waits[task][1].describe()}"
    outside = outside_waits.get(task)
    return f"{describe_task(task)} {f'waits for {outside}' if outside else 'is at work, or waits outside'}"
