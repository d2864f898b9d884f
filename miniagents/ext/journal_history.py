"""`journal_history_agent`: a history that is kept in the journal, and goes on when the program is started again."""

from typing import cast

from miniagents._call_marks import current_journaled_call
from miniagents.errors import NoJournalError
from miniagents.ext._dialog import current_dialog
from miniagents.ext._received import receive, worth_keeping
from miniagents.interaction import InteractionContext
from miniagents.journal._call_nodes import CallNode
from miniagents.journal._histories import History, history_of
from miniagents.miniagents import miniagent


@miniagent
async def journal_history_agent(
    ctx: InteractionContext,
    history: str | None = None,
    return_full_history: bool = True,  # noqa: FBT001, FBT002 - a setting of the agent: always given by name
) -> None:
    """Keep the messages in the journal, and reply with all that is kept (or pass them on: `return_full_history=False`).

    The history belongs to the run: the same program started again with the same `run_id` goes on with the dialog where
    it was. Every dialog of `dialog_loop` and `agent_loop` has its own (a loop that is called with another prompt is
    another one), and what is said outside of them is kept once per run. With `history="name"` there is one history of
    this name in the journal, for all runs and dialogs.

    What was kept is committed before this agent replies, whatever the durability of the run is, and survives
    `kill -9`. A resumed run that repeats its calls keeps nothing twice, and each gets the history as it was then; from
    the first new message on the dialog goes on from its end. Messages with `no_history=True` are not kept; neither are
    thoughts, calls of tools and their results, as in `in_memory_history_agent`. If there is an error among the
    messages, those that did arrive are kept before it is raised.

    Raises:
        NoJournalError: the context has no journal.
        UnstorableValueError: a message cannot be stored; its field is named.
        JournalError: the journal cannot be read or written.
    """
    node = current_journaled_call.get()
    if not isinstance(node, CallNode):
        raise NoJournalError("journal_history_agent")
    with (await _history(node, history)).call() as call:
        received = await receive(ctx.message_promises)
        everything = await (call.keep(worth_keeping(received)) if received.messages else call.read())
    ctx.reply(everything if return_full_history else received.messages)
    received.raise_first_error()


async def _history(node: CallNode, name: str | None) -> History:
    """Give the history of the dialog that the running agent takes part in."""
    if name is not None and (not isinstance(name, str) or not name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"`history` is a name, such as 'support', not {name!r}.")
    dialog = current_dialog()
    scope = "" if dialog.call is None else await dialog.call.call_key()
    run = node.run
    found = dialog.histories.get(name)
    if found is None or found[0] is not run:
        # The dialog outside of all loops is there as long as its context, which may be active several times.
        found = dialog.histories[name] = run, history_of(run, name, scope)
    return cast("History", found[1])
