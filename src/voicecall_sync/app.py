"""The composition root: what the handlers need, put together once per sandbox, at the first event.

Nothing runs at import but imports. Tests build the same root, with simulators behind it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from voicecall_sync import reconcile_request
from voicecall_sync import settings as environment
from voicecall_sync.backlog import Backlog
from voicecall_sync.clock import Clock, Deadline, SystemClock
from voicecall_sync.connect import Connect
from voicecall_sync.contact import contact_id_in, finished_contact_id, from_flow, source_of
from voicecall_sync.errors import InvalidInput, Redeliver, SecretUnusable, WrongSettings, aws_reason
from voicecall_sync.ledger import Ledger
from voicecall_sync.outcome import Outcome, Source, Status
from voicecall_sync.pace import Pacer
from voicecall_sync.reconcile import Means, Reconciliation
from voicecall_sync.report import Report
from voicecall_sync.settings import Settings
from voicecall_sync.sync import SHORTEST_PATCH_SECONDS, Sync, TimeLimits, expecting
from voicecall_sync.table import Table
from voicecall_sync.telephony import Telephony
from voicecall_sync.token import TokenSource
from voicecall_sync.wire import Wire

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

AWS_TRIES = 2
LAST_LINES_SECONDS = 0.5
"""Kept back from the invocation's time for the log line and the metrics."""
UNKNOWN_TIME_SECONDS = 30.0
"""What to assume is left where a context does not say, as in a test console."""
CONNECTING_TIMES, READING_TIMES = 2, 4
"""How much longer than one of the table a call to Amazon Connect may take."""
DESCRIBING_SECONDS = 8.0
"""What describing a contact, names and all, takes at the most, as a rule."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When an event came, on both clocks, and how many seconds Lambda gives it."""

    moment: Deadline
    at: datetime
    remaining: float

    def limits(self, settings: Settings, budget: float = math.inf) -> TimeLimits:
        """Return the limits for a contact: those of the invocation, or a smaller budget of seconds."""
        return TimeLimits(
            deadline=self.moment.later(min(budget, self.remaining - LAST_LINES_SECONDS)),
            owner_until=self.at + timedelta(seconds=self.remaining),
            settling=_settling(settings),
            patch=settings.patch_timeout,
        )


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
    report: Report

    def update_voice_call(self, event: object, context: object) -> dict[str, str]:
        """Update the VoiceCall of the contact that an event tells of.

        Raises:
            Redeliver: An asynchronous event that must come again, or be kept in the dead-letter queue. Never raised
                for a contact flow's event.
        """
        arrival = self._arrival(context)
        try:
            source = source_of(event)
        except InvalidInput as failure:
            outcome = Outcome(Status.INVALID, "", str(failure), redeliver=True)
            return self._answer(outcome, "unknown", context)
        known = cast("Mapping[str, object]", event)
        update = self._update_from_flow if source is Source.CONTACT_FLOW else self._update_from_contact_event
        outcome = expecting(contact_id_in(event), lambda: update(known, arrival))
        return self._answer(outcome, source.value, context)

    def reconcile(self, event: object, context: object) -> dict[str, object]:
        """Run the reconciliation, as a schedule or a request by hand asks for it.

        Raises:
            InvalidInput: The request is wrong; the message names what.
            WrongSettings: A variable is missing or wrong.
        """
        arrival = self._arrival(context)
        try:
            parts = self.parts()
            request = reconcile_request.parse(event, parts.settings.usual, arrival.at)
        except (InvalidInput, WrongSettings) as failure:
            self.report.stopped(str(failure))
            raise
        settings, limits = parts.settings, arrival.limits(parts.settings)
        # One more call of the table comes after the last contact: where to carry on. What is kept back for what
        # hangs is a part, at the most, of an invocation that is short.
        limits = replace(limits, deadline=limits.deadline.later(-min(limits.settling, arrival.remaining / 10)))
        sending = limits.settling + SHORTEST_PATCH_SECONDS
        call = min((CONNECTING_TIMES + READING_TIMES) * settings.aws_call_timeout, arrival.remaining / 4)
        ample = settings.patch_timeout + limits.settling + DESCRIBING_SECONDS
        reserve = max(sending + LAST_LINES_SECONDS, min(ample, arrival.remaining / 2))
        means = self._means(parts, limits.deadline.later(-sending - call))
        run = Reconciliation(means, request, limits, reserve, str(getattr(context, "aws_request_id", "")))
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
            report=self.report,
            usual=settings.usual,
            concurrency=settings.concurrency,
        )

    def _arrival(self, context: object) -> Arrival:
        return Arrival(Deadline.after(self.clock, 0), self.clock.now(), _remaining_seconds(context))

    def _update_from_flow(self, event: Mapping[str, object], arrival: Arrival) -> Outcome:
        parts = self.parts()
        settings = parts.settings
        contact = from_flow(event, settings.instance_id)
        if settings.flow_budget < SHORTEST_PATCH_SECONDS + _settling(settings):
            raise WrongSettings("FLOW_BUDGET_SECONDS is too small for AWS_CALL_TIMEOUT_SECONDS: no flow would update")
        return parts.sync.update(contact, arrival.limits(settings, settings.flow_budget))

    def _update_from_contact_event(self, event: Mapping[str, object], arrival: Arrival) -> Outcome:
        parts = self.parts()
        contact_id = finished_contact_id(event, parts.settings.instance_id)
        contact = parts.connect.finished_contact(contact_id, Source.CONTACT_EVENT)
        return parts.sync.update(contact, arrival.limits(parts.settings))

    def _answer(self, outcome: Outcome, source: str, context: object) -> dict[str, str]:
        self.report.outcome(outcome, source, str(getattr(context, "aws_request_id", "")))
        self.report.flush(source)
        if outcome.redeliver and source != Source.CONTACT_FLOW:
            raise Redeliver(f"{outcome.status}: {outcome.detail}")
        return outcome.as_answer()


def _settling(settings: Settings) -> float:
    return settings.aws_call_timeout * (AWS_TRIES + 0.5)


def _remaining_seconds(context: object) -> float:
    in_millis: Callable[[], int] | None = getattr(context, "get_remaining_time_in_millis", None)
    return in_millis() / 1000 if in_millis else UNKNOWN_TIME_SECONDS


@functools.cache
def root() -> App:
    """Return the sandbox's one App."""
    return build(SystemClock(), lambda: str(uuid4()))


def build(clock: Clock, new_owner: Callable[[], str], new_session: Callable[[], Session] = Session) -> App:
    """Put an App together; the environment is read when its parts are first asked for.

    Args:
        clock: The machine's, or one a test drives.
        new_owner: Gives a fresh uuid4 at each call.
        new_session: Makes the one session of all clients; several Apps of one process may share it, and so what it
            has loaded.
    """

    @functools.cache
    def parts() -> Parts:
        settings = environment.read()
        try:
            session = new_session()
            table = Table(_quick_client("dynamodb", settings, session), settings.table)
            sync = _sync(settings, session, table, clock, new_owner, report)
        except (BotoCoreError, OSError, ValueError) as failure:  # botocore's own variables, or the CA bundle's
            raise WrongSettings(f"a variable of botocore's or requests' is wrong: {aws_reason(failure)}") from None
        return Parts(
            settings=settings,
            sync=sync,
            backlog=Backlog(table, new_owner),
            # How often to try again is left to botocore's own setting (AWS_MAX_ATTEMPTS): Connect throttles early, and
            # before the claim there is nothing to lose but time.
            connect=Connect(_new_connect_client(settings, session), settings.instance_id, clock),
            new_paced_client=_new_connect_client(settings, session, retries={"total_max_attempts": 1}),
        )

    report = Report(environment.service(), environment.log_level())
    return App(parts, clock, report)


def _quick_client(service: str, settings: Settings, session: Session) -> Any:  # noqa: ANN401 - made from its model
    quick = Config(
        connect_timeout=settings.aws_call_timeout / 2,
        read_timeout=settings.aws_call_timeout,
        # legacy: its pause before DynamoDB's second try is 50 ms, where the standard mode's may take a second
        retries={"mode": "legacy", "total_max_attempts": AWS_TRIES},
        max_pool_connections=max(10, settings.concurrency),
        # botocore puts its own together anew for each call, and checks what DynamoDB checks again: together a tenth of
        # the CPU that a contact takes
        user_agent="voicecall-sync",
        parameter_validation=False,
    )
    return session.create_client(service, config=quick)


def _sync(
    settings: Settings,
    session: Session,
    table: Table,
    clock: Clock,
    new_owner: Callable[[], str],
    report: Report,
) -> Sync:
    secrets = _quick_client("secretsmanager", settings, session)
    return Sync(
        ledger=Ledger(table, new_owner),
        tokens=TokenSource(
            functools.partial(_read_secret, secrets, settings.secret_id),
            settings.org_id,
            settings.call_center_api_name,
        ),
        telephony=Telephony(
            Wire(settings.ca_bundle, settings.concurrency), settings.endpoint_base, settings.provider_name
        ),
        custom_fields=settings.custom_fields,
        clock=clock,
        report=report,
    )


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
    settings: Settings,
    session: Session,
    **others: Any,  # noqa: ANN401 - Config's own
) -> Callable[[], Any]:
    patient = Config(
        connect_timeout=CONNECTING_TIMES * settings.aws_call_timeout,
        read_timeout=READING_TIMES * settings.aws_call_timeout,
        max_pool_connections=max(10, settings.concurrency),
        **others,
    )
    return functools.cache(functools.partial(session.create_client, "connect", config=patient))
