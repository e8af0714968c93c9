"""Which contacts are updated, and when all values of their one PATCH are known.

A PATCH is final. If it is sent too early, hold and talk time without a recording stay zero in Salesforce. Attributes
that the agent sets during after-contact work are lost. So the worker looks again when the next value is due, and then
sends the known values:

    awaited      while                                                                    looks again after (minutes)
    call         Amazon Connect describes no end of the call                              5, 10, 20, then every 60
    wrap-up      an agent was connected, after-contact work has no end, the call ended    5, 15, 60, at the end
                 less than 4 hours ago, and no COMPLETED event speaks for the contact
    recording    an agent was connected, there is no recording, and RECORDING_WAIT_       1, 2, then every 2, at the end
                 MINUTES are not over: since the COMPLETED event, else since the end of
                 after-contact work, else since the end of the call
    voicemail    the contact is marked as a voicemail, has no recording, and ended        1, 2, then every 2, at the end
                 less than 5 minutes ago

Amazon Connect stores a recording "shortly after the contact is disconnected". It lists the recording only once
after-contact work is over (Administrator Guide, "Set up recording behavior"). Without after-contact work, the time of
its end stays empty. COMPLETED is sent when it is over ("Amazon Connect contact events").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from voicecall_sync.calls import CallRules
from voicecall_sync.contact import UNKNOWN_TIME, Asked, Contact, Scope
from voicecall_sync.errors import NotOurs, NotYet
from voicecall_sync.ledger.record import Record
from voicecall_sync.outcome import Awaited, Source

WRAP_UP_WAIT = timedelta(hours=4)
"""How long after-contact work may go on if Amazon Connect does not describe its end."""
_ONLY_MISSED = frozenset({Scope.ABANDONED, Scope.UNANSWERED})
_LOOKS: Mapping[Awaited, Sequence[int]] = {
    Awaited.CALL: (5, 10, 20, 60),
    Awaited.WRAP_UP: (5, 15, 60, 240),  # the last one is cut at the end of the 4 hours
    Awaited.RECORDING: (1, 2),
    Awaited.VOICEMAIL: (1, 2),
}
"""Minutes between two looks; the last number repeats."""


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The settings that say which contacts are updated, and when.

    Attributes:
        calls: They say which contacts are calls.
        not_before: Contacts that ended before it belong to another system, except released ones. None without a bound.
        recording_wait: How long a recording may take; zero if calls are not recorded.
    """

    calls: CallRules
    not_before: datetime | None
    recording_wait: timedelta

    def require(self, contact: Contact, asked: Asked, record: Record | None, now: datetime) -> None:
        """Require that a described contact is ours to update, and that all its values are known.

        Raises:
            NotOurs, NotYet: As for the two methods below.
        """
        self.require_ours(contact, asked, record, now)
        self.require_known(contact, asked, record, now)

    def require_ours(self, contact: Contact, asked: Asked, record: Record | None, now: datetime) -> None:
        """Require that a contact is ours to update. A released one is.

        Args:
            contact: The described contact.
            asked: The event or message that asked for its update.
            record: Its record; None without one.
            now: The time of day.

        Raises:
            NotOurs: It is not ours; NotListed if its initiation method does not count.
            NotYet: It may be a voicemail of Salesforce's packager.
        """
        if record is not None and record.released_at is not None:
            return
        ended = contact.disconnected_at
        if self.not_before is not None and ended is not None and ended < self.not_before:
            raise NotOurs("it ended before RECONCILE_NOT_BEFORE: not ours to update")
        _require_missed(contact, asked, record)
        self._require_call(contact, record, now)

    def require_known(self, contact: Contact, asked: Asked, record: Record | None, now: datetime) -> None:
        """Require that Connect describes all values of an answered contact, or that the wait for them is over.

        Raises:
            NotYet: A value may still come.
        """
        ended = contact.disconnected_at
        if contact.connected_to_agent_at is None or ended is None:
            return
        completed_at = asked.completed_at
        if completed_at is None and record is not None:
            completed_at = record.completed_at or _claimed_for_an_event(record)
        if completed_at is None and contact.work_ended_at is None:
            _wait(Awaited.WRAP_UP, "after-contact work may still go on", record, now, ended + WRAP_UP_WAIT)
        if contact.recording is None:
            counts = completed_at is not None and ended <= completed_at <= now
            since = completed_at if completed_at is not None and counts else contact.work_ended_at or ended
            _wait(Awaited.RECORDING, "the recording may still come", record, now, since + self.recording_wait)

    def _require_call(self, contact: Contact, record: Record | None, now: datetime) -> None:
        """Apply the methods, the opt-out and the packager's voicemails, unless an operator asked for the contact."""
        met_by = record.first_source if record is not None else None
        if met_by == Source.OPERATOR or (record is not None and record.named_at is not None):
            return
        self.calls.require_wanted(contact)
        until = self.calls.may_be_voicemail_until(contact)
        if until is not None:
            reason = "it has the attribute of VOICEMAIL_ATTRIBUTE, and no recording yet"
            _wait(Awaited.VOICEMAIL, reason, record, now, until)
        if met_by != Source.CONTACT_FLOW:  # a flow asked for it
            self.calls.require_listed(contact)


def still_up(record: Record | None, now: datetime) -> NotYet:
    """Return the error for a contact whose call is still up."""
    reason = "Amazon Connect does not describe the contact as finished yet"
    return NotYet(Awaited.CALL, reason, next_look(Awaited.CALL, record, now))


def next_look(awaited: Awaited, record: Record | None, now: datetime) -> datetime:
    """Return when to look again at a waiting contact, counted from the first look."""
    since = now
    if record is not None and record.waits_for == awaited and record.waits_since is not None:
        since = min(record.waits_since, now)
    looks = [since + timedelta(minutes=minutes) for minutes in accumulate(_LOOKS[awaited])]
    last, every = looks[-1], timedelta(minutes=_LOOKS[awaited][-1])
    return next((look for look in looks if look > now), last + ((now - last) // every + 1) * every)


def _claimed_for_an_event(record: Record) -> datetime | None:
    """Return the unknown time if an event's message claimed the contact at once: its time was never noted."""
    return UNKNOWN_TIME if Source.CONTACT_EVENT in {record.source, record.first_source} else None


def _wait(awaited: Awaited, reason: str, record: Record | None, now: datetime, until: datetime) -> None:
    if now < until:
        raise NotYet(awaited, reason, min(next_look(awaited, record, now), until))


def _require_missed(contact: Contact, asked: Asked, record: Record | None) -> None:
    """Require that a contact found as a missed call is still one, because the search's index lags."""
    if asked.source is Source.CONTACT_EVENT or record is None or record.scope not in _ONLY_MISSED:
        return
    if contact.connected_to_agent_at is not None:
        raise NotOurs("not missed: it was connected to an agent")
    if contact.handed_on:
        raise NotOurs("not missed: the call went on as another contact")
