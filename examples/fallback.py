"""Another model answers where one fails, even in the middle of its answer; and one that hangs is given up in time."""

from miniagents import MiniAgents
from miniagents.ext import Retry, fallback_agent, limited
from miniagents.ext.llms import Script, ScriptedAgent
from miniagents.ext.llms.errors import ConnectionLostError, OverloadedError

# Stand-ins for real models, such as `OpenAIAgent.fork(model=...)`. Numbers in a script are seconds of silence.
overloaded = ScriptedAgent.fork(alias="OVERLOADED", script=Script(OverloadedError("busy")), max_retries=0)
hanging = ScriptedAgent.fork(alias="HANGING", script=Script([3600.0, "Too late."]))
unreliable = ScriptedAgent.fork(alias="UNRELIABLE", script=Script(["Once ", "upon ", ConnectionLostError("cut")]))
shaky = ScriptedAgent.fork(script=Script(OverloadedError("busy"), OverloadedError("busy"), "Here!"), max_retries=0)
reliable = ScriptedAgent.fork(alias="RELIABLE", script="Long ago there was a king.")


async def main() -> None:
    # Nothing of the first two is seen: they fail before their first token.
    simple = fallback_agent.fork(agents=[overloaded, limited(hanging, timeout_s=5), reliable])
    print(await simple.inquire("Tell me a story").as_single_promise())

    # An answer that breaks off later stays as far as it came, if we want another one after it.
    print()
    insistent = fallback_agent.fork(agents=[unreliable, reliable], mid_stream=True)
    async for msg_promise in insistent.inquire("Tell me a story"):
        async for token in msg_promise:
            print(token, end="", flush=True)
        message = await msg_promise
        print(f" ({message.agent_alias}{', interrupted' if message.interrupted else ''})")

    # The same model again, after a while; eight calls at a time, the others wait for their turn.
    print()
    patient = limited(shaky, max_concurrency=8, retry=Retry(attempts=3, wait_s=0.5))
    print(await patient.inquire("Are you there?").as_single_promise())


if __name__ == "__main__":
    MiniAgents().run(main())
