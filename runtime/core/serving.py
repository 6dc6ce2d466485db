"""How an actor serves: one message after the other, each with exactly one answer.

These are functions beside `Actor`, not methods of it: every name that begins with an underscore is
free for the actors themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from runtime.core.child import Directive, Life, Restart, directive_for
from runtime.core.crashes import one_line, unwrap
from runtime.core.errors import (
    CallTimeout,
    DomainError,
    HandlerFailed,
    Shutdown,
    UnhandledRequest,
)
from runtime.core.mailbox import Envelope
from runtime.core.reply import Reply
from runtime.core.trace import Happening

if TYPE_CHECKING:
    from runtime.core.actor import Actor, ActorContext

_log = logging.getLogger("marketd.actor")


async def serve(
    actor: Actor, life: Life, context_of: Callable[[Life, trio.Nursery], ActorContext]
) -> None:
    """Live one incarnation of `actor`, in a context made by `context_of`."""
    try:
        async with trio.open_nursery() as nursery:
            actor.context = context_of(life, nursery)
            await actor.on_start()
            life.reader = life.mailbox.open_reader()
            life.on_stop = life.reader.close
            life.up(actor.context.info, ready=actor.ready_by_itself)
            try:
                await _handle_all(actor, life)
            except Exception as error:
                _crashed(life, unwrap(error))
                raise
            finally:
                # At once, not when the last task has ended: callers must not wait for that.
                life.lose()
                life.dying()
            nursery.cancel_scope.cancel()
        if not life.stopping:
            # The nursery, cancelled by what came out of a handler, has swallowed it.
            raise RuntimeError(f"{life.name} raised a cancellation that was not its own")
    finally:
        if life.is_up:
            await _put_away(actor, life)


async def _handle_all(actor: Actor, life: Life) -> None:
    reader, owed, work = life.reader, life.owed, life.work
    assert reader is not None, "opened by serve"
    now_s = life.around.clock.now_s
    while not life.stopping:
        envelope = await reader.take()
        if envelope is None:
            break
        # A message that was handed over in the moment of the stop is in hand: it is finished.
        owed.in_hand = envelope.reply
        work.since_s = since_s = now_s()
        work.in_hand = envelope.message
        await _handle(actor, life, envelope)
        owed.in_hand = work.in_hand = None
        work.handled += 1
        took_s = now_s() - since_s
        work.busy_s += took_s
        if took_s > work.longest_s:  # noqa: PLR1730 - this runs for every message; max() is a call
            work.longest_s = took_s
        if life.tracer is not None and life.tracer.on:
            life.tracer.note(Happening.HANDLED, envelope.message)


async def _handle(actor: Actor, life: Life, envelope: Envelope) -> None:
    message, reply = envelope.message, envelope.reply
    if reply is not None and (reply.abandoned or reply.deadline_s <= life.work.since_s):
        # Nobody waits any more; the work would be for nothing.
        reply.fail(CallTimeout(f"{life.name} came to it after the deadline"))
        return
    try:
        if reply is None:
            await actor.handle_cast(message)  # type: ignore[arg-type]
            return
        answer = await actor.handle_call(message)  # type: ignore[arg-type]
    except (DomainError, UnhandledRequest) as error:
        if reply is not None:
            reply.fail(error)
        else:
            _log.warning("%s: %s had no effect: %s", life.name, type(message).__name__, error)
    except Exception as error:
        if not _survives(life, message, reply, unwrap(error)):
            raise
    else:
        if life.owed.in_hand is reply:
            # Not taken, so that what came back is the answer.
            reply.send(answer)
            if reply.abandoned:
                life.work.late += 1


def _survives(life: Life, message: object, reply: Reply | None, error: Exception) -> bool:
    """Do as the specification says about an error of a handler; return whether to go on."""
    if isinstance(error, Shutdown):
        return False
    life.work.failed += 1
    if life.tracer is not None and life.tracer.on:
        life.tracer.note(Happening.FAILED, message)
    directive = directive_for(error, life.on_crash)
    if directive is not Directive.RESUME:
        life.directive = directive
        return False
    line = f"{life.name} failed on {type(message).__name__} and goes on: {one_line(error)}"
    _log.error("%s", line, exc_info=error)
    if reply is not None:
        reply.fail(HandlerFailed(line))
    return True


def _crashed(life: Life, error: Exception) -> None:
    """Say at once what no caller should have to wait for."""
    if isinstance(error, Shutdown):
        life.will_return = life.restart is Restart.PERMANENT
        return
    life.error = error
    if life.directive is Directive.STOP:
        life.will_return = False


async def _put_away(actor: Actor, life: Life) -> None:
    """Run `on_stop`: within `shutdown_s` if the actor was asked to stop, else within 5 s."""
    if life.stopping and not life.killed:
        await actor.on_stop()
        return
    # After a crash nobody counts the time; after a kill this life is cancelled already.
    with trio.CancelScope(shield=True, deadline=trio.current_time() + life.put_away_s) as scope:
        await actor.on_stop()
    if scope.cancelled_caught:
        _log.error("%s: on_stop did not end within %g s", life.name, life.put_away_s)
