"""Which contacts are calls to update: their initiation method and their attributes decide.

By default they are the contacts of Salesforce's own Lambda CTRDataSync (service-cloud-voice/ServiceCloudVoiceLambdas).
Contacts of another kind would make a second VoiceCall for the same call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from voicecall_sync.contact import CALLBACK_DIALED, CALLBACK_QUEUED, Contact, FoundContact
from voicecall_sync.errors import NotListed, NotOurs

METHODS = ("INBOUND", "OUTBOUND", "TRANSFER", "CALLBACK", "API", "WEBRTC_API")
"""The initiation methods that count as calls by default."""
VOICEMAIL_WAIT = timedelta(minutes=5)
"""How long after its end a contact that is marked as a voicemail may still get its recording."""
CALLBACK_ATTRIBUTE = "callback_flag"
"""The attribute of a caller who accepted a callback; Salesforce's sample flows set it."""
_CALLBACKS = frozenset({"CALLBACK", CALLBACK_DIALED, CALLBACK_QUEUED})

Successors = Mapping[str, Sequence[FoundContact]]
"""A contact's id -> the contacts that name it as their PreviousContactId."""


@dataclass(frozen=True, slots=True)
class CallRules:
    """The settings that say which contacts are calls.

    Attributes:
        methods: The initiation methods, in upper case.
        opt_out: The attribute that excludes a contact.
        voicemail: The attribute that marks a voicemail of Salesforce's packager.
    """

    methods: frozenset[str]
    opt_out: str
    voicemail: str

    def lists(self, method: str) -> bool:
        """Tell whether contacts with this method count. The leg that a callback dials counts as a callback."""
        return method in self.methods or (method == CALLBACK_DIALED and "CALLBACK" in self.methods)

    def searched(self) -> list[str]:
        """Return the methods to search for."""
        dialed = [CALLBACK_DIALED] if "CALLBACK" in self.methods else []
        return sorted({*self.methods, *dialed})

    def require_listed(self, contact: Contact) -> None:
        """Require that a contact's initiation method counts.

        Raises:
            NotListed: It does not.
        """
        if not self.lists(contact.method):
            raise NotListed(f"its initiation method is not in INITIATION_METHODS: {_named(contact.method)}")

    def require_wanted(self, contact: Contact) -> None:
        """Require that a contact did not opt out, and that Salesforce's packager does not update it.

        Raises:
            NotOurs: The contact opted out, or the packager updates it.
        """
        if is_set(contact.attributes.get(self.opt_out)):
            raise NotOurs("it has the attribute of OPT_OUT_ATTRIBUTE")
        if contact.has_recordings and is_set(contact.attributes.get(self.voicemail)):
            raise NotOurs("a voicemail: Salesforce's packager updates it")

    def may_be_voicemail_until(self, contact: Contact) -> datetime | None:
        """Return when to stop waiting for a contact's voicemail: by then its caller has left no message.

        None for a contact that is not marked as a voicemail, or has a recording.
        """
        if contact.disconnected_at is None or contact.has_recordings:
            return None
        return contact.disconnected_at + VOICEMAIL_WAIT if is_set(contact.attributes.get(self.voicemail)) else None


def is_set(value: object) -> bool:
    """Tell whether an attribute is set: it is not empty and not ``false``."""
    return value is not None and str(value).strip().lower() not in {"", "false"}


def callback_accepted(contact: Contact) -> bool:
    """Tell whether a call ended without an agent because its caller accepted a callback."""
    unanswered = not contact.still_up and contact.connected_to_agent_at is None
    return unanswered and is_set(contact.attributes.get(CALLBACK_ATTRIBUTE))


def ended_unanswered(contact: FoundContact, successors: Successors, rules: CallRules) -> bool:
    """Tell whether a call that went on ended without an agent or a callback, and this leg represents it.

    A caller who moved to another queue and hung up there is one missed call. The last leg whose method counts
    represents it, so no later leg's method may count.
    """
    later = _later_legs(contact, successors)
    return all(
        leg.disconnected_at is not None
        and leg.connected_to_agent_at is None
        and leg.method not in _CALLBACKS
        and not rules.lists(leg.method)
        for leg in later
    )


def was_enqueued(contact: FoundContact, successors: Successors) -> bool:
    """Tell whether a call waited in a queue, in this leg or a later one."""
    return any(leg.enqueued_at is not None for leg in (contact, *_later_legs(contact, successors)))


def _later_legs(contact: FoundContact, successors: Successors) -> list[FoundContact]:
    seen = {contact.contact_id: contact}
    todo = [contact.contact_id]
    while todo:
        for leg in successors.get(todo.pop(), ()):
            if leg.contact_id not in seen:  # Connect should not report a circle, but it would not end
                seen[leg.contact_id] = leg
                todo.append(leg.contact_id)
    return list(seen.values())[1:]


def _named(method: str) -> str:
    """Return a method for a log line: it is Connect's word, never the caller's."""
    return method[:60] if method.isascii() and method.replace("_", "").isalnum() else "unknown"
