"""Telling a wait that can never end from one that is merely long.

A look at a loop takes in all its tasks at one moment. A task that waits for one of our sources can go on only if a
writer of that source can; everything else (a socket, a timer, a plain event) is taken to go on by itself. Whatever
cannot be reached from something that can go on is stuck for ever, which is a proof and not a guess: it is knot
detection in a wait-for graph (Holt, "Some Deadlock Properties of Computer Systems", 1972).

The look is armed when a wait begins and none is due; it is no periodic timer. Where a stream is written from outside,
its writing end may be in anybody's hands: then the garbage collector is asked who holds it, and if anything but the
stuck tasks themselves does, nothing is proved and nothing is said.
"""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from types import CellType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from miniagents.promising import _waiting
from miniagents.promising._waiting import AnyTask, TaskEnd, Waiter, armed_loops, source_of
from miniagents.promising._who_waits import Waits, describe_task, known_contexts, stall_is_explained, tree_of_waits
from miniagents.promising.errors import DeadlockError

if TYPE_CHECKING:
    from miniagents.promising.context import PromisingContext

LOOK_AFTER_S = 0.25
MAX_LOOK_SHARE = 0.02
"""The part of the loop's time that looking may take where tasks are many."""


class LoopWatch:
    """Looks at one event loop when there is reason to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.contexts: weakref.WeakSet[PromisingContext] = weakref.WeakSet()
        self._look_after_s = LOOK_AFTER_S
        # Since when each waiter that was there at the last look has been waiting, in the loop's time.
        # Weakly: a waiter leads to its stream and to all that is in it.
        self._since: weakref.WeakKeyDictionary[Waiter, float] = weakref.WeakKeyDictionary()
        self._watched: weakref.WeakSet[AnyTask] = weakref.WeakSet()
        # How often it was looked who holds the writing ends that a waiter depends upon.
        self._doubted: weakref.WeakKeyDictionary[Waiter, int] = weakref.WeakKeyDictionary()
        self._look_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def retire(self) -> None:
        """Look no more."""
        armed_loops.discard(self.loop)
        for timer in (self._look_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()

    def arm(self) -> None:
        """See to it that somebody looks soon."""
        armed_loops.add(self.loop)
        # In an empty context, as a timer would keep alive whatever the variables of this task lead to.
        self._look_timer = self.loop.call_later(self._look_after_s, self._look, context=contextvars.Context())

    def _look(self) -> None:
        armed_loops.discard(self.loop)
        began_at = monotonic()
        tasks = asyncio.all_tasks(self.loop)
        waits = waits_of(tasks)
        for group in stuck_groups(waits, lambda group: self._is_worth_proving(group, waits)):
            self._break_up(group, waits)
        if waits:
            self._watch_the_free(task for task in tasks if task not in waits)
        now = self.loop.time()
        before = self._since
        waiters = [waiter for waiter, _ in waits.values() if waiter is not None]
        self._since = weakref.WeakKeyDictionary(
            {waiter: before.get(waiter, now - self._look_after_s) for waiter in waiters}
        )
        self._arm_stall_report()
        # Twice the time that a look took, fifty times over, is still no more than the share that it may take.
        self._look_after_s = min(0.9, max(LOOK_AFTER_S, (monotonic() - began_at) / MAX_LOOK_SHARE))

    def _is_worth_proving(self, group: list[AnyTask], waits: Waits) -> bool:
        """Whether to look who holds the writing ends in this group: ever more seldom where it proved nothing."""
        waiters = [waiter for task in group if (waiter := waits[task][0]) is not None]
        times = min((self._doubted.get(waiter, 0) for waiter in waiters), default=0)
        for waiter in waiters:
            self._doubted[waiter] = times + 1
        return not times & (times - 1)

    def _watch_the_free(self, tasks: Iterable[AnyTask]) -> None:
        """Look again when a task ends that could have ended a wait: it may have been the last one that could."""
        for task in tasks:
            if task not in self._watched:
                self._watched.add(task)
                task.add_done_callback(self._free_task_ended)

    def _free_task_ended(self, _: AnyTask) -> None:
        if self.loop not in armed_loops and not self.loop.is_closed():
            self.arm()

    def _break_up(self, group: list[AnyTask], waits: Waits) -> None:
        """Tell one of the tasks in `group`; as its own work fails with the error, the others hear of it too."""
        tellable = [task for task in group if (waiter := waits[task][0]) and not waiter.done()]
        tellable = [task for task in tellable if waits[task][1].may_raise_deadlock]
        if not tellable or (len(group) > 1 and self._has_timeout(group)):
            return
        # Whoever holds what should be closed has made the mistake; else whoever has been there longest is told.
        told = min(tellable, key=lambda task: (not self._holds_a_writing_end(task, group, waits), _age_order(task)))
        waiter, source = waits[told]
        if len(group) == 1 and told not in (source.writers() or ()):
            text = (
                f"{describe_task(told)} waits for {source.describe()}, which nobody is left to write: its writer has "
                f"ended without closing it. {source.advice()}"
            )
        elif len(group) == 1:
            text = (
                f"{describe_task(told)} waits, for ever, for {source.describe()}, which only it itself could bring to "
                f"its end. {source.advice()}"
            )
        else:
            at = group.index(told)
            circle = [describe_task(task) for task in [*group[at:], *group[:at], told]]
            advice = next((waits[task][1] for task in group if waits[task][1].sole_holder_is_needed()), source).advice()
            text = f"These wait for each other in a circle, for ever: {' -> '.join(circle)}. {advice}"
        if waiter is not None:
            waiter.set_exception(DeadlockError(text[0].upper() + text[1:]))

    def _has_timeout(self, group: list[AnyTask]) -> bool:
        """Whether an `asyncio.timeout` of one of these tasks is going to break the circle."""
        for handle in getattr(self.loop, "_scheduled", ()):
            timeout = getattr(getattr(handle, "_callback", None), "__self__", None)
            if isinstance(timeout, asyncio.Timeout) and getattr(timeout, "_task", None) in group:
                return True
        return False

    def _holds_a_writing_end(self, task: AnyTask, group: list[AnyTask], waits: Waits) -> bool:
        return any(
            waits[other][1].sole_holder_is_needed() is not None and task in (waits[other][1].writers() or ())
            for other in group
        )

    # -- stalls ------------------------------------------------------------------------------------------------------

    def _arm_stall_report(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        stall_s = min((context.stall_report_s for context in self.contexts if context.is_active), default=None)
        if self._since and stall_s is not None:
            due_at = min(self._since.values()) + stall_s
            youngest_at = max(self._since.values()) + stall_s
            waiters = weakref.WeakSet(self._since)
            self._stall_timer = self.loop.call_at(
                max(due_at, youngest_at), self._report_stall, waiters, context=contextvars.Context()
            )

    def _report_stall(self, waiters: "weakref.WeakSet[Waiter]") -> None:
        self._stall_timer = None
        waits = waits_of(asyncio.all_tasks(self.loop))
        if {waiter for waiter, _ in waits.values() if waiter is not None} != set(waiters) or stall_is_explained():
            return
        for context in self.contexts:
            if context.is_active:
                text = tree_of_waits(waits)
                context.logger.warning("No progress for %g s. Who waits for whom:\n%s", context.stall_report_s, text)
                return


_watches: dict[asyncio.AbstractEventLoop, LoopWatch] = {}


def _watch(loop: asyncio.AbstractEventLoop) -> LoopWatch:
    watch = _watches.get(loop)
    if watch is None:
        for other in [other for other in _watches if other.is_closed()]:
            del _watches[other]
            armed_loops.discard(other)
        watch = _watches[loop] = LoopWatch(loop)
    return watch


def _arm(loop: asyncio.AbstractEventLoop) -> None:
    _watch(loop).arm()


_waiting.arm_hooks.append(_arm)


def watch_context(context: "PromisingContext") -> None:
    """Report what stalls in the context's loop to this context."""
    if context.loop is not None:
        _watch(context.loop).contexts.add(context)
        known_contexts.add(context)


def forget_context(context: "PromisingContext") -> None:
    """Stop reporting to `context`, which has ended."""
    watch = None if context.loop is None else _watches.get(context.loop)
    if watch is not None:
        watch.contexts.discard(context)
        if not watch.contexts:
            # Made anew when it is needed; until then it must keep nothing alive.
            watch.retire()
            del _watches[watch.loop]
    known_contexts.discard(context)


def who_waits(loop: asyncio.AbstractEventLoop | None) -> str:
    """Give the tree of who waits for whom on `loop`."""
    return tree_of_waits(waits_of(asyncio.all_tasks(loop))) if loop is not None and not loop.is_closed() else ""


def waits_of(tasks: Iterable[AnyTask]) -> Waits:
    """Find out what each task waits for, as far as that is one of our sources or another task."""
    waits: Waits = {}
    for task in tasks:
        # Not public, like `_children` below; without them nothing is found, and nothing is wrongly said.
        future: Any = getattr(task, "_fut_waiter", None)
        if future is None or future.done():
            continue
        source = source_of(future)
        if source is not None:
            waits[task] = (future, source)
        elif isinstance(future, asyncio.Task):
            waits[task] = (None, TaskEnd([future]))
        else:
            children = getattr(future, "_children", None)
            if children and all(isinstance(child, asyncio.Task) for child in children):
                waits[task] = (None, TaskEnd([child for child in children if not child.done()]))
    return waits


def stuck_groups(waits: Waits, is_worth_proving: Callable[[list[AnyTask]], bool]) -> Iterator[list[AnyTask]]:
    """Give the groups of tasks that wait in a circle, or alone for a source with no writer left.

    `is_worth_proving` is asked for a group where the proof means looking through all objects of the process.
    """
    stuck = _stuck(waits)
    if not stuck:
        return
    edges = {task: [writer for writer in waits[task][1].writers() or () if writer in stuck] for task in stuck}
    doubtful: list[list[AnyTask]] = []
    for group in _strongly_connected(edges):
        is_circle = len(group) > 1 or group[0] in edges[group[0]]
        if not is_circle and edges[group[0]]:
            continue
        # In the order of who waits for whom.
        path = _as_path(group, edges)
        if all(waits[task][1].sole_holder_is_needed() is None for task in path):
            yield path
        elif is_worth_proving(path):
            doubtful.append(path)
    yield from _proven(doubtful, waits, stuck)


def _as_path(group: list[AnyTask], edges: dict[AnyTask, list[AnyTask]]) -> list[AnyTask]:
    members = set(group)
    path = [group[0]]
    while following := [task for task in edges[path[-1]] if task in members and task not in path]:
        path.append(following[0])
    return path if len(path) == len(group) else group


def _age_order(task: AnyTask) -> tuple[int, str]:
    """Order tasks by age: asyncio numbers them in their default names."""
    name = task.get_name()
    number = name.rpartition("-")[2]
    return (int(number) if number.isdigit() else 0), name


def _stuck(waits: Waits) -> set[AnyTask]:
    """Give the tasks that nothing which goes on by itself can ever wake."""
    waiting_for: dict[AnyTask, list[AnyTask]] = {}
    free: list[AnyTask] = []
    for task, (_, source) in waits.items():
        writers = source.writers()
        if writers is None or any(writer not in waits and not writer.done() for writer in writers):
            free.append(task)
            continue
        for writer in writers:
            waiting_for.setdefault(writer, []).append(task)
    stuck = set(waits) - set(free)
    while free:
        for task in waiting_for.get(free.pop(), ()):
            if task in stuck:
                stuck.discard(task)
                free.append(task)
    return stuck


_GO_BETWEENS = (MethodType, FunctionType, CellType, tuple)
"""What may hold a writing end on behalf of somebody else: bound methods, and the closures of functions."""
MAX_GO_BETWEENS = 8
"""How many of them one behind another are followed."""
FROZEN_BY_PYTHON = gc.get_freeze_count()
"""So many objects some versions of Python keep from the collector's sight themselves, and they hold nothing of ours."""


def _proven(groups: list[list[AnyTask]], waits: Waits, stuck: set[AnyTask]) -> Iterator[list[AnyTask]]:
    """Give those groups whose writing ends are in the hands of stuck tasks alone."""
    if not groups:
        return
    handles = [handle for group in groups for task in group if (handle := waits[task][1].sole_holder_is_needed())]
    elsewhere = _held_elsewhere(handles, {id(part) for task in stuck for part in _parts(task)})
    for group in groups:
        if not any(id(waits[task][1].sole_holder_is_needed()) in elsewhere for task in group):
            yield group


def _held_elsewhere(handles: list[Any], own: set[int]) -> set[int]:
    """Give the ids of those `handles` that something refers to which is not in `own`.

    All are looked up together: each look goes through every object of the process.
    """
    if gc.get_freeze_count() > FROZEN_BY_PYTHON:
        # What the program has kept from its sight (`gc.freeze()`) may refer to any of them.
        return {id(handle) for handle in handles}
    elsewhere: set[int] = set()
    # A tuple, which is handed on as it is: another one, made for the call, would be found among the holders.
    objects, leads = tuple(handles), {id(handle): {id(handle)} for handle in handles}
    seen: set[int] = set()
    for _ in range(MAX_GO_BETWEENS):
        if not objects:
            break
        next_objects: list[Any] = []
        next_leads: dict[int, set[int]] = {}
        for holder in gc.get_referrers(*objects):
            number = id(holder)
            # The lists in here, and the frames that run now, are no holders.
            inside = (id(objects), id(handles), id(next_objects))
            if number in own or number in seen or number in inside or _is_this_code(holder):
                continue
            seen.add(number)
            held = {handle for part in gc.get_referents(holder) for handle in leads.get(id(part), ())}
            if isinstance(holder, _GO_BETWEENS):
                next_objects.append(holder)
                next_leads[number] = held
            else:
                elsewhere |= held
        objects, leads = tuple(next_objects), next_leads
    # Whoever holds it by way of so many others is taken to be somebody else.
    return elsewhere.union(*leads.values())


def _parts(task: AnyTask) -> Iterator[object]:
    """Give the coroutines, generators and frames that a suspended task consists of."""
    part: Any = task.get_coro()
    while part is not None:
        yield part
        frame = getattr(part, "cr_frame", None) or getattr(part, "gi_frame", None) or getattr(part, "ag_frame", None)
        if frame is not None:
            yield frame
        if type(part).__name__ == "async_generator_asend":
            # One step of an async generator, which does not say of which one.
            part = next((held for held in gc.get_referents(part) if hasattr(held, "ag_await")), None)
            continue
        part = getattr(part, "cr_await", None) or getattr(part, "gi_yieldfrom", None) or getattr(part, "ag_await", None)


def _is_this_code(holder: object) -> bool:
    code = getattr(holder, "f_code", None) or getattr(holder, "gi_code", None)
    return code is not None and code.co_filename == __file__


def _strongly_connected(edges: dict[AnyTask, list[AnyTask]]) -> Iterator[list[AnyTask]]:
    """Give the strongly connected components (Tarjan 1972), without recursion."""
    index: dict[AnyTask, int] = {}
    low: dict[AnyTask, int] = {}
    path: list[AnyTask] = []
    on_path: set[AnyTask] = set()
    for root, first_successors in edges.items():
        if root in index:
            continue
        work = [(root, iter(first_successors))]
        index[root] = low[root] = len(index)
        path.append(root)
        on_path.add(root)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    path.append(successor)
                    on_path.add(successor)
                    work.append((successor, iter(edges[successor])))
                    break
                if successor in on_path:
                    low[node] = min(low[node], index[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component: list[AnyTask] = []
                    while not component or component[-1] is not node:
                        component.append(path.pop())
                        on_path.discard(component[-1])
                    yield component
