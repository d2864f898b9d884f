"""Ctrl-C, SIGTERM and other exits of a running program."""

import signal

import pytest

from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sequence import FlatSequence
from tests.unit.promising.tools import interrupt, run_program, running_program

PROGRAM = """
import asyncio, contextlib, sys
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise

async def job(name):
    try:
        await asyncio.Event().wait()
    finally:
        for _ in range(10):
            await asyncio.sleep(0)
        print(name, "cleaned up")

async def streamer(_):
    try:
        yield "piece"
        await asyncio.Event().wait()
    finally:
        print("streamer cleaned up")

async def main():
    promise = Promise(resolver=lambda _: job("promise"))
    stream = StreamedPromise(streamer=streamer)
    context.start_asap(job("task"))
    async for _ in stream:
        print("ready")
    print("never")

context = PromisingContext()
"""


def test_ctrl_c_runs_finally_blocks_and_ends_with_keyboard_interrupt() -> None:
    with running_program(PROGRAM + "context.run(main())") as program:
        output, errors = interrupt(program, signal.SIGINT)

    assert sorted(output.splitlines()) == ["promise cleaned up", "streamer cleaned up", "task cleaned up"]
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert errors.count("Traceback") == 1
    assert program.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_sigterm_runs_finally_blocks_and_ends_with_its_exit_code_and_no_traceback() -> None:
    with running_program(PROGRAM + "context.run(main())") as program:
        output, errors = interrupt(program, signal.SIGTERM)

    assert sorted(output.splitlines()) == ["promise cleaned up", "streamer cleaned up", "task cleaned up"]
    assert errors == ""
    assert program.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_ctrl_c_can_be_caught_around_run_and_another_run_works() -> None:
    with running_program(
        PROGRAM
        + """
try:
    context.run(main())
except KeyboardInterrupt:
    print("caught")
print(context.run(asyncio.sleep(0, "again")))
"""
    ) as program:
        output, errors = interrupt(program, signal.SIGINT)

    assert output.splitlines()[-2:] == ["caught", "again"]
    assert errors == ""
    assert program.returncode == 0


def test_ctrl_c_while_the_context_waits_for_its_background_work_ends_it() -> None:
    with running_program(
        PROGRAM
        + """
async def announce():
    for _ in range(100):
        await asyncio.sleep(0)
    print("ready")

async def only_starts():
    context.start_asap(job("task"))
    context.start_asap(announce())

context.run(only_starts())
"""
    ) as program:
        output, errors = interrupt(program, signal.SIGINT)

    assert output.splitlines() == ["task cleaned up"]
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert program.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_ctrl_c_under_asyncio_run_ends_the_context_too() -> None:
    with running_program(PROGRAM + "asyncio.run(context.arun(main()))") as program:
        output, errors = interrupt(program, signal.SIGINT)

    assert sorted(output.splitlines()) == ["promise cleaned up", "streamer cleaned up", "task cleaned up"]
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


def test_a_second_ctrl_c_does_not_wait_for_a_clean_up_that_hangs() -> None:
    with running_program(
        """
import asyncio, time
from miniagents.promising.promising import PromisingContext

async def main():
    try:
        print("ready")
        await asyncio.Event().wait()
    finally:
        print("cleaning up")
        await asyncio.Event().wait()

PromisingContext(shutdown_grace_s=1).run(main())
"""
    ) as program:
        program.send_signal(signal.SIGINT)
        assert program.stdout is not None
        assert program.stdout.readline() == "cleaning up\n"
        _, errors = interrupt(program, signal.SIGINT)

    # asyncio may go on to complain about the task that was left.
    assert "KeyboardInterrupt" in errors.splitlines()
    assert program.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


# --------------------------------------------------------------------------------------------------- other exits

WAYS_TO_EXIT = {
    "resolver": "Promise(resolver=exit_in_a_function)",
    "lazy resolver that is awaited in the background": (
        "context.start_asap(awaits(Promise(start_asap=False, resolver=exit_in_a_function)))"
    ),
    "streamer": "StreamedPromise(streamer=exit_in_a_generator)",
    "flattener": "FlatSequence(StreamedPromise(prefill_pieces=[1]), exit_in_a_generator)",
    "background task": "context.start_asap(exit_in_a_function())",
    "handler": "context.on_promise_resolved(exit_in_a_function); Promise(prefill_result=1)",
}


@pytest.mark.parametrize("way", WAYS_TO_EXIT)
def test_an_exit_that_nobody_reads_comes_bare_out_of_run_so_that_the_exit_code_is_right(way: str) -> None:
    ended = run_program(
        f"""
import asyncio
from miniagents.promising.promising import Promise, PromisingContext, StreamAppender, StreamedPromise
from miniagents.promising.sequence import FlatSequence

async def awaits(promise):
    await promise

async def exit_in_a_function(*_):
    await asyncio.sleep(0)
    raise SystemExit(7)

async def exit_in_a_generator(*_):
    await asyncio.sleep(0)
    raise SystemExit(7)
    yield

async def main():
    {WAYS_TO_EXIT[way]}

context = PromisingContext()
context.run(main())
"""
    )

    assert ended.returncode == 7, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_keyboard_interrupt_raised_in_a_resolver_comes_bare_out_of_run() -> None:
    async def interrupting(_: object) -> None:
        raise KeyboardInterrupt

    async def main() -> str:
        Promise(resolver=interrupting)
        return "the result of the main function"

    with pytest.raises(KeyboardInterrupt):
        PromisingContext().run(main())


def test_an_exit_raised_in_an_appender_block_reaches_its_reader_and_ends_the_program() -> None:
    seen: list[object] = []

    async def read(promise: StreamedPromise[str, object]) -> None:
        try:
            async for piece in promise:
                seen.append(piece)
        except SystemExit as exit_:
            seen.append(exit_.code)

    async def main() -> None:
        with StreamAppender() as appender:
            PromisingContext.get_current().start_asap(read(StreamedPromise(streamer=appender)))
            await appender.append("a")
            raise SystemExit(7)

    with pytest.raises(SystemExit) as caught:
        PromisingContext().run(main())

    assert caught.value.code == 7
    assert seen[:1] == ["a"]


def test_an_exit_that_a_reader_received_does_not_end_the_program() -> None:
    async def streamer(_: object):
        yield "a"
        raise SystemExit(7)

    async def flattener(_: object, item: str):
        yield item

    async def main() -> list[object]:
        seen: list[object] = []
        try:
            async for piece in FlatSequence(streamer, flattener).sequence_promise:
                seen.append(piece)
        except SystemExit as exit_:
            seen.append(exit_.code)
        return seen

    assert PromisingContext().run(main()) == ["a", 7]


def test_an_exit_of_the_main_function_comes_out_and_background_work_is_cleaned_up() -> None:
    ended = run_program(
        PROGRAM
        + """
async def leave():
    context.start_asap(main())
    for _ in range(100):
        await asyncio.sleep(0)
    sys.exit(3)

context.run(leave())
"""
    )

    assert ended.returncode == 3
    assert sorted(ended.stdout.splitlines()) == [
        "promise cleaned up",
        "ready",
        "streamer cleaned up",
        "task cleaned up",
    ]
    assert ended.stderr == ""


def test_a_bare_task_that_reads_a_promise_is_not_reported_when_the_program_is_interrupted() -> None:
    with running_program(
        PROGRAM
        + """
async def only_starts():
    task = asyncio.create_task(main())
    await asyncio.Event().wait()

context.run(only_starts())
"""
    ) as program:
        output, errors = interrupt(program, signal.SIGINT)

    assert sorted(output.splitlines()) == ["promise cleaned up", "streamer cleaned up", "task cleaned up"]
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert errors.count("Traceback") == 1
