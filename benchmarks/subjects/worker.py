"""A process that runs the functions of one subject on demand and tells what they cost.

    python worker.py on_miniagents [uvloop]

Each line of stdin is a request, `{"function": ..., "params": {...}, "repeats": 3}`; each line of stdout an answer,
`{"value": ...}` or `{"error": ...}`. The value is the CPU time of one run, in seconds, unless the function returned a
number of its own (bytes, or CPU seconds of a part of what it did).
"""

import asyncio
import gc
import importlib
import json
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

CPU_TIME_OF_PROCESS = "\nimport time; print(time.process_time())"


async def import_cost(statement: str) -> float:
    """Give the CPU seconds of a new process of this interpreter that does nothing else, its start included."""
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here meanwhile, and it must not
        [sys.executable, "-c", statement + CPU_TIME_OF_PROCESS], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def run(subject: Any, function: Callable[..., Any], params: dict[str, Any], loop_factory: Callable[[], Any]) -> float:
    """Run one function once, in an event loop of its own, and give its value."""

    async def main() -> float:
        began = time.process_time()
        value = await function(**params)
        elapsed = time.process_time() - began
        return elapsed if value is None else value

    gc.collect()
    wrap = getattr(subject, "inside_context", lambda coroutine: coroutine)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(wrap(main()))


def answer(subject: Any, request: dict[str, Any], loop_factory: Callable[[], Any]) -> dict[str, Any]:
    """Do what one request asks for."""
    if request["function"] == "version":
        try:
            return {"value": version(request["params"]["package"])}
        except PackageNotFoundError:
            return {"error": "not installed"}
    function = getattr(subject, request["function"], None) or {"import_cost": import_cost}.get(request["function"])
    if function is None:
        return {"error": "has no such case"}
    values = [run(subject, function, request["params"], loop_factory) for _ in range(request["repeats"])]
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
    subject = importlib.import_module(subject_name)
    for line in sys.stdin:
        try:
            reply = answer(subject, json.loads(line), loop_factory)
        except BaseException as error:  # one case that fails must not end the others
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
