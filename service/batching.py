"""Brings the requests of many connections together into one teacher, which works in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from kdguard.distill.teachers.protocol import BAD_ANSWER, UNREACHABLE, Answer, Ask, Teacher, failed


@runtime_checkable
class Live(Protocol):
    """A teacher that takes asks while others are under way: `LocalTeacher`.

    `advance` returns answers, and before each of them the pieces of its text: values with `key`
    (`(request_id, choice)`), `text` and the tokens. An answer with an error is the only one of its ask.
    """

    name: str

    @property
    def busy(self) -> bool:
        """More comes out of `advance`."""
        ...

    def submit(self, ask: Ask) -> None:
        """Take an ask."""
        ...

    def advance(self) -> Sequence[Any]:
        """Work a little; return what came out."""
        ...

    def cancel(self, request_id: str) -> None:
        """Drop an ask."""
        ...


class Ended(NamedTuple):
    """No more answers come for an ask, though it wanted more choices."""

    request_id: str


class Whole:
    """Any other teacher as a `Live` one: it answers in batches, and nothing comes out before the answer."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher, self.name = teacher, teacher.name
        self._asks: list[Ask] = []

    @property
    def busy(self) -> bool:
        """Asks wait."""
        return bool(self._asks)

    def submit(self, ask: Ask) -> None:
        """Take an ask for the next batch."""
        self._asks.append(ask)

    def advance(self) -> list[Answer | Ended]:
        """Answer all that wait."""
        asks, self._asks = self._asks, []
        return [*self._teacher.answer(asks), *(Ended(ask.request_id) for ask in asks)]

    def cancel(self, request_id: str) -> None:
        """Drop an ask that still waits."""
        self._asks = [ask for ask in self._asks if ask.request_id != request_id]


@dataclass(slots=True)
class _Ticket:
    ask: Ask
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Any]
    left: int


class Batcher:
    """One thread that owns a teacher.

    Args:
        teacher: The teacher; nobody else may use it while the batcher runs.

    Attributes:
        load: Choices that wait or are under way.
        broken: Why the teacher answers no more; None while it does.
    """

    def __init__(self, teacher: Teacher | Live) -> None:
        self._live: Live = teacher if isinstance(teacher, Live) else Whole(teacher)
        self._wake = threading.Condition()
        self._arrived: list[_Ticket] = []
        self._dropped: set[str] = set()
        self._open: dict[str, _Ticket] = {}
        self._stopping = False
        self.load = 0
        self.broken: str | None = None
        self._thread = threading.Thread(target=self._work, name="teacher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; what is under way is answered with an error."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    async def events(self, ask: Ask) -> AsyncGenerator[Any, None]:
        """Pieces and answers of one ask as they come, to the last answer of its choices.

        Leaving the iteration early drops the ask.
        """
        ticket = _Ticket(ask, asyncio.get_running_loop(), asyncio.Queue(), ask.n)
        with self._wake:
            self._arrived.append(ticket)
            self.load += ask.n
            self._wake.notify()
        finished = False
        try:
            while not finished:
                event, finished = await ticket.events.get()
                if not isinstance(event, Ended):
                    yield event
        finally:
            with self._wake:
                self.load -= ask.n
                if not finished:
                    self._dropped.add(ask.request_id)
                    self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._stopping or self._arrived or self._dropped or self._works):
                    self._wake.wait()
                arrived, self._arrived = self._arrived, []
                dropped, self._dropped = self._dropped, set()
                stopping = self._stopping
            self._open |= {ticket.ask.request_id: ticket for ticket in arrived}
            if stopping or self.broken:
                self._fail(self.broken or "the server is shutting down")
                if stopping:
                    return
                continue
            try:
                self._turn(arrived, dropped)
            except Exception as error:  # whatever a teacher raises, clients are told and the server stays up
                reason = f"the teacher failed: {type(error).__name__}"
                if not isinstance(self._live, Whole):  # its rows are in no known state
                    self.broken = reason
                self._fail(reason)

    @property
    def _works(self) -> bool:
        return self._live.busy and not self.broken

    def _turn(self, arrived: list[_Ticket], dropped: set[str]) -> None:
        for ticket in arrived:
            self._live.submit(ticket.ask)
        for request_id in dropped:
            if self._open.pop(request_id, None) is not None:
                self._live.cancel(request_id)
        for event in self._live.advance() if self._live.busy else ():
            self._hand(event.request_id if isinstance(event, Answer | Ended) else event.key[0], event)

    def _hand(self, request_id: str, event: Any) -> None:
        """Give an event to the connection that waits for it."""
        ticket = self._open.get(request_id)
        if ticket is None:
            return
        ended = isinstance(event, Ended)
        if ended and ticket.left == ticket.ask.n:
            event = failed(
                ticket.ask, self._live.name, status=BAD_ANSWER, error="no_answer: the teacher gave none"
            )
        if isinstance(event, Answer):
            ticket.left -= 1
        refused = isinstance(event, Answer) and event.status != 200 and not isinstance(self._live, Whole)
        finished = ended or refused or not ticket.left
        if finished:
            del self._open[request_id]
        try:
            ticket.loop.call_soon_threadsafe(ticket.events.put_nowait, (event, finished))
        except RuntimeError:  # its event loop is closed
            self._open.pop(request_id, None)

    def _fail(self, reason: str) -> None:
        for request_id, ticket in list(self._open.items()):
            self._hand(request_id, failed(ticket.ask, self._live.name, status=UNREACHABLE, error=reason))
            self._hand(request_id, Ended(request_id))
        self._open.clear()
