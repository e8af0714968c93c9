"""The composition root: what the handlers need, put together once per sandbox, at the first event.

Nothing runs at import but imports. Tests build the same root, with simulators behind it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import boto3
from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from voicecall_sync import settings as environment
from voicecall_sync.clock import Clock, Deadline, SystemClock
from voicecall_sync.connect import Connect
from voicecall_sync.contact import contact_id_in, finished_contact_id, from_flow, source_of
from voicecall_sync.errors import InvalidInput, Redeliver, SecretUnusable, WrongSettings, aws_reason
from voicecall_sync.ledger import Ledger
from voicecall_sync.outcome import Outcome, Source, Status
from voicecall_sync.report import Report
from voicecall_sync.settings import Settings
from voicecall_sync.sync import SHORTEST_PATCH_SECONDS, Sync, TimeLimits, expecting
from voicecall_sync.telephony import Telephony
from voicecall_sync.token import TokenSource
from voicecall_sync.wire import Wire

AWS_TRIES = 2
LAST_LINES_SECONDS = 0.5
"""Kept back from the invocation's time for the log line and the metrics."""
UNKNOWN_TIME_SECONDS = 30.0
"""What to assume is left where a context does not say, as in a test console."""


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
class App:
    """Takes events.

    Attributes:
        parts: Gives the settings, the pipeline and Connect; raises WrongSettings. Called for each event, and so
            expected to remember.
    """

    parts: Callable[[], tuple[Settings, Sync, Connect]]
    clock: Clock
    report: Report

    def update_voice_call(self, event: object, context: object) -> dict[str, str]:
        """Update the VoiceCall of the contact that an event tells of.

        Raises:
            Redeliver: An asynchronous event that must come again, or be kept in the dead-letter queue. Never raised
                for a contact flow's event.
        """
        arrival = Arrival(Deadline.after(self.clock, 0), self.clock.now(), _remaining_seconds(context))
        try:
            source = source_of(event)
        except InvalidInput as failure:
            outcome = Outcome(Status.INVALID, "", str(failure), redeliver=True)
            return self._answer(outcome, "unknown", context)
        known = cast("Mapping[str, object]", event)
        update = self._update_from_flow if source is Source.CONTACT_FLOW else self._update_from_contact_event
        outcome = expecting(contact_id_in(event), lambda: update(known, arrival))
        return self._answer(outcome, source.value, context)

    def _update_from_flow(self, event: Mapping[str, object], arrival: Arrival) -> Outcome:
        settings, sync, _ = self.parts()
        contact = from_flow(event, settings.instance_id)
        if settings.flow_budget < SHORTEST_PATCH_SECONDS + _settling(settings):
            raise WrongSettings("FLOW_BUDGET_SECONDS is too small for AWS_CALL_TIMEOUT_SECONDS: no flow would update")
        return sync.update(contact, arrival.limits(settings, settings.flow_budget))

    def _update_from_contact_event(self, event: Mapping[str, object], arrival: Arrival) -> Outcome:
        settings, sync, connect = self.parts()
        contact_id = finished_contact_id(event, settings.instance_id)
        contact = connect.finished_contact(contact_id, Source.CONTACT_EVENT)
        return sync.update(contact, arrival.limits(settings))

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


def build(clock: Clock, new_owner: Callable[[], str], new_session: Callable[[], boto3.Session] = boto3.Session) -> App:
    """Put an App together; the environment is read at its first event.

    Args:
        clock: The machine's, or one a test drives.
        new_owner: Gives a fresh uuid4 at each call.
        new_session: Makes the one session of all clients; several Apps of one process may share it, and so what it
            has loaded.
    """

    @functools.cache
    def parts() -> tuple[Settings, Sync, Connect]:
        settings = environment.read()
        try:
            session = new_session()
            sync = _sync(settings, session, clock, new_owner, report)
        except (BotoCoreError, OSError, ValueError) as failure:  # boto3's own variables, or the CA bundle's
            raise WrongSettings(f"a variable of boto3's or requests' is wrong: {aws_reason(failure)}") from None
        return settings, sync, _connect(settings, session, clock)

    report = Report(environment.log_level())
    return App(parts, clock, report)


def _sync(
    settings: Settings, session: boto3.Session, clock: Clock, new_owner: Callable[[], str], report: Report
) -> Sync:
    quick = Config(
        connect_timeout=settings.aws_call_timeout / 2,
        read_timeout=settings.aws_call_timeout,
        # legacy: its pause before DynamoDB's second try is 50 ms, where the standard mode's may take a second
        retries={"mode": "legacy", "total_max_attempts": AWS_TRIES},
    )
    secrets = SecretsProvider(boto3_client=session.client("secretsmanager", config=quick))
    return Sync(
        ledger=Ledger(session.client("dynamodb", config=quick), settings.table, new_owner),
        tokens=TokenSource(
            functools.partial(_read_secret, secrets, settings.secret_id),
            settings.org_id,
            settings.call_center_api_name,
        ),
        telephony=Telephony(Wire(settings.ca_bundle), settings.endpoint_base, settings.provider_name),
        custom_fields=settings.custom_fields,
        clock=clock,
        report=report,
    )


def _read_secret(secrets: SecretsProvider, secret_id: str) -> str:
    """Read the secret anew: TokenSource asks only when it needs to know what is there now."""
    try:
        text = secrets.get(secret_id, force_fetch=True)
    except GetParameterError as failure:
        cause = failure.__context__ if isinstance(failure.__context__, Exception) else failure
        raise SecretUnusable(f"the secret cannot be read: {aws_reason(cause)}") from None
    if not isinstance(text, str):
        raise SecretUnusable("the secret must be text, not binary")
    return text


def _connect(settings: Settings, session: boto3.Session, clock: Clock) -> Connect:
    # How often to try again is left to boto3's own setting (AWS_MAX_ATTEMPTS): Connect throttles early, and before
    # the claim there is nothing to lose but time.
    patient = Config(connect_timeout=2 * settings.aws_call_timeout, read_timeout=4 * settings.aws_call_timeout)
    new_client: Callable[[], Any] = functools.partial(session.client, "connect", config=patient)
    return Connect(new_client, settings.instance_id, clock)
