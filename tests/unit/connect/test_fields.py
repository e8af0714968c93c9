from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.builders import (
    CONTACT_ID,
    CUSTOMER_NUMBER,
    INSTANCE_ID,
    SYSTEM_NUMBER,
    described,
    flow_contact,
)
from voicecall_sync.connect.described import from_described
from voicecall_sync.contact import CallSubType, Contact, Initiation
from voicecall_sync.outcome import Source

TELEPHONE = {"Type": "TELEPHONE_NUMBER", "Address": CUSTOMER_NUMBER}


# --- direction -----------------------------------------------------------------------------------------------------


def made_of(**members: Any) -> tuple[Contact, Contact]:
    """Return the same contact of a flow and as described."""
    return flow_contact(**members), from_described(described(**members), Source.CONTACT_EVENT)


INWARDS = (CUSTOMER_NUMBER, SYSTEM_NUMBER)
OUTWARDS = (SYSTEM_NUMBER, CUSTOMER_NUMBER)


@pytest.mark.parametrize(
    ("method", "initiation", "numbers"),
    [
        ("webrtc_api", Initiation.INBOUND, INWARDS),
        ("INBOUND", Initiation.INBOUND, INWARDS),
        ("Inbound", Initiation.INBOUND, INWARDS),
        ("OUTBOUND", Initiation.OUTBOUND, OUTWARDS),
        ("EXTERNAL_OUTBOUND", Initiation.OUTBOUND, OUTWARDS),
        ("CALLBACK", Initiation.CALLBACK, OUTWARDS),
        ("TRANSFER", Initiation.TRANSFER, INWARDS),
        ("QUEUE_TRANSFER", Initiation.TRANSFER, INWARDS),
        ("WEBRTC_API", Initiation.INBOUND, INWARDS),
        pytest.param("API", Initiation.OUTBOUND, OUTWARDS, id="API to a telephone"),
        ("MONITOR", None, INWARDS),
        ("DISCONNECT", None, INWARDS),
        ("something new", None, INWARDS),
        ("", None, INWARDS),
        (None, None, INWARDS),
        (7, None, INWARDS),
    ],
)
def test_the_way_a_contact_began_decides_who_called_whom(
    method: object, initiation: Initiation | None, numbers: tuple[str, str]
) -> None:
    for contact in (
        flow_contact(InitiationMethod=method),
        from_described(described(InitiationMethod=method), Source.CONTACT_EVENT),
    ):
        assert contact.initiation is initiation
        assert (contact.from_number, contact.to_number) == numbers


@pytest.mark.parametrize(
    "customer",
    [
        None,
        {},
        {"Type": "VOIP", "Address": "sip:x"},
        {"Type": "TELEPHONE_NUMBER", "Address": ""},
        {"Address": CUSTOMER_NUMBER},
    ],
)
def test_an_api_contact_without_a_telephone_called_in(customer: object) -> None:
    contact = flow_contact(InitiationMethod="API", CustomerEndpoint=customer)
    assert contact.initiation is Initiation.INBOUND
    assert contact.to_number == SYSTEM_NUMBER


@pytest.mark.parametrize(
    "endpoint", [{"Type": "VOIP", "Address": "user@example.com"}, {"Type": "CONTACT_FLOW", "Address": "flow"}]
)
def test_an_endpoint_of_another_type_still_has_its_address(endpoint: Mapping[str, str]) -> None:
    assert flow_contact(CustomerEndpoint=endpoint).from_number == endpoint["Address"]


TAGGED = {"aws:connect:instanceId": INSTANCE_ID, "aws:connect:systemEndpoint": "+18005550177"}


@pytest.mark.parametrize("endpoint", [None, {}, {"Address": None}, {"Address": " "}])
@pytest.mark.parametrize("method", ["CALLBACK", "QUEUE_TRANSFER", "INBOUND"])
def test_our_number_is_in_a_tag_without_an_endpoint(method: str, endpoint: object) -> None:
    members = {"InitiationMethod": method, "SystemEndpoint": endpoint}
    numbers = {CUSTOMER_NUMBER, "+18005550177"}
    for contact in made_of(Tags=TAGGED, **members):
        assert {contact.from_number, contact.to_number} == numbers
        assert (contact.from_number == CUSTOMER_NUMBER) is (method != "CALLBACK")
    for tags in (None, {}, {"aws:connect:systemEndpoint": ""}, "x"):
        for contact in made_of(Tags=tags, **members):
            assert {contact.from_number, contact.to_number} == {CUSTOMER_NUMBER, None}


def test_the_endpoint_goes_before_its_tag() -> None:
    assert {contact.to_number for contact in made_of(Tags=TAGGED)} == {SYSTEM_NUMBER}


@pytest.mark.parametrize(
    ("attributes", "numbers"),
    [
        ({"WebRTC_From": "web-7", "WebRTC_To": "shop"}, ("web-7", "shop")),
        ({"WebRTC_From": "web-7"}, ("web-7", SYSTEM_NUMBER)),
        ({"WebRTC_To": " shop "}, (CUSTOMER_NUMBER, "shop")),
        ({"WebRTC_From": "", "WebRTC_To": None}, INWARDS),
        ({"WebRTC_From": 7, "WebRTC_To": ["shop"]}, INWARDS),
        ({"webrtc_from": "web-7"}, INWARDS),
    ],
)
def test_attributes_say_the_numbers_of_a_web_call(attributes: Mapping[str, object], numbers: tuple[str, str]) -> None:
    for contact in made_of(InitiationMethod="WEBRTC_API", Attributes=attributes):
        assert (contact.from_number, contact.to_number) == numbers
    for contact in made_of(InitiationMethod="INBOUND", Attributes=attributes):
        assert (contact.from_number, contact.to_number) == INWARDS


def test_an_unknown_web_call_has_salesforces_default() -> None:
    nowhere = {"InitiationMethod": "WEBRTC_API", "CustomerEndpoint": None, "SystemEndpoint": None}
    for contact in made_of(**nowhere):
        assert (contact.from_number, contact.to_number) == ("WebRTC_Default", "WebRTC_Default")
    for contact in made_of(**nowhere, Tags=TAGGED):
        assert (contact.from_number, contact.to_number) == ("WebRTC_Default", "+18005550177")


def segment(direction: object) -> dict[str, object]:
    return {"connect:Subtype": {"ValueString": "connect:Telephony"}, "connect:Direction": {"ValueString": direction}}


@pytest.mark.parametrize(
    ("customer", "stated", "initiation"),
    [
        (TELEPHONE, "INBOUND", Initiation.INBOUND),
        (TELEPHONE, "Inbound", Initiation.INBOUND),
        (TELEPHONE, "OUTBOUND", Initiation.OUTBOUND),
        (None, "OUTBOUND", Initiation.OUTBOUND),
        (TELEPHONE, "SIDEWAYS", Initiation.OUTBOUND),
        (TELEPHONE, "", Initiation.OUTBOUND),
        (TELEPHONE, None, Initiation.OUTBOUND),
        (None, "TRANSFER", Initiation.INBOUND),
        (None, 5, Initiation.INBOUND),
    ],
)
def test_the_stated_direction_decides_for_an_api_contact(
    customer: object, stated: object, initiation: Initiation
) -> None:
    members = {"CustomerEndpoint": customer, "SegmentAttributes": segment(stated)}
    for contact in made_of(InitiationMethod="API", **members):
        assert contact.initiation is initiation
        ours = contact.from_number if initiation is Initiation.OUTBOUND else contact.to_number
        assert ours == SYSTEM_NUMBER
    for contact in made_of(InitiationMethod="TRANSFER", **members):
        assert contact.initiation is Initiation.TRANSFER


@pytest.mark.parametrize("segments", [None, "x", {"connect:Direction": "OUTBOUND"}, {"connect:Direction": None}])
def test_segment_attributes_of_another_shape_say_nothing(segments: object) -> None:
    for contact in made_of(InitiationMethod="API", CustomerEndpoint=None, SegmentAttributes=segments):
        assert contact.initiation is Initiation.INBOUND


@pytest.mark.parametrize(
    ("method", "sub_type"),
    [
        ("WEBRTC_API", CallSubType.WEBRTC),
        ("webrtc_api", CallSubType.WEBRTC),
        ("INBOUND", CallSubType.PSTN),
        ("CALLBACK", CallSubType.PSTN),
        ("NEW_NEXT_YEAR", CallSubType.PSTN),
        ("", None),
        (None, None),
    ],
)
def test_the_sub_type_goes_by_the_way_a_contact_began(method: str | None, sub_type: CallSubType | None) -> None:
    assert {contact.call_sub_type for contact in made_of(InitiationMethod=method)} == {sub_type}


PARENT = "5C31E6A0-F7B6-4425-96DA-92A3B4C5D6E7"


@pytest.mark.parametrize(
    ("previous", "parent"),
    [
        (PARENT, PARENT.lower()),
        ("an-older-id", "an-older-id"),
        (CONTACT_ID, None),
        (CONTACT_ID.upper(), None),
        (None, None),
        ("", None),
        ("../x", None),
        (5, None),
    ],
)
def test_the_parent_is_never_the_contact_itself(previous: object, parent: str | None) -> None:
    assert {contact.parent_contact_id for contact in made_of(PreviousContactId=previous)} == {parent}


def test_empty_attributes_are_absent() -> None:
    attributes = {"a": "", "b": " \t", "c": None, "d": "x", "e": False, "f": 0}
    for contact in made_of(Attributes=attributes):
        assert contact.attributes == {"d": "x", "e": False, "f": 0}


@pytest.mark.parametrize("endpoint", [{}, {"Address": None}, {"Address": 49}, {"Address": "  "}, "x", []])
def test_an_endpoint_without_an_address_is_unknown(endpoint: object) -> None:
    assert flow_contact(CustomerEndpoint=endpoint).from_number is None
