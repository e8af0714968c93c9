"""Reads a contact flow's event and a contact event: the contact's id, and from a flow's event the contact itself.

The Amazon Connect Administrator Guide documents both. Its pages are "Grant Amazon Connect access to your AWS Lambda
functions" and "Amazon Connect contact events". A few fields are needed to know the contact. If one is missing or wrong,
``InvalidInput`` names it.
"""

from __future__ import annotations

from collections.abc import Mapping

from voicecall_sync.connect.fields import (
    call_sub_type_of,
    direction_of,
    filled,
    mapping_of,
    parent_of,
    require_voice,
    text_of,
)
from voicecall_sync.contact import Asked, Contact, contact_id_of, usable_id
from voicecall_sync.errors import InvalidInput, NotOurs
from voicecall_sync.outcome import Source
from voicecall_sync.parse import moment_of

FINISHED_EVENT_TYPE = "COMPLETED"
"""The earlier event DISCONNECTED does not do: after-contact work may go on, and talk time is not known yet."""


_CONTACT_EVENT = "Amazon Connect Contact Event"
_FLOW_EVENT_NAMES = frozenset({"ContactFlowEvent", "ContactFlowExecution"})


def asked_by(event: object) -> Asked:
    """Read the source and the contact id of an event; `from_flow` and `finished_contact_id` read the rest.

    Raises:
        InvalidInput: It is neither a contact flow's event nor a contact event.
    """
    if isinstance(event, Mapping):
        if "Details" in event or text_of(event.get("Name")) in _FLOW_EVENT_NAMES:
            details = mapping_of(event.get("Details"))
            contact_id = usable_id(mapping_of(details.get("ContactData")).get("ContactId"))
            return Asked(Source.CONTACT_FLOW, contact_id, details)
        if event.get("detail-type") == _CONTACT_EVENT:
            detail = {str(name).lower(): value for name, value in mapping_of(event.get("detail")).items()}
            contact_id = usable_id(detail.get("contactid"))
            return Asked(Source.CONTACT_EVENT, contact_id, detail, moment_of(event.get("time")))
    raise InvalidInput("event", f'a contact flow\'s event, or an EventBridge event of type "{_CONTACT_EVENT}"')


def from_flow(asked: Asked, instance_id: str) -> Contact:
    """Make a contact from the event of an "Invoke AWS Lambda function" block.

    The event lacks timestamps, disconnect reason, agent and recording. Only Parameters can give them.

    Args:
        asked: Its details are ``{"ContactData": {…}, "Parameters": {…}}``.
        instance_id: Our Connect instance.

    Raises:
        InvalidInput: A field that the update needs is missing or wrong.
        NotOurs: The contact is not a voice contact, or belongs to another instance.
    """
    details = asked.details
    data = _required_mapping(details, "ContactData", "Details.ContactData")
    contact_id = contact_id_of(data.get("ContactId"), "Details.ContactData.ContactId")
    path = "Details.ContactData.InstanceARN"
    if text_of(data.get("InstanceARN")) is None:
        raise InvalidInput(path, "the ARN of an Amazon Connect instance")
    _require_instance(data["InstanceARN"], instance_id, path)
    require_voice(data.get("Channel"), "Details.ContactData.Channel")
    attributes = filled(_optional_mapping(data, "Attributes", "Details.ContactData.Attributes"))
    initiation, from_number, to_number = direction_of(data, attributes)
    return Contact(
        contact_id=contact_id,
        source=Source.CONTACT_FLOW,
        still_up=True,
        initiation=initiation,
        from_number=from_number,
        to_number=to_number,
        call_sub_type=call_sub_type_of(data),
        parent_contact_id=parent_of(data.get("PreviousContactId"), contact_id),
        queue=text_of(mapping_of(data.get("Queue")).get("Name")),
        attributes=attributes,
        parameters=_optional_mapping(details, "Parameters", "Details.Parameters"),
    )


def finished_contact_id(asked: Asked, instance_id: str) -> str:
    """Return the id of the finished voice contact in a contact event.

    A contact event lacks the attributes, the customer's endpoint, the queue's name and the disconnect reason. So only
    the id is taken from it, and DescribeContact gives the rest.

    Args:
        asked: Its details are the event's ``detail``, with names in lower case.
        instance_id: Our Connect instance.

    Raises:
        InvalidInput: A field that the event must have is missing or wrong.
        NotOurs: The contact is not a voice contact, not finished, or belongs to another instance.
    """
    detail = asked.details
    contact_id = contact_id_of(detail.get("contactid"), "detail.contactId")
    _require_instance(detail.get("instancearn"), instance_id, "detail.instanceArn")
    require_voice(detail.get("channel"), "detail.channel")
    event_type = text_of(detail.get("eventtype"))
    if event_type is None:
        raise InvalidInput("detail.eventType", "the name of a contact event, such as COMPLETED")
    if event_type.upper() != FINISHED_EVENT_TYPE:
        raise NotOurs("the contact is not finished: detail.eventType is not COMPLETED")
    return contact_id


def _require_instance(arn: object, instance_id: str, path: str) -> None:
    """Require that an ARN, if there is one, is our instance's. Some samples shorten the ARN, so only its end counts."""
    text = text_of(arn)
    if text is None:
        return
    if text.rpartition("instance/")[2].partition("/")[0].lower() != instance_id.lower():
        raise NotOurs(f"the contact belongs to another Amazon Connect instance ({path})")


def _optional_mapping(parent: Mapping[str, object], name: str, path: str) -> Mapping[str, object]:
    value = parent.get(name)
    return {} if value is None else _required_mapping(parent, name, path)


def _required_mapping(parent: Mapping[str, object], name: str, path: str) -> Mapping[str, object]:
    value = parent.get(name)
    if not isinstance(value, Mapping):
        raise InvalidInput(path, "an object")
    return value
