"""Supervised actors on trio: a library of its own, with nothing about markets in it.

An *actor* is state that one task owns; others reach it by messages, and it handles one at a time.
A *supervisor* starts children, starts those again that crash, and stops them in order. Supervisors
are children too, so programs become trees, and each branch contains its own failures. The words are
Erlang/OTP's, and so are their meanings.

A whole program
===============

A kitchen with a kettle, and guests who come and go. It runs as it stands; a test does that.

    import random

    import trio

    from runtime.core.actor import Actor
    from runtime.core.child import ChildSpec, Restart
    from runtime.core.clock import SystemClock
    from runtime.core.dynamic import DynamicSupervisor
    from runtime.core.errors import ActorRestarted, DomainError
    from runtime.core.message import Request
    from runtime.core.ref import ActorRef
    from runtime.core.registry import Registry
    from runtime.core.supervisor import Supervisor
    from runtime.core.tree import open_tree


    class Boil(Request[str], frozen=True):
        "Boil water; the answer is a `str`, and type checkers know."

        cups: int


    class NothingToBoil(DomainError):
        "An answer: whoever asked has made a mistake, and the kettle is fine."


    class Kettle(Actor):
        "Owns one piece of state: how much it has boiled."

        async def on_start(self) -> None:
            self._boiled = 0

        async def handle_call(self, request):
            match request:
                case Boil(cups=0):
                    raise NothingToBoil("no cups were given")
                case Boil(cups=cups) if cups > 8:
                    raise RuntimeError("it boiled over")  # not an answer: a crash
                case Boil(cups=cups):
                    await trio.sleep(30 * cups)
                    self._boiled += cups
                    return f"{cups} cups, {self._boiled} so far"
                case _:
                    return await super().handle_call(request)


    class Guest(Actor):
        "Has a cup of tea and leaves."

        def __init__(self, kettle: ActorRef) -> None:
            self._kettle = kettle

        async def on_start(self) -> None:
            self.context.nursery.start_soon(self._visit)

        async def _visit(self) -> None:
            print(f"a guest got {await self._kettle.call(Boil(cups=1), timeout_s=600)}")
            self.context.stop()


    async def main() -> None:
        registry = Registry()
        kettle = registry.ref("kitchen.kettle")
        root = Supervisor(
            [
                ChildSpec("kitchen", lambda: Supervisor([ChildSpec("kettle", Kettle, hang_s=300)])),
                ChildSpec("guests", DynamicSupervisor),
            ]
        )
        chance = random.Random()
        async with open_tree(root, clock=SystemClock(), rng=chance, registry=registry) as tree:
            print(await kettle.call(Boil(cups=2), timeout_s=100))
            try:
                await kettle.call(Boil(cups=0))
            except NothingToBoil as error:
                print(f"refused: {error}")
            try:
                await kettle.call(Boil(cups=9))
            except ActorRestarted:
                print("it boiled over, and another one stands there")
            print(await kettle.call(Boil(cups=3), timeout_s=100))

            guests = tree.supervisor("guests", DynamicSupervisor)
            for _ in range(2):
                guest = ChildSpec("guest", lambda: Guest(kettle), Restart.TEMPORARY)
                await guests.start_child(guest)
            while (await guests.count_children()).active:
                await trio.sleep(10)
            for crash in tree.all_crash_reports():
                print(f"{crash.child}: {crash.reason}; {crash.next}")


    if __name__ == "__main__":
        trio.run(main)

Actors
======

Override what is needed of `Actor`: `on_start`, `handle_call`, `handle_cast`, `on_stop`,
`statistics`. Work that takes long goes into `context.nursery`, after `context.take_reply()` if
somebody waits for it; such a task may answer later, and its crash is the actor's crash. An actor
that has nothing more to do calls `context.stop()`; one that is switched off raises `Ignore` in
`on_start`; one that wants to end for good raises `Shutdown`.

An actor exists only where there is state to own, concurrency to order or failure to contain. All
else is a plain function.

Every call ends in exactly one way
==================================

    answer, or DomainError       from the handler
    ActorRestarted               the actor crashed or hung with the message in hand, or dropped it
                                 from its queue while it is started again: trying again may help
    ActorDown, ActorNotFound     it has ended and does not come back, or was never there
    HandlerFailed                the handler failed, and the specification says to go on
    CallTimeout                  the caller's time was over; the actor will not begin with it
    MailboxFull, MessageDropped  the mailbox was at its bound

Nothing is ever tried again by itself: only the caller knows whether doing it twice is harmless.
The *mailbox* belongs to the child's place, not to its life, so what is queued waits for the next
life, unless `MailboxSpec` says that it fails. It also says what happens at its bound: `WAIT`,
`REFUSE`, `DROP_OLDEST`, or `LATEST` of each key. An `ActorRef` stays good across restarts, those of
a whole branch included.

Children
========

`ChildSpec` is the whole truth about a child's life. `restart` says when it comes back:

    it ended by             PERMANENT   TRANSIENT   TEMPORARY
    returning, stop()       comes back  stays away  is forgotten
    Shutdown                comes back  stays away  is forgotten
    a crash, a kill         comes back  comes back  is forgotten

Its limits are in seconds: `start_s` to start, `hang_s` for one message, `shutdown_s` to stop when
asked, and `abandon_s` to end when cancelled. `on_crash` can say for classes of handler errors that
the actor goes on (`RESUME`), is not started again (`STOP`) or takes its supervisor with it
(`ESCALATE`).

Supervisors
===========

Children start left to right, each when the one before is up, and stop right to left. When one is
to be started again, `strategy` says who else is: nobody, those after it, or all. More restarts than
`intensity` allows, and the supervisor stops everything and crashes itself, so that the one above it
decides. `backoff` says how long to wait before each restart in a row. The two are checked together:
a supervisor that could never give up though it says so is refused.

While it runs, `start_child`, `terminate_child`, `restart_child`, `delete_child`, `which_children`,
`count_children`, `get_child_spec` and `change` are carried out by the supervisor's own task, one
after the other, each with exactly one answer; not from `on_start` of a child of its own, for which
it is waiting at that moment. `AutoShutdown` ends a supervisor with its `significant` children. A
`DynamicSupervisor` starts with no children, knows them by handles and stops them all at once.

Started is not ready: an actor with `ready_by_itself = False` calls `context.ready()` once its
answers are good. `await tree.wait_ready()` waits for all of them.

When something will not end
===========================

Asked, then cancelled, then left behind: a child that swallows its cancellation, shields itself for
ever or waits for a thread is named in the log with its stack, its callers are told, its place is
taken by another life if it is to come back, and a stop of the tree ends without it. Its task lives
on: trio cannot end it, and `trio.run` returns when it has ended. `tree.abandoned` names such tasks,
for a program that would rather leave through `os._exit`. A loop that is blocked altogether is the
business of `runtime.core.watchdog`.

Looking inside
==============

`tree.describe()` is the tree as frozen structs, down to the leaves: state, incarnation, uptime,
crashes with tracebacks, mailbox and handler figures. `tree.actor(name)` is the lane beside an
actor's mailbox: `state`, `statistics`, `get_state`, `suspend`, `resume`, `trace`, `restart`,
`stop`, `kill`, whatever the actor is doing. `tree.all_crash_reports()` and `tree.last_events()` say
what has happened. `Table` is what one actor writes and everybody reads without asking; it outlives
its writer. `PubSub` tells many without waiting for any.

Tests
=====

Time comes from a `Clock`, chance from a `random.Random`: on `trio.testing.MockClock` hours pass in
seconds, and `runtime.core.replay` has the same run again from its seed.

Other than in OTP
=================

A supervisor that gives up has crashed, where OTP's ends with `shutdown`: a transient one is started
again. The wait before a restart does not hold up the supervisor. Mailboxes outlive their readers. A
dynamic child's specification is given when it is started, as in Elixir. Specifications are checked
when they are made, not when they are used.
"""
