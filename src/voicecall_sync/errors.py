"""What can go wrong before a contact is claimed, and who should catch it.

    VoiceCallSyncError
    ├── InvalidInput        the event or a parameter is wrong, and stays so        sync -> INVALID
    ├── NotOurs             not a voice contact, not finished, another instance    sync -> IGNORED
    │   └── NotListed           its initiation method does not count
    ├── NotReady            a failure on our side; nothing was claimed or sent     sync -> RETRY_LATER
    │   ├── WrongSettings       a variable is missing or wrong
    │   ├── SecretUnusable      the secret cannot be read, or is none of the four forms
    │   ├── ConnectUnavailable  Amazon Connect did not tell us of the contact
    │   │   └── SearchRefused       it refused how it was asked to search
    │   ├── NotFinishedYet      the event says finished, the described contact does not
    │   ├── NotYet              nothing failed; something of the contact is still to come
    │   ├── LedgerUnavailable   the table did not answer, or refused
    │   ├── SalesforceUnreachable  no connection: name, TCP, TLS or certificate
    │   ├── SalesforceFailing   the breaker is open: several contacts in a row had no answer
    │   ├── QueueUnavailable    the contact queue did not answer, or refused
    │   └── TooLittleTime       the invocation would not outlive a PATCH and its settling
    └── Redeliver           what a contact event that was given directly raises, so that it comes again

Messages name fields, variables and operations. They never hold a value out of an event, a secret or a
record: they end in logs, in a contact flow and beside a message in the dead-letter queue.
What happens between claim and settle is no exception but a value: see ``outcome.Settlement``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from voicecall_sync.outcome import Awaited


class VoiceCallSyncError(Exception):
    """Any failure this package expects."""


class InvalidInput(VoiceCallSyncError):  # noqa: N818 - named for what it says, as its siblings are
    """The event, or a parameter in it, is wrong: trying again cannot mend it.

    Args:
        field: Where it is, as a path such as ``Details.ContactData.ContactId``.
        expected: What would be right, to be read after "must be".
    """

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field} must be {expected}")
        self.field = field


class NotOurs(VoiceCallSyncError):  # noqa: N818
    """A sound event about a contact that is no business of ours."""


class NotListed(NotOurs):
    """A contact that began in a way that is not in INITIATION_METHODS."""


class NotReady(VoiceCallSyncError):  # noqa: N818
    """Something on our side failed before the claim: nothing was claimed, nothing sent.

    Attributes:
        due: From when on it makes sense to try again, where that is known.
        awaits: What the contact waits for; None for a failure.
    """

    due: datetime | None = None
    awaits: Awaited | None = None


class WrongSettings(NotReady):
    """A variable of the environment is missing or wrong."""


class SecretUnusable(NotReady):
    """No token can be had from the secret."""


class ConnectUnavailable(NotReady):
    """Amazon Connect's API failed."""


class SearchRefused(ConnectUnavailable):
    """Amazon Connect refused how it was asked to search."""


class NotFinishedYet(NotReady):
    """Connect's description of the contact does not say yet that it ended."""


class NotYet(NotReady):
    """Something of the contact is still to come: the worker looks again, and that is not a failure.

    Args:
        awaits: What is still to come.
        message: The same for a person.
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
    """Salesforce has just left several contacts without an answer; see ``breaker``."""

    def __init__(self, due: datetime) -> None:
        super().__init__("Salesforce did not answer for the last contacts, so nothing is sent for a while")
        self.due = due


class QueueUnavailable(NotReady):
    """The contact queue, or the dead-letter queue, failed."""


class TooLittleTime(NotReady):
    """What is left of the invocation is less than a PATCH and its settling need."""


class Redeliver(VoiceCallSyncError):  # noqa: N818
    """Raised for a contact event that was given directly, without the queue: give it again."""


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
    """Name a failure of botocore's without its message, which may hold what was written or read.

    Args:
        failure: A ``ClientError``, whose code is taken, or any other exception, whose type is.
    """
    response = getattr(failure, "response", None)
    return str(response["Error"]["Code"]) if isinstance(response, dict) else type(failure).__name__
