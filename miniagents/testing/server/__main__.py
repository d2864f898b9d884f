"""`python -m miniagents.testing.server`: the server at a terminal, until it is interrupted."""

import argparse
import contextlib
import os
import threading

from miniagents.errors import MissingExtraError
from miniagents.testing.server import Answer, Tokens, start_protocol_server


def main() -> None:
    """Serve until interrupted, and say how to point the SDKs here."""
    options = _parser().parse_args()
    if options.controlled:
        from miniagents.testing.server.process import obey

        obey(options.port, options.delay)
        return
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(start_protocol_server(port=options.port, delay_s=options.delay))
        except MissingExtraError as error:
            _parser().error(str(error))
        except OSError as error:
            _parser().error(f"cannot listen on port {options.port} ({error}); take another, or 0 for a free one")
        if options.tokens:
            server.answer_with(Answer([Tokens(options.tokens, per_write=options.per_write)]))
        for name, value in {**server.environment, **server.environment_of_clouds}.items():
            print(f"export {name}={value}")  # noqa: T201 - the product of this command
        hint = f"# process {os.getpid()}, Ctrl+C ends it; say `count to 100` for a long answer"
        print(hint, flush=True)  # noqa: T201 - the product of this command
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def _parser() -> argparse.ArgumentParser:
    description = "A server that speaks the wire protocols of the model providers; it echoes."
    parser = argparse.ArgumentParser(prog="python -m miniagents.testing.server", description=description)
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between two pieces of a stream")
    parser.add_argument("--tokens", type=int, default=0, help="answer everything with so many tokens")
    parser.add_argument("--per-write", type=int, default=1, help="how many of these tokens leave in one piece")
    parser.add_argument("--controlled", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
