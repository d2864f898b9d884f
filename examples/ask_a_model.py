"""A model is an agent too, and its answer arrives token by token.

With OPENAI_API_KEY in the environment (and `pip install miniagents[openai]`) a real model answers, else a scripted one.
"""

import os

from miniagents import MiniAgents
from miniagents.ext.llms import OpenAIAgent, ScriptedAgent

# "Forking" an agent makes a new one with these settings. They could also be given with every inquiry.
if os.environ.get("OPENAI_API_KEY"):
    model = OpenAIAgent.fork(model="gpt-4o")
else:
    model = ScriptedAgent.fork(script="I am fine, thank you! How can I help you today?")


async def main() -> None:
    reply_sequence = model.inquire("Hello, how are you?", system="You are a helpful assistant.", max_tokens=50)
    async for msg_promise in reply_sequence:
        async for token in msg_promise:
            print(token, end="", flush=True)
        # A model replies with one message, other agents with as many as they like: an empty line between two.
        print("\n")


if __name__ == "__main__":
    MiniAgents().run(main())
