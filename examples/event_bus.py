"""A shop of handlers that do not know each other: routing by class, one at a time by key, retries, a bus that is full.

What fails becomes a dead letter, which has a handler here; everything else goes on.
"""

import asyncio

from miniagents import MiniAgents
from miniagents.events import DeadLetter, Event, EventBus, HandlerContext

bus = EventBus(max_concurrency=2, max_pending=2)  # when two wait, `publish` waits, too, and `emit` raises


class Order(Event):
    """Somebody wants something: the event's text."""


class ExpressOrder(Order):
    """Somebody wants it now."""


class Shipped(Event):
    """Something is on its way."""


@bus.on(Order, key=lambda order: order.content, retries=1)  # two orders of one thing: one after the other
async def ship(ctx: HandlerContext, order: Order) -> None:
    await asyncio.sleep(0.1)
    if str(order) == "glass" and ctx.attempt == 1:
        print("(a glass is broken, once more)")
        raise RuntimeError("broken")
    if str(order) == "yeti":
        raise LookupError("there is none")
    ctx.reply(Shipped(str(order)))


@bus.on(ExpressOrder)  # gets these besides
async def call_a_taxi(ctx: HandlerContext, order: ExpressOrder) -> None:
    ctx.reply(f"A taxi comes for the {order}.")


@bus.on(Shipped, DeadLetter)
async def tell(ctx: HandlerContext, event: Shipped | DeadLetter) -> None:
    is_dead = isinstance(event, DeadLetter)
    print(f"No {event.event} after {event.attempt} attempts: {event.error}" if is_dead else f"Shipped: {event}")


async def main() -> None:
    async with bus:
        for order in (Order("tea"), Order("glass"), Order("yeti"), Order("tea"), ExpressOrder("ice")):
            flow = await bus.publish(order)
            print(f"Ordered: {order}")
    print(bus.stats, [str(message) for message in await flow], flow.mermaid(), sep="\n")


if __name__ == "__main__":
    MiniAgents().run(main())
