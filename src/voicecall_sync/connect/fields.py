"""The fields that contact flow events and described contacts share, read defensively.

Real data differs from its documentation. A field that is absent, null or of another type is "not known".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from voicecall_sync.contact import CALLBACK_DIALED, CallSubType, Initiation, is_empty, usable_id
from voicecall_sync.errors import InvalidInput, NotOurs

VOICE = "VOICE"
_SYSTEM_ENDPOINT_TAG = "aws:connect:systemEndpoint"
_DIRECTION = "connect:Direction"
_WEBRTC_API = "WEBRTC_API"
_WEBRTC_NUMBERS = ("WebRTC_From", "WebRTC_To")
_WEBRTC_DEFAULT = "WebRTC_Default"  # Salesforce's own Lambda sends this if the number is not known


# API is missing here: it depends on the stated direction, or else on the endpoints. MONITOR, DISCONNECT, FLOW and
# similar methods have no direction: the contact's direction stays unknown.
INITIATIONS = MappingProxyType(
    {
        "INBOUND": Initiation.INBOUND,
        "WEBRTC_API": Initiation.INBOUND,
        "OUTBOUND": Initiation.OUTBOUND,
        "EXTERNAL_OUTBOUND": Initiation.OUTBOUND,
        "TRANSFER": Initiation.TRANSFER,
        "QUEUE_TRANSFER": Initiation.TRANSFER,
        "CALLBACK": Initiation.CALLBACK,
        CALLBACK_DIALED: Initiation.CALLBACK,
    }
)


def parent_of(value: object, own: str) -> str | None:
    """Return the id of the contact before this one. A new contact may have its own id there, which does not count."""
    previous = usable_id(value)
    return previous if previous and previous != own else None


def require_voice(channel: object, path: str) -> None:
    """Require that a contact is a telephone call.

    Raises:
        InvalidInput: The channel is not stated.
        NotOurs: The channel is not VOICE.
    """
    text = text_of(channel)
    if text is None:
        raise InvalidInput(path, "the channel of the contact, VOICE for a call")
    if text.upper() != VOICE:
        raise NotOurs(f"not a voice contact ({path})")


def direction_of(
    data: Mapping[str, object], attributes: Mapping[str, object]
) -> tuple[Initiation | None, str | None, str | None]:
    """Return how the contact began, its caller's number and the number called.

    As in Salesforce's own Lambdas, the caller's number is ours for OUTBOUND and CALLBACK, else the customer's. They
    take every API contact for INBOUND. But a voice contact with a customer's telephone number comes from
    StartOutboundVoiceContact. So it is OUTBOUND here, unless Connect states the direction.
    """
    customer = mapping_of(data.get("CustomerEndpoint"))
    ours, theirs = _our_number(data), text_of(customer.get("Address"))
    method = method_of(data)
    initiation = INITIATIONS.get(method)
    if method == "API":
        called = customer.get("Type") == "TELEPHONE_NUMBER" and theirs is not None
        initiation = _stated_direction(data) or (Initiation.OUTBOUND if called else Initiation.INBOUND)
    if method == _WEBRTC_API:
        of_caller, of_called = (text_of(attributes.get(name)) for name in _WEBRTC_NUMBERS)
        return initiation, of_caller or theirs or _WEBRTC_DEFAULT, of_called or ours or _WEBRTC_DEFAULT
    if initiation in {Initiation.OUTBOUND, Initiation.CALLBACK}:
        return initiation, ours, theirs
    return initiation, theirs, ours


def method_of(data: Mapping[str, object]) -> str:
    """Return the initiation method, in upper case; "" where it is not stated."""
    return (text_of(data.get("InitiationMethod")) or "").upper()


def call_sub_type_of(data: Mapping[str, object]) -> CallSubType | None:
    """Return how the customer's voice came; None where the initiation method is not stated."""
    method = method_of(data)
    if not method:
        return None
    return CallSubType.WEBRTC if method == _WEBRTC_API else CallSubType.PSTN


def _our_number(data: Mapping[str, object]) -> str | None:
    """Return the system's number.

    Callbacks and queue transfers have no SystemEndpoint; there Connect sets a tag.
    """
    address = text_of(mapping_of(data.get("SystemEndpoint")).get("Address"))
    return address or text_of(mapping_of(data.get("Tags")).get(_SYSTEM_ENDPOINT_TAG))


def _stated_direction(data: Mapping[str, object]) -> Initiation | None:
    stated = text_of(mapping_of(mapping_of(data.get("SegmentAttributes")).get(_DIRECTION)).get("ValueString"))
    directions = (Initiation.INBOUND, Initiation.OUTBOUND)
    return next((direction for direction in directions if direction == (stated or "").upper()), None)


def filled(attributes: Mapping[str, object]) -> Mapping[str, object]:
    """Return the attributes that are not empty."""
    return {name: value for name, value in attributes.items() if not is_empty(value)}


def text_of(value: object) -> str | None:
    """Return a text without the blanks around it; None if it is empty, or of another type."""
    return value.strip() or None if isinstance(value, str) else None


def mapping_of(value: object) -> Mapping[str, object]:
    """Return a JSON object; an empty one for a value of another type."""
    return value if isinstance(value, Mapping) else {}
