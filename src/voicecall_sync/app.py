"""The composition root: what the handlers need, put together once per sandbox, at the first event.

Nothing runs at import but imports. Tests build the same root, with simulators behind it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from boto3 import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from voicecall_sync import reconcile_request
from voicecall_sync import settings as environment
from voicecall_sync.attempt import Salesforce
from voicecall_sync.backlog import Backlog
from voicecall_sync.clock import TIMINGS, Clock, Deadline, Moments, SystemClock, Timings
from voicecall_sync.connect import Connect
from voicecall_sync.contact import Asked, asked_by, finished_contact_id, from_flow
from voicecall_sync.errors import InvalidInput, Redeliver, SecretUnusable, WrongSettings, aws_reason
from voicecall_sync.ledger import Ledger
from voicecall_sync.outcome import Outcome, Source, Status
from voicecall_sync.pace import Pacer
from voicecall_sync.reconcile import Means, Reconciliation
from voicecall_sync.report import Report
from voicecall_sync.settings import Settings
from voicecall_sync.sync import Sync, expecting
from voicecall_sync.table import Table
from voicecall_sync.token import TokenSource

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

AWS_TRIES = 2
UNKNOWN_TIME_SECONDS = 30.0
"""What to assume is left where a context does not say, as in a test console."""
DESCRIBING_SECONDS = 8.0
"""What describing a contact, names and all, takes at the most, as a rule."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the environment makes of us.

    Attributes:
        connect: For single contacts.
        new_paced_client: Gives a client of Amazon Connect, always the same, that tries nothing again by itself.
    """

    settings: Settings
    sync: Sync
    backlog: Backlog
    connect: Connect
    new_paced_client: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class App:
    """Takes events.

    Attributes:
        parts: Gives the parts; raises WrongSettings. Called for each event, and so expected to remember.
    """

    parts: Callable[[], Parts]
    clock: Clock
    timings: Timings
    report: Report

    def update_voice_call(self, event: object, context: object) -> dict[str, str]:
        """Update the VoiceCall of the contact that an event tells of.

        Raises:
            Redeliver: An asynchronous event that must come again, or be kept in the dead-letter queue. Never raised
                for a contact flow's event.
        """
        try:
            asked = asked_by(event)
        except InvalidInput as failure:
            return self._answer(Outcome(Status.INVALID, "", str(failure)), "unknown", context)
        budget = self.timings.flow if asked.source is Source.CONTACT_FLOW else self.timings.contact
        moments = Moments.of(self.clock, self.timings, _remaining_seconds(context), budget)
        outcome = expecting(asked.contact_id, lambda: self._update(asked, moments))
        return self._answer(outcome, asked.source.value, context)

    def reconcile(self, event: object, context: object) -> dict[str, object]:
        """Run the reconciliation, as a schedule or a request by hand asks for it.

        Raises:
            InvalidInput: The request is wrong; the message names what.
            WrongSettings: A variable is missing or wrong.
        """
        remaining = _remaining_seconds(context)
        moments = Moments.of(self.clock, self.timings, remaining)
        try:
            parts = self.parts()
            request = reconcile_request.parse(event, parts.settings.usual, self.clock.now())
        except (InvalidInput, WrongSettings) as failure:
            self.report.stopped(str(failure))
            raise
        timings = self.timings
        # One more request to the table comes after the last contact: where to carry on. What is kept back for what
        # hangs is a part, at the most, of an invocation that is short.
        over = moments.over.later(-min(timings.settle, remaining / 10))
        sending = timings.settle + timings.answer
        call = min(timings.connect_connect + timings.connect_answer, remaining / 4)
        ample = timings.patch + timings.settle + DESCRIBING_SECONDS
        reserve = max(sending + timings.last_lines, min(ample, remaining / 2))
        means = self._means(parts, over.later(-sending - call))
        request_id = str(getattr(context, "aws_request_id", ""))
        run = Reconciliation(means, request, over, moments.lease, reserve, request_id)
        return run.run().as_answer()

    def _means(self, parts: Parts, latest: Deadline) -> Means:
        """Put together what one run works with: a Connect that paces its calls, the last before this moment."""
        settings = parts.settings
        per_second = {
            "SearchContacts": settings.searches_per_second,
            "DescribeContact": settings.describes_per_second,
            # Connect allows a fifth of the describes for names; no name is asked for twice in a run
            "DescribeQueue": settings.describes_per_second / 5,
            "DescribeUser": settings.describes_per_second / 5,
        }
        paced = Pacer(per_second, self.clock, latest).call
        return Means(
            sync=parts.sync,
            connect=Connect(parts.new_paced_client, settings.instance_id, self.clock, paced),
            ledger=parts.sync.ledger,
            backlog=parts.backlog,
            clock=self.clock,
            timings=self.timings,
            report=self.report,
            usual=settings.usual,
            concurrency=settings.concurrency,
        )

    def _update(self, asked: Asked, moments: Moments) -> Outcome:
        parts = self.parts()
        if asked.source is Source.CONTACT_FLOW:
            contact = from_flow(asked, parts.settings.instance_id)
        else:
            contact_id = finished_contact_id(asked, parts.settings.instance_id)
            contact = parts.connect.finished_contact(contact_id, asked.source)
        return parts.sync.update(contact, moments)

    def _answer(self, outcome: Outcome, source: str, context: object) -> dict[str, str]:
        self.report.outcome(outcome, source, str(getattr(context, "aws_request_id", "")))
        self.report.flush(source)
        if outcome.redeliver and source != Source.CONTACT_FLOW:
            raise Redeliver(f"{outcome.status}: {outcome.detail}")
        return outcome.as_answer()


def _remaining_seconds(context: object) -> float:
    in_millis: Callable[[], int] | None = getattr(context, "get_remaining_time_in_millis", None)
    return in_millis() / 1000 if in_millis else UNKNOWN_TIME_SECONDS


@functools.cache
def root() -> App:
    """Return the sandbox's one App."""
    return build(SystemClock(), lambda: str(uuid4()))


def build(
    clock: Clock,
    new_owner: Callable[[], str],
    new_session: Callable[[], Session] = Session,
    timings: Timings = TIMINGS,
) -> App:
    """Put an App together; the environment is read when its parts are first asked for.

    Args:
        clock: The machine's, or one a test drives.
        new_owner: Gives a fresh uuid4 at each call.
        new_session: Makes the one session of all clients; several Apps of one process may share it, and so what it
            has loaded.
        timings: How long things may take.
    """

    @functools.cache
    def parts() -> Parts:
        settings = environment.read()
        try:
            session = new_session()
            new_client = functools.partial(_quick_client, session, timings, settings.concurrency)
            table = Table(new_client("dynamodb"), settings.table)
            sync = Sync(
                ledger=Ledger(table, new_owner),
                tokens=TokenSource(
                    functools.partial(_read_secret, new_client("secretsmanager"), settings.secret_id),
                    settings.org_id,
                    settings.call_center_api_name,
                ),
                salesforce=Salesforce(settings.endpoint_base, settings.ca_bundle),
                endpoint_base=settings.endpoint_base,
                provider_name=settings.provider_name,
                custom_fields=settings.custom_fields,
                clock=clock,
                timings=timings,
                report=report,
            )
        except (BotoCoreError, OSError, ValueError) as failure:  # botocore's own variables, or the CA bundle's
            raise WrongSettings(f"a variable of botocore's or requests' is wrong: {aws_reason(failure)}") from None
        return Parts(
            settings=settings,
            sync=sync,
            backlog=Backlog(table, new_owner),
            # How often to try again is left to botocore's own setting (AWS_MAX_ATTEMPTS): Connect throttles early, and
            # before the claim there is nothing to lose but time.
            connect=Connect(_new_connect_client(session, timings, settings.concurrency), settings.instance_id, clock),
            new_paced_client=_new_connect_client(
                session, timings, settings.concurrency, retries={"total_max_attempts": 1}
            ),
        )

    report = Report(environment.service(), environment.log_level())
    return App(parts, clock, timings, report)


def _quick_client(session: Session, timings: Timings, connections: int, service: str) -> Any:  # noqa: ANN401 - made from its model
    made: Any = session
    quick = Config(
        connect_timeout=timings.aws_connect,
        read_timeout=timings.aws_answer,
        # legacy: its pause before DynamoDB's second try is 50 ms, where the standard mode's may take a second
        retries={"mode": "legacy", "total_max_attempts": AWS_TRIES},
        max_pool_connections=max(10, connections),
        # botocore puts its own together anew for each request, and checks what DynamoDB checks again: together a tenth
        # of the CPU that a contact takes
        user_agent="voicecall-sync",
        parameter_validation=False,
    )
    return made.client(service, config=quick)


def _read_secret(secrets: SecretsManagerClient, secret_id: str) -> str:
    """Read the secret anew: TokenSource asks only when it needs to know what is there now."""
    try:
        text = secrets.get_secret_value(SecretId=secret_id).get("SecretString")
    except Exception as failure:  # noqa: BLE001 - botocore raises anything at an answer that it cannot read
        raise SecretUnusable(f"the secret cannot be read: {aws_reason(failure)}") from None
    if not isinstance(text, str):
        raise SecretUnusable("the secret must be text, not binary")
    return text


def _new_connect_client(
    session: Session,
    timings: Timings,
    connections: int,
    **others: Any,  # noqa: ANN401 - Config's own
) -> Callable[[], Any]:
    patient = Config(
        connect_timeout=timings.connect_connect,
        read_timeout=timings.connect_answer,
        max_pool_connections=max(10, connections),
        **others,
    )
    return functools.cache(functools.partial(session.client, "connect", config=patient))
