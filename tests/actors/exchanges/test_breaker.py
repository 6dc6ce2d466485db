"""`Breaker`: one at a time goes to see whether an exchange is back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.exchanges.breaker import Breaker, BreakerRules

RULES = BreakerRules(failures_max=3, first_s=1.0, longest_s=8.0)


def opened(*, at_s: float = 0.0) -> Breaker:
    """Return a breaker that has just opened."""
    breaker = Breaker(RULES)
    for _ in range(3):
        breaker.failed(at_s, "status 503", random.Random(1), probe=False)
    return breaker


def test_it_opens_at_so_many_failures_in_a_row_and_not_before() -> None:
    """One that fails now and then is not away."""
    breaker, rng = Breaker(RULES), random.Random(1)
    for _ in range(2):
        assert not breaker.failed(0.0, "x", rng, probe=False)
    breaker.answered(probe=False)
    for _ in range(2):
        assert not breaker.failed(0.0, "x", rng, probe=False)
    assert breaker.enter(0.0) == "pass"
    assert breaker.failed(0.0, "x", rng, probe=False)
    assert breaker.enter(0.0) == "refuse"


def test_those_who_were_under_way_when_it_opened_change_nothing() -> None:
    """They belong to the same failure; otherwise a burst would count as many."""
    breaker = opened()
    probe_s = breaker.probe_s
    assert not breaker.failed(0.1, "x", random.Random(1), probe=False)

    assert breaker.probe_s == probe_s


def test_an_answer_closes_it_whoever_got_it() -> None:
    """Somebody is there."""
    breaker = opened()

    assert breaker.answered(probe=False)
    assert breaker.enter(0.0) == "pass"
    assert not breaker.answered(probe=False)


@pytest.mark.parametrize("end", ["fails", "answered", "goes"])
def test_a_probe_that_outlives_its_time_keeps_its_place_to_the_end(end: str) -> None:
    """Another's late answer closed the breaker, it opened again, and the old one is still out."""
    breaker, rng = opened(), random.Random(1)
    assert breaker.enter(5.0) == "probe"
    breaker.answered(probe=False)
    for _ in range(3):
        breaker.failed(6.0, "x", rng, probe=False)
    assert breaker.enter(60.0) == "refuse"
    assert "at this moment" in breaker.explain(60.0)
    if end == "fails":
        breaker.failed(60.0, "x", rng, probe=True)
    elif end == "answered":
        breaker.answered(probe=True)
    else:
        breaker.give_up(60.0, rng)

    assert breaker.enter(120.0) == ("pass" if end == "answered" else "probe")


def test_a_probe_that_learned_nothing_of_a_closed_breaker_changes_nothing() -> None:
    """The next time it opens, the waits begin small again."""
    breaker, rng = opened(), random.Random(1)
    assert breaker.enter(5.0) == "probe"
    breaker.answered(probe=False)
    breaker.give_up(6.0, rng)
    assert breaker.enter(6.0) == "pass"
    for _ in range(3):
        breaker.failed(7.0, "x", rng, probe=False)

    assert 0.5 <= breaker.probe_s - 7.0 <= 1.0


def test_a_probe_that_learned_nothing_leaves_its_place_to_the_next() -> None:
    """A bot that goes away must not keep the exchange away with it, nor be followed by a herd."""
    breaker = opened()
    assert breaker.enter(2.0) == "probe"
    assert breaker.enter(2.0) == "refuse"
    breaker.give_up(2.0, random.Random(1))

    assert breaker.enter(2.4) == "refuse"
    assert breaker.enter(3.0) == "probe"


def test_those_who_watch_are_told_when_it_opens() -> None:
    """So that nobody waits in line for an exchange that is away."""
    breaker, told = Breaker(RULES), []

    def first() -> None:
        told.append("first")

    def second() -> None:
        told.append("second")

    breaker.watch(first)
    breaker.watch(second)
    breaker.unwatch(second)
    for _ in range(5):
        breaker.failed(0.0, "x", random.Random(1), probe=False)

    assert told == ["first"]


def test_it_explains_itself() -> None:
    """Since when, why, and when it is tried again."""
    breaker = opened(at_s=100.0)

    assert breaker.explain(100.25).startswith(
        f"it has been away for 0.2 s and is tried again in {breaker.probe_s - 100.25:.1f} s; "
    )
    assert breaker.explain(105.0).endswith(
        "tried again now, by the next request; the last try ended with: status 503"
    )
    assert breaker.enter(105.0) == "probe"
    assert "tried again at this moment" in breaker.explain(105.0)


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_probes_come_later_and_later_up_to_a_bound(seed: int, failures: int) -> None:
    """Each cut by chance, so that many runtimes do not come back together."""
    rng, breaker = random.Random(seed), Breaker(RULES)
    for _ in range(3):
        breaker.failed(0.0, "x", rng, probe=False)
    now_s = 0.0
    for number in range(failures):
        longest_s = min(1.0 * 2**number, 8.0)
        assert longest_s / 2 <= breaker.probe_s - now_s <= longest_s
        now_s = breaker.probe_s
        assert breaker.enter(now_s) == "probe"
        breaker.failed(now_s, "x", rng, probe=True)


class BreakerMachine(RuleBasedStateMachine):
    """Callers that come, fail, succeed and go away, in any order and however late."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(RULES)
        self.rng = random.Random(1)
        self.now_s = 0.0
        self.passing = 0
        self.probing = 0

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    @rule()
    def enter(self) -> None:
        """Have somebody ask."""
        was_open = self.breaker.is_open
        entered = self.breaker.enter(self.now_s)
        assert (entered == "pass") == (not was_open)
        if entered == "probe":
            assert self.now_s >= self.breaker.probe_s
            self.probing += 1
        self.passing += entered == "pass"

    @precondition(lambda self: self.passing)
    @rule(fails=st.booleans())
    def end(self, *, fails: bool) -> None:
        """Have one of those who passed end."""
        self.passing -= 1
        if fails:
            self.breaker.failed(self.now_s, "x", self.rng, probe=False)
        else:
            self.breaker.answered(probe=False)

    @precondition(lambda self: self.probing)
    @rule(how=st.sampled_from(["fails", "answered", "goes"]))
    def end_probe(self, how: str) -> None:
        """Have the probe end."""
        self.probing = 0
        was_open = self.breaker.is_open
        if how == "fails":
            self.breaker.failed(self.now_s, "x", self.rng, probe=True)
            if was_open:
                wait_s = self.breaker.probe_s - self.now_s
                assert RULES.first_s / 2 - 1e-6 <= wait_s <= RULES.longest_s + 1e-6
                assert self.breaker.enter(self.now_s) == "refuse"
        elif how == "answered":
            self.breaker.answered(probe=True)
            assert not self.breaker.is_open
        else:
            self.breaker.give_up(self.now_s, self.rng)

    @invariant()
    def never_two_probes(self) -> None:
        """At most one is on its way, whatever happened since it went."""
        assert self.probing <= 1


TestBreakerMachine = pytest.mark.filterwarnings("error")(BreakerMachine.TestCase)
