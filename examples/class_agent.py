"""An agent as a class: a new instance for every call, so that one call's work can be split into methods."""

from dataclasses import dataclass, field

from miniagents import InteractionContext, MiniAgents, miniagent


@miniagent
@dataclass
class WordCounter:
    """Counts words. Two calls at the same time do not disturb each other: each has an instance of its own."""

    ctx: InteractionContext
    min_length: int = 1
    counts: dict[str, int] = field(default_factory=dict, init=False)

    async def __call__(self) -> None:
        """Count first, report at the end."""
        async for msg_promise in self.ctx.message_promises:
            self._count(str(await msg_promise))
        self._report()

    def _count(self, text: str) -> None:
        for word in text.lower().split():
            if len(word) >= self.min_length:
                self.counts[word] = self.counts.get(word, 0) + 1

    def _report(self) -> None:
        for word, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            self.ctx.reply(f"{word}: {count}")


async def main() -> None:
    all_words = WordCounter.inquire(["to be or not to be", "that is the question"])
    long_words = WordCounter.inquire("the answer is the question", min_length=4)

    print("all words:", *await all_words, sep="\n  ")
    print("long words:", *await long_words, sep="\n  ")


if __name__ == "__main__":
    MiniAgents().run(main())
