"""A process that runs the functions of one subject on demand and tells what they cost.

    python worker.py on_miniagents [uvloop]

Each line of stdin is a request, `{"function": ..., "params": {...}, "repeats": 3, "clock": "cpu"}`; each line of stdout
an answer, `{"value": ...}` or `{"error": ...}`. The value is the time of one run, in seconds (of the CPU, or with
"wall" on the clock on the wall), unless the function returned a number of its own (bytes, or seconds of a part of what
it did). A function with a `yield` prepares what it needs before it: what stands behind, up to a second one, is
measured.
"""

import asyncio
import functools
import gc
import importlib
import inspect
import json
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import aclosing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
CPU_TIME_OF_PROCESS = "\nimport time; print(time.process_time())"


async def import_cost(statement: str) -> float:
    """Give the CPU seconds of a new process of this interpreter that does nothing else, its start included."""
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here meanwhile, and it must not
        [sys.executable, "-c", statement + CPU_TIME_OF_PROCESS], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def function_of(subject_name: str, name: str) -> tuple[Any, Callable[..., Any] | None]:
    """Give the module that knows how to do it, and the function; that is None if the subject has no such case."""
    asking = _module("asking")
    if hasattr(asking, name):
        module = _module(f"{subject_name}_models")
        return module, functools.partial(getattr(asking, name), module)
    if name == "import_cost":
        return None, import_cost
    module = _module(module_of(subject_name, name))
    return module, getattr(module, name, None)


def module_of(subject_name: str, function_name: str) -> str:
    """Give the name of the file: `journal_chain` of `on_x` stands in `on_x_journal`, if there is such a file."""
    own = f"{subject_name}_{function_name.partition('_')[0]}"
    return own if Path(__file__).with_name(f"{own}.py").exists() else subject_name


def _module(name: str) -> Any:
    # This file is a script, but a module of a package where our own cases are looked at.
    return importlib.import_module(f"{__package__}.{name}" if __package__ else name)


async def difference(read: Callable[[], float], function: Callable[..., Any], params: dict[str, Any]) -> float:
    """Give by how much `read()` grows while the function does what is measured, or the function's own number."""
    if inspect.isasyncgenfunction(function):
        async with aclosing(function(**params)) as steps:
            await anext(steps)
            gc.collect()
            before = read()
            await anext(steps, None)
            return read() - before
    before = read()
    value = await function(**params)
    return read() - before if value is None else value


def run(
    subject: Any,
    function: Callable[..., Any],
    params: dict[str, Any],
    read: Callable[[], float],
    loop_factory: Callable[[], Any],
) -> float:
    """Run one function once, in an event loop of its own, and give its value."""
    gc.collect()
    wrap = getattr(subject, "inside_context", lambda coroutine: coroutine)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(wrap(difference(read, function, params)))


def answer(subject_name: str, request: dict[str, Any], loop_factory: Callable[[], Any]) -> dict[str, Any]:
    """Do what one request asks for."""
    if request["function"] == "version":
        try:
            return {"value": version(request["params"]["package"])}
        except PackageNotFoundError:
            return {"error": "not installed"}
    module, function = function_of(subject_name, request["function"])
    if function is None:
        return {"error": "has no such case"}
    read = CLOCKS[request.get("clock", "cpu")]
    values = [run(module, function, request["params"], read, loop_factory) for _ in range(request["repeats"])]
    return {"value": sum(values) / len(values)}


def serve(subject_name: str, loop_name: str) -> None:
    """Answer requests until stdin ends."""
    answers = sys.stdout
    # Whatever a framework prints must not get among the answers.
    sys.stdout = sys.stderr
    logging.disable(logging.CRITICAL)
    loop_factory = asyncio.new_event_loop
    if loop_name:
        loop_factory = importlib.import_module(loop_name).new_event_loop
    for line in sys.stdin:
        try:
            reply = answer(subject_name, json.loads(line), loop_factory)
        except BaseException as error:  # one case that fails must not end the others
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
