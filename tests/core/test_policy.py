"""What a supervisor decides by: tables and figures, without a supervisor."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec, Directive, Exit, Restart, directive_for
from runtime.core.errors import BadSpec
from runtime.core.policy import RESTARTS, AutoShutdown, Flags, Strategy, Window
from runtime.core.reports import CrashLog
from runtime.core.supervisor import Supervisor


def test_the_table_of_restarts_is_otps() -> None:
    """Permanent always, transient after a crash or a kill, temporary never; no row is missing."""
    assert {pair for pair, again in RESTARTS.items() if again} == {
        *((Restart.PERMANENT, how) for how in Exit),
        (Restart.TRANSIENT, Exit.KILLED),
        (Restart.TRANSIENT, Exit.CRASH),
    }
    assert len(RESTARTS) == len(Restart) * len(Exit)


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (KeyError("a"), Directive.RESUME),
        (LookupError("a"), Directive.ESCALATE),
        (IndexError("a"), Directive.ESCALATE),
        (UnicodeDecodeError("a", b"", 0, 1, "b"), Directive.STOP),
        (OSError("a"), Directive.RESTART),
    ],
)
def test_the_most_specific_class_decides(error: Exception, means: Directive) -> None:
    """However the mapping is ordered; and what is not named is a crash."""
    mapping = {
        LookupError: Directive.ESCALATE,
        KeyError: Directive.RESUME,
        ValueError: Directive.STOP,
    }

    assert directive_for(error, mapping) is means
    assert directive_for(error, dict(reversed(mapping.items()))) is means


@given(
    moments=st.lists(st.integers(0, 40), max_size=30).map(sorted),
    max_restarts=st.integers(0, 4),
    within_s=st.integers(1, 20),
)
def test_the_window_counts_what_a_list_counts(
    moments: list[int], max_restarts: int, within_s: int
) -> None:
    """Against the plainest model; and it never holds more than is allowed and one."""
    window, intensity = Window(), RestartIntensity(max_restarts, within_s)
    for number, now_s in enumerate(moments):
        recent = [each for each in moments[: number + 1] if each > now_s - within_s]
        exceeded = window.exceeded(intensity, now_s)

        assert exceeded is (len(recent) > max_restarts)
        if exceeded:
            break
        assert len(window) == len(recent) <= max_restarts


def test_who_never_gives_up_remembers_no_restarts() -> None:
    """A child in trouble for months must not fill the memory."""
    window = Window()

    assert not any(window.exceeded(None, now_s) for now_s in range(100))
    assert len(window) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strategy": "one_for_one"}, r"strategy must be a Strategy, was 'one_for_one'"),
        ({"intensity": 5}, r"intensity must be a RestartIntensity or None, was 5"),
        ({"backoff": None}, r"backoff must be a Backoff, was None"),
        ({"auto_shutdown": True}, r"auto_shutdown must be an AutoShutdown, was True"),
        ({"crash_log": {}}, r"crash_log must be a CrashLog, was \{\}"),
        ({"backoff": Backoff(min_s=20, max_s=20)}, r"this supervisor could never give up"),
    ],
)
def test_flags_that_cannot_work_are_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    """By the flags themselves, and so by every supervisor that is given them."""
    with pytest.raises(BadSpec, match=message):
        Flags(**wrong)
    with pytest.raises(BadSpec, match=message):
        Supervisor([], **wrong)


@pytest.mark.parametrize(
    "wrong", [{"critical_after": 0}, {"chars_max": 99}, {"kept": 0}, {"kept": -1}]
)
def test_a_crash_log_that_says_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """Switching it off is `enabled=False`, which keeps the reports."""
    with pytest.raises(BadSpec, match=r"critical_after must be|a crash log needs"):
        CrashLog(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": None}, r"child id must be letters, digits, - and _, was None"),
        ({"restart": "always"}, r"child a: restart must be a Restart, was 'always'"),
        ({"mailbox": 64}, r"child a: mailbox must be a MailboxSpec, was 64"),
        ({"significant": 1}, r"child a: significant must be a bool, was 1"),
        ({"significant": True}, r"child a: a permanent child cannot be significant"),
        ({"shutdown_s": "5"}, r"child a: shutdown_s must be >= 0, was 5"),
        ({"shutdown_s": True}, r"child a: shutdown_s must be >= 0, was True"),
        ({"hang_s": 0}, r"child a: hang_s must be more than 0 and finite, or None, was 0"),
        ({"hang_s": float("inf")}, r"child a: hang_s must be more than 0 and finite"),
        ({"start_s": -1}, r"child a: start_s must be more than 0 and finite, or None, was -1"),
        ({"abandon_s": -1}, r"child a: abandon_s must be >= 0, was -1"),
        ({"abandon_s": None}, r"child a: abandon_s must be finite, was None"),
        ({"abandon_s": float("inf")}, r"child a: abandon_s must be finite, was inf"),
        ({"on_crash": [ValueError]}, r"child a: on_crash must be a mapping, was \[<class"),
        ({"on_crash": {KeyboardInterrupt: Directive.RESUME}}, r"needs classes of Exception, was"),
        ({"on_crash": {ValueError: "resume"}}, r"on_crash must be a Directive, was 'resume'"),
    ],
)
def test_each_bad_field_of_a_child_has_an_error_of_its_own(
    wrong: dict[str, Any], message: str
) -> None:
    """Whoever wrote it learns which, and what was wanted."""
    with pytest.raises(BadSpec, match=message):
        ChildSpec(**{"id": "a", "start": object, **wrong})


def test_every_good_combination_is_accepted() -> None:
    """What can work is not refused by a rule too many."""
    for restart in Restart:
        for significant in {False, restart is not Restart.PERMANENT}:
            for shutdown_s in (None, 0, 1, 0.5, float("inf")):
                spec = ChildSpec("a-1_b", object, restart, shutdown_s, significant=significant)  # type: ignore[arg-type]
                mode = AutoShutdown.ANY_SIGNIFICANT if significant else AutoShutdown.NEVER
                for strategy in Strategy:
                    Supervisor([spec], strategy=strategy, auto_shutdown=mode)
