"""What the daily message counts of a table with many contacts. What operators get is in tests/handler."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from voicecall_sync.alarm_topic import AlarmTopic
from voicecall_sync.ledger.open_contacts import OpenContacts
from voicecall_sync.ledger.record import stored
from voicecall_sync.ledger.table import Item, Table
from voicecall_sync.outcome import State
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.queue.depth import Depth
from voicecall_sync.reconciliation.daily_message import DailyMessage
from voicecall_sync.reconciliation.summary import MOST_COUNTED

NOW = datetime(2026, 11, 29, 0, 7, tzinfo=UTC)
LONG_AGO, JUST_NOW = NOW - timedelta(days=9), NOW - timedelta(hours=1)
EMPTY = Depth(0, 0, 0)


def message_about(state: State, contacts: int) -> str:
    """The text for a table with so many contacts in a state: the oldest long ago, the newest just now."""

    def open_items(asked: State, *, newest_first: bool) -> Iterator[Item]:
        order = (JUST_NOW, LONG_AGO) if newest_first else (LONG_AGO, JUST_NOW)
        for number in range(contacts if asked is state else 0):
            since = stored(order[0] if number < contacts - 1 else order[1])
            yield {"contactId": f"c-{number}", "state": state.value, "since": since, "ownerUntil": since}

    table, topic = Mock(Table), Mock(AlarmTopic)
    table.open_items = open_items
    table.get.return_value = None
    queue = Mock(ContactQueue, depth=lambda: EMPTY, dead_letters=lambda: EMPTY)
    message = DailyMessage(OpenContacts(table, lambda: "owner"), queue, topic, "contoso")
    message.send_once_a_day(NOW, lambda: None, paused=False)
    call: Any = topic.publish.call_args
    return str(call.args[1])


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.REJECTED, State.CLAIMED])
def test_each_state_that_needs_an_operator_is_counted(state: State) -> None:
    assert f"  2 (1 new)  {state}" in message_about(state, 2)


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.REJECTED])
def test_of_too_many_the_newest_are_counted(state: State) -> None:
    text = message_about(state, MOST_COUNTED + 1)
    assert f"  {MOST_COUNTED} ({MOST_COUNTED} new)  {state}" in text
    assert "there may be more" in text


def test_of_too_many_that_wait_the_oldest_are_counted() -> None:
    text = message_about(State.NOT_APPLIED, MOST_COUNTED + 1)
    assert f"Contacts that wait in the contact queue: {MOST_COUNTED}\n  for more than a day: {MOST_COUNTED}\n" in text
    assert "there may be more" in text
