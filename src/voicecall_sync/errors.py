"""The errors before a contact is claimed, and what they become.

    VoiceCallSyncError
    ├── InvalidInput        the event or a parameter is wrong, and stays so        sync -> INVALID
    ├── NotOurs             not a voice contact, not finished, another instance    sync -> IGNORED
    │   └── NotListed           its initiation method does not count
    ├── NotReady            a failure on our side; nothing was claimed or sent     sync -> RETRY_LATER
    │   ├── WrongSettings       a variable is missing or wrong
    │   ├── SecretUnusable      the secret cannot be read, has another form, or is for another endpoint
    │   ├── ConnectUnavailable  Amazon Connect did not describe the contact
    │   │   └── SearchRefused       it refused the search's filters
    │   ├── NotFinishedYet      the event says finished, the described contact does not
    │   ├── NotYet              nothing failed; a value of the contact may still come
    │   ├── LedgerUnavailable   the table did not answer, or refused
    │   ├── SalesforceUnreachable  no connection: name, TCP, TLS or certificate
    │   ├── SalesforceFailing   the breaker is open: several contacts in a row had no answer
    │   ├── QueueUnavailable    the contact queue did not answer, or refused
    │   ├── TopicUnavailable    the alarm topic did not answer, or refused
    │   └── TooLittleTime       the invocation would not outlive a PATCH and its settling
    └── Redeliver           raised for a contact event that was given directly, so that it comes again

Messages name fields, variables and operations. They appear in logs, in contact flows and in the dead-letter queue. So
they never hold a value of an event, a secret or a record. One exception is the endpoint that a secret states. Between
claim and settle, a failure is a value instead of an exception: see ``outcome.Settlement``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from voicecall_sync.outcome import Awaited


class VoiceCallSyncError(Exception):
    """Any failure this package expects."""


class InvalidInput(VoiceCallSyncError):  # noqa: N818 - the name says what is wrong, like its siblings
    """The event, or a parameter in it, is wrong, and stays wrong.

    Args:
        field: The path of the field, such as ``Details.ContactData.ContactId``.
        expected: The expected value, to be read after "must be".
    """

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field} must be {expected}")
        self.field = field


class NotOurs(VoiceCallSyncError):  # noqa: N818
    """A valid event about a contact that is not ours to update."""


class NotListed(NotOurs):
    """A contact whose initiation method is not in INITIATION_METHODS."""


class NotReady(VoiceCallSyncError):  # noqa: N818
    """Something on our side failed before the claim: nothing was claimed, nothing sent.

    Attributes:
        due: The earliest useful time for the next look, if it is known.
        awaits: What the contact waits for; None for a failure.
    """

    due: datetime | None = None
    awaits: Awaited | None = None


class WrongSettings(NotReady):
    """A variable of the environment is missing or wrong."""


class SecretUnusable(NotReady):
    """The secret gives no token."""


class ConnectUnavailable(NotReady):
    """Amazon Connect's API failed."""


class SearchRefused(ConnectUnavailable):
    """Amazon Connect refused the search's filters."""


class NotFinishedYet(NotReady):
    """Connect does not describe the contact as ended yet."""


class NotYet(NotReady):
    """A value of the contact may still come. The worker looks again; this is not a failure.

    Args:
        awaits: What the contact waits for.
        message: The same, for the operator.
        due: When to look again.
    """

    def __init__(self, awaits: Awaited, message: str, due: datetime) -> None:
        super().__init__(message)
        self.awaits = awaits
        self.due = due


class LedgerUnavailable(NotReady):
    """The idempotency table failed."""


class SalesforceUnreachable(NotReady):
    """No connection to Salesforce could be opened."""


class SalesforceFailing(NotReady):
    """Salesforce has not answered for several contacts in a row; see ``breaker``."""

    def __init__(self, due: datetime) -> None:
        super().__init__("Salesforce did not answer for the last contacts, so nothing is sent for a while")
        self.due = due


class QueueUnavailable(NotReady):
    """The contact queue, or the dead-letter queue, failed."""


class TopicUnavailable(NotReady):
    """The alarm topic failed."""


class TooLittleTime(NotReady):
    """The invocation's remaining time is too short for a PATCH and its settling."""


class Redeliver(VoiceCallSyncError):  # noqa: N818
    """Raised for a contact event that was given directly, without the queue, so that it comes again."""


@contextmanager
def failing_as(error: Callable[[Exception], VoiceCallSyncError]) -> Iterator[None]:
    """Turn each exception that a library raises into one of ours. Our own pass through.

    This is the one place that catches every type: for an answer that it cannot read, botocore may raise any.

    Args:
        error: Makes our error of the library's. It must not repeat the library's message; see ``aws_reason``.
    """
    try:
        yield
    except VoiceCallSyncError:
        raise
    except Exception as failure:  # noqa: BLE001 - see above
        raise error(failure) from None


def aws_reason(failure: Exception) -> str:
    """Name a failure of botocore's without its message, because that may hold written or read values.

    Args:
        failure: A ``ClientError``, which is named by its code; any other exception is named by its type.
    """
    response = getattr(failure, "response", None)
    return str(response["Error"]["Code"]) if isinstance(response, dict) else type(failure).__name__
