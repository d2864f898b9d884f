"""What all handlers of a bus know together, whatever threads they work in."""

import sys
import threading

from miniagents.events import SharedMemory


def test_merges_of_several_threads_lose_nothing_of_each_other() -> None:
    memory = SharedMemory({"deep": {}})
    together = threading.Barrier(4)

    def merge(name: str) -> None:
        together.wait(timeout=20)
        for n in range(200):
            memory.merge({f"{name}{n}": 1, "deep": {f"{name}{n}": 1}})

    threads = [threading.Thread(target=merge, args=(name,)) for name in "abcd"]
    interval = sys.getswitchinterval()
    # So that they are interrupted in the middle of everything.
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    finally:
        sys.setswitchinterval(interval)

    content = memory.get()
    assert len(content) == 801
    assert len(content["deep"]) == 800
