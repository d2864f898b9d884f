"""Who waits for whom, in words."""

from miniagents.promising._current import outside_waits
from miniagents.promising._waiting import AnyTask, Source, Waiter
from miniagents.promising._shutdown import name_of_task

task_names: "list[TaskNamer]" = []


class TaskNamer:
    """Names tasks that it knows; upper layers put theirs into `task_names`."""

    def name(self, task: AnyTask) -> str | None:
        """Give the name of `task`, or `None` if it is not known here."""
        raise NotImplementedError


def describe_task(task: AnyTask, waits: "dict[AnyTask, tuple[Waiter | None, Source]]") -> str:
    """Name a task in the user's words."""
    for namer in task_names:
        name = namer.name(task)
        if name is not None:
            return name
    return name_of_task(task)


def stall_is_explained(waits: "dict[AnyTask, tuple[Waiter | None, Source]]") -> bool:
    """Whether somebody has said that the program now waits for something outside, such as a person."""
    return any(not task.done() for task in outside_waits)


def tree_of_waits(waits: "dict[AnyTask, tuple[Waiter | None, Source]]") -> str:
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
    waits: "dict[AnyTask, tuple[Waiter | None, Source]]",
    writers: dict[AnyTask, list[AnyTask]],
    lines: list[str],
    shown: set[AnyTask],
) -> None:
    pending = [(root, depth)]
    while pending:
        task, level = pending.pop()
        indent = "  " * level
        name = describe_task(task, waits)
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
