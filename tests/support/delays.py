"""How long this machine lets nobody work, which is no fault of what is measured meanwhile."""

import threading
import time


class Delays(threading.Thread):
    """Adds up by how much a thread that only sleeps is woken too late: what other programs take of the machine."""

    NAP_S = 0.01

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.late_s = 0.0
        self.is_over = threading.Event()
        self._by: list[tuple[float, float]] = []

    def run(self) -> None:
        give_up_at = time.monotonic() + 20
        while not self.is_over.is_set() and time.monotonic() < give_up_at:
            began = time.monotonic()
            time.sleep(self.NAP_S)
            self.late_s += max(0.0, time.monotonic() - began - 2 * self.NAP_S)
            self._by.append((time.monotonic(), self.late_s))

    def stop(self) -> float:
        """Give how late it was, all in all."""
        self.is_over.set()
        self.join()
        return self.late_s

    def until(self, moment: float) -> float:
        """Stop, and give how late it was until then."""
        self.stop()
        return next((late_s for at, late_s in self._by if at >= moment), self.late_s)
