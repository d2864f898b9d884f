"""A dialog at the console, remembered in CHAT.md, so that the next run goes on where this one has stopped.

With ANTHROPIC_API_KEY in the environment (and `pip install miniagents[anthropic]`) a real model answers, else a
scripted one. Through a pipe it answers once: `echo "hi there" | python chat_with_history.py`.
"""

import os

from miniagents import MiniAgents
from miniagents.ext import MarkdownHistoryAgent, console_user_agent, dialog_loop
from miniagents.ext.llms import AnthropicAgent, Prompt, ScriptedAgent, SystemMessage


def corrected(prompt: Prompt) -> str:
    text = prompt.last_text.strip()
    return f"Better: {text[:1].upper()}{text[1:].rstrip('.')}."


if os.environ.get("ANTHROPIC_API_KEY"):
    assistant = AnthropicAgent.fork(model="claude-sonnet-5-5", max_tokens=1000)
else:
    assistant = ScriptedAgent.fork(alias="ASSISTANT", script=corrected)


async def main() -> None:
    dialog_loop.kick_off(
        # For the assistant alone: neither the user nor the history ever sees it.
        SystemMessage(
            "Your job is to improve the styling and grammar of the sentences that the user throws at you. "
            "Leave the sentences unchanged if they seem fine."
        ),
        user_agent=console_user_agent.fork(history_agent=MarkdownHistoryAgent),
        assistant_agent=assistant,
    )


if __name__ == "__main__":
    # One Markdown file for each prompt and its answer, in the folder `llm_logs`.
    MiniAgents(llm_logger_agent=True).run(main())
