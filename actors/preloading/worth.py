"""What a page fetched ahead must promise to be worth its slot. Plain code.

A page is worth fetching if the time that it saves, by its probability, is more than it costs. It
costs something only if nobody asks for it: else whoever asked would have paid the same a moment
later. That cost is told in the same time, as so many usual waits for a page: so many that with all
slots spare `Price.bar` is the probability from which a page is fetched. It is more the fewer slots
are spare, up to `DEAREST` times, as in `actors.channels`: with few left only what is nearly
certain, or would wait very long, is fetched.

The bar finds its own place: a page that nobody used raises it, one that was used lowers it, by so
much that it stands still where `WASTED_GOAL` pages are wasted for one that is used. It never falls
below `BAR_MIN`, where a page in three is used at best: to give a guess a try costs somebody's limit
even if it went well so far. It never rises above `BAR_MAX`, so that habits that are as good as
certain are always tried, and bring it down again.
"""

from __future__ import annotations

# What a slot costs, in seconds of waiting: the usual wait for a page, whose size cancels out where
# all pages take as long.
PAGE_S = 0.06
DEAREST = 5.0

BAR_MIN, BAR_MAX = 0.3, 0.95
# Between them, where what is fetched pays whatever is not known yet.
_BAR_FIRST = 0.6
# With misses costing a page each as well, this keeps all pages well within 1.3 times those that
# one who knows the future needs.
WASTED_GOAL = 0.15
_USED_STEP = 0.003


class Price:
    """What was fetched ahead of late, and what it came to.

    Attributes:
      bar: The probability from which a page is fetched when all slots are spare, 0 to 1.
    """

    def __init__(self) -> None:
        self.bar = _BAR_FIRST

    def used(self) -> None:
        """Note that somebody asked in time for a page that was fetched ahead."""
        self.bar = max(BAR_MIN, self.bar - _USED_STEP)

    def wasted(self) -> None:
        """Note that nobody did."""
        self.bar = min(BAR_MAX, self.bar + _USED_STEP / WASTED_GOAL)


def worth(probability: float, *, saved_s: float, spare: float, price: Price) -> bool:
    """Return whether to fetch a page that will be used with `probability`.

    Args:
      probability: 0 to 1.
      saved_s: How long whoever asks would wait for the page otherwise, in seconds.
      spare: What part of the limit is unused, 0 to 1; with none, nothing is worth it.
      price: What pages have come to of late.
    """
    if spare <= 0:
        return False
    dearness = min(DEAREST, 1.0 / spare)
    lost_s = PAGE_S * dearness * price.bar / (1.0 - price.bar)
    return probability * saved_s >= (1.0 - probability) * lost_s
