"""Two models work on one text at the same time, and a join combines what they say; none of the three knows the others.

Put `OpenAIAgent.fork(model="gpt-4o")` in the place of the scripted models, and the rest stays as it is.
"""

from miniagents import MiniAgents
from miniagents.events import Event, EventBus, HandlerContext
from miniagents.ext.llms import Script, ScriptedAgent

bus = EventBus()
analyst = ScriptedAgent.fork(script=Script(["Two ", 0.2, "sentences."]))  # numbers are seconds of silence
editor = ScriptedAgent.fork(script=Script(["Rain, ", 0.1, "then sun."]))


class Text(Event):
    """What is to be analyzed."""


class Analysis(Event):
    """What the first model finds in it."""


class Summary(Event):
    """What the second one makes of it."""


class Combined(Event):
    """All of it."""


@bus.on(Text)
async def analyze(ctx: HandlerContext, text: Text) -> None:
    print("(the analysis begins)")
    ctx.reply(Analysis(str(await analyst.inquire(str(text), system="Analyze this text.").as_single_promise())))
    print("(the analysis is done)")


@bus.on(Text)
async def summarize(ctx: HandlerContext, text: Text) -> None:
    print("(the summary begins)")
    ctx.reply(Summary(str(await editor.inquire(str(text), system="Summarize this text.").as_single_promise())))
    print("(the summary is done)")


@bus.join(Text, Analysis, Summary)
async def combine(ctx: HandlerContext, text: Text, analysis: Analysis, summary: Summary) -> None:
    ctx.reply(Combined(f"Text: {text}\nAnalysis: {analysis}\nSummary: {summary}"))


async def main() -> None:
    async with bus:
        print(await bus.ask(Text("It rained. Then the sun came out."), Combined, timeout=60))


if __name__ == "__main__":
    MiniAgents().run(main())
