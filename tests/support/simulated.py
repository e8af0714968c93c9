"""The worker, contact flows and the schedule on a clock that jumps, with contacts of Connect's; see `Simulation`."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.contacts import RECORDING, contact_event, described, new_id
from tests.support.sandbox import frugal_session, timings_of_tests
from tools.local.hand_clock import HandClock
from tools.local.local_stack import JWT_LASTS, LocalStack
from tools.local.simulation import Sandbox, Simulation
from voicecall_sync.clock import TIMINGS
from voicecall_sync.queue.coming_back import LONGEST

LADDER = TIMINGS.ladder
SPARSE = (*LADDER, LONGEST.total_seconds())
"""A ladder with which a week takes few attempts, for what does not depend on how many they are."""
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class World(Simulation):
    """A simulation that knows how to make calls."""

    def __init__(self, stack: LocalStack, clock: HandClock, ladder: tuple[float, ...] = LADDER, **options: Any) -> None:
        self._ladder = ladder
        self._contacts: dict[str, dict[str, Any]] = {}
        super().__init__(stack, clock, session=frugal_session, **options)
        self._store_token()

    def new_sandbox(self) -> Sandbox:
        """Return a cold sandbox, with the time-outs that the environment names now."""
        self.timings = replace(timings_of_tests(), ladder=self._ladder)
        return super().new_sandbox()

    def _store_token(self) -> None:
        """Store a token instead of the key, and a new one whenever that is about to expire."""
        self.stack.put_secret(self.stack.jwt_secret())
        self.plan(self.now + JWT_LASTS - HOUR, self._store_token)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def answered(self, *, ago: timedelta = timedelta(), **changes: Any) -> str:
        """A call that an agent took, ended so long ago; return its id."""
        end = self.now - ago
        agent = {
            "Id": "agent-jane",
            "ConnectedToAgentTimestamp": end - 3 * MINUTE,
            "AgentInitiatedHoldDuration": 10,
            "AfterContactWorkStartTimestamp": end,
            "AfterContactWorkEndTimestamp": end,
        }
        return self.abandoned(ago=ago, **{"AgentInfo": agent, "Recordings": [RECORDING], **changes})

    def abandoned(self, *, ago: timedelta = timedelta(), **changes: Any) -> str:
        """A caller who waited in the queue and hung up so long ago; return the contact's id."""
        end = self.now - ago
        times = {
            "InitiationTimestamp": end - 5 * MINUTE,
            "QueueInfo": {"Id": "queue-support", "EnqueueTimestamp": end - 4 * MINUTE},
            "DisconnectTimestamp": end,
        }
        contact = described(new_id(), **{**times, "AgentInfo": None, "Recordings": None, **changes})
        return self.change(str(contact["Id"]), **contact)

    def change(self, contact_id: str, **changes: Any) -> str:
        """Let Connect describe a contact differently from now on; a change to None takes something out."""
        contact = {**self._contacts.get(contact_id, {}), **changes}
        self._contacts[contact_id] = {name: value for name, value in contact.items() if value is not None}
        self.stack.connect.put_contact(self._contacts[contact_id])
        return contact_id

    def fail_describing(self, times: int) -> None:
        """Let Connect fail so many times to describe a contact, with botocore's second tries."""
        self.stack.connect.fail_next("DescribeContact", "InternalServiceException", 500, times=2 * times)

    def tell_later(self, contact_id: str) -> None:
        """Let the event of a contact come in an hour."""
        self.plan(self.now + HOUR, lambda: self.told(contact_id))

    def lose(self, contact_id: str) -> None:
        """Lose all messages of a contact."""
        for message in self.stack.queue.messages:
            if contact_id in message.body:
                self.stack.queue.lose(message.id)

    def set(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        """Deploy other settings: variables of the functions, "now" for the moment, or the schedule (`every`)."""
        if "every" in settings:
            self.schedule(settings.pop("every"))
        elif self.every is None:
            self.schedule(HOUR)
        for name, value in settings.items():
            monkeypatch.setenv(name, self.now.isoformat() if value == "now" else value)
        self.mapping.is_enabled = settings.get("RECONCILE_PAUSED") != "true"
        self.renew()

    def redrive(self) -> None:
        """Move the dead-letter queue's messages back, as an operator does."""
        self.stack.sqs.start_message_move_task(
            SourceArn=self.stack.dead_letters.arn, DestinationArn=self.stack.queue.arn
        )

    def told(self, contact_id: str | None = None, **changes: Any) -> str:
        """An answered call, or the one given, whose event comes to the queue now; return its id."""
        contact_id = contact_id or self.answered()
        self.tell({**contact_event(contact_id, **changes), "time": self.now.isoformat()})
        return contact_id

    def live(self, contact_id: str) -> int:
        """How many messages of a contact are in the contact queue."""
        return sum(contact_id in body for body in self.stack.queue.bodies)

    def parked(self, contact_id: str) -> int:
        """How many messages of a contact are in the dead-letter queue."""
        return sum(contact_id in body for body in self.stack.dead_letters.bodies)

    def record(self, contact_id: str) -> dict[str, Any]:
        """Return the contact's record, its values plain text; empty without a record."""
        item = self.stack.record(contact_id) or {}
        return {name: next(iter(value.values())) for name, value in item.items()}

    def moment(self, contact_id: str, name: str) -> timedelta:
        """Return how far ahead a moment of the record lies."""
        return timedelta(seconds=round(float(self.record(contact_id)[name]) - self.now.timestamp(), 3))

    def attempts_at(self, contact_id: str) -> list[timedelta]:
        """When the contact's messages were handed to the worker, from the first time on."""
        moments = [moment for moment, delivery in self.deliveries if contact_id in delivery.body]
        return [moment - moments[0] for moment in moments]
