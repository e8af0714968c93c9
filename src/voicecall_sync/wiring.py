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

from voicecall_sync import settings as environment
from voicecall_sync.clock import AWS_TRIES, TIMINGS, Clock, Deadline, Moments, SystemClock, Timings
from voicecall_sync.connect.api import Connect
from voicecall_sync.connect.events import asked_by, from_flow
from voicecall_sync.contact import Asked
from voicecall_sync.enqueue import FlowContacts
from voicecall_sync.errors import InvalidInput, Redeliver, SecretUnusable, WrongSettings, aws_reason
from voicecall_sync.ledger.claims import Ledger
from voicecall_sync.ledger.open_contacts import OpenContacts
from voicecall_sync.ledger.table import Table
from voicecall_sync.ledger.waiting import Waiting
from voicecall_sync.outcome import Outcome, Source, Status
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.queue.breaker import Breaker
from voicecall_sync.queue.messages import Message, messages_of
from voicecall_sync.reconciliation import request as reconcile_request
from voicecall_sync.reconciliation.run import ReconcileParts, Reconciliation
from voicecall_sync.report import Report
from voicecall_sync.salesforce.attempt import Salesforce
from voicecall_sync.salesforce.token import TokenSource
from voicecall_sync.settings import WORKER_ONLY, Settings
from voicecall_sync.update import Sync, expecting
from voicecall_sync.worker import Worker

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

UNKNOWN_TIME_SECONDS = 30.0
"""What to assume is left where a context does not say, as in a test console."""
LAST_PAGE_SECONDS = 60.0
"""So long before the end of a run of the reconciliation no further page is asked for."""
SHORTEST_TURN_SECONDS = 10.0
"""With less time than this no further message of a batch is begun. A batch has one message as deployed."""


@dataclass(frozen=True, slots=True)
class SendingParts:
    """What the functions that send work with.

    Attributes:
        flow_contacts: Leaves in the queue what a contact flow could not have updated.
    """

    worker: Worker
    flow_contacts: FlowContacts


@dataclass(frozen=True, slots=True)
class App:
    """Takes events.

    Attributes:
        sending, working_off, reconciling: Give the parts of a function; each raises WrongSettings. Called for each
            event, and so expected to remember.
    """

    sending: Callable[[], SendingParts]
    working_off: Callable[[], SendingParts]
    reconciling: Callable[[], ReconcileParts]
    clock: Clock
    timings: Timings
    report: Report

    def update_voice_call(self, event: object, context: object) -> dict[str, str]:
        """Update the VoiceCall of the contact that a contact flow, or a contact event given directly, tells of.

        Raises:
            Redeliver: A contact event that must come again. Never raised for a contact flow's event.
        """
        try:
            asked = asked_by(event)
        except InvalidInput as failure:
            return self._answer(Outcome(Status.INVALID, "", str(failure)), "unknown", context)
        budget = self.timings.flow if asked.source is Source.CONTACT_FLOW else self.timings.contact
        moments = Moments.of(self.clock, self.timings, _remaining_seconds(context), budget)
        outcome = expecting(asked.contact_id, lambda: self._update(asked, moments))
        if asked.source is Source.CONTACT_FLOW and outcome.status is Status.RETRY_LATER:
            outcome = self._left_in_the_queue(outcome, moments)
        return self._answer(outcome, asked.source.value, context)

    def contact_queue(self, event: object, context: object) -> dict[str, object]:
        """Work off a batch of the contact queue, and name the messages that come back.

        Raises:
            InvalidInput: The event is not such a batch.
        """
        failed = [message.message_id for message in messages_of(event) if not self._done(message, context)]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def reconcile(self, event: object, context: object) -> dict[str, object]:
        """Run the reconciliation, as a schedule or a request by hand asks for it.

        Raises:
            InvalidInput: The request is wrong; the message names what.
            WrongSettings: A variable is missing or wrong.
        """
        over = Deadline.after(self.clock, _remaining_seconds(context) - self.timings.last_lines)
        try:
            parts = self.reconciling()
            request = reconcile_request.parse(event, parts.defaults, self.clock.now())
        except (InvalidInput, WrongSettings) as failure:
            self.report.stopped(str(failure))
            raise
        return Reconciliation(parts, request, over, min(LAST_PAGE_SECONDS, over.left() / 3)).run()

    def _update(self, asked: Asked, moments: Moments) -> Outcome:
        worker = self.sending().worker
        if asked.source is Source.CONTACT_FLOW:
            return worker.sync.update(from_flow(asked, worker.instance_id), moments)
        worker.chosen(asked)
        return worker.update(asked, None, moments)

    def _left_in_the_queue(self, outcome: Outcome, moments: Moments) -> Outcome:
        try:
            return self.sending().flow_contacts.leave(outcome, moments.over)
        except WrongSettings:
            self.report.not_kept(outcome.contact_id, outcome.detail)
            return outcome

    def _done(self, message: Message, context: object) -> bool:
        """Work off one message. Nothing is raised: a message that comes back is not an error of the function."""
        remaining = _remaining_seconds(context)
        if remaining < SHORTEST_TURN_SECONDS:
            return False
        moments = Moments.of(self.clock, self.timings, remaining, self.timings.contact)
        request_id = str(getattr(context, "aws_request_id", ""))
        try:
            done = self.working_off().worker.take(message, moments, request_id)
        except WrongSettings as failure:
            self.report.outcome(Outcome(Status.RETRY_LATER, "", str(failure)), "unknown", request_id)
            done = False
        except Exception as defect:  # noqa: BLE001 - see above
            self.report.defect("", defect)
            done = False
        self.report.flush("unknown")
        return done

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
    report = Report(environment.service(), environment.log_level())
    clients = _Clients(functools.cache(new_session), timings)

    def sending(*more: str) -> SendingParts:
        settings = environment.read(*more)
        with_one_try = Table(clients.quick("dynamodb", 1), settings.table)
        flow_queue = ContactQueue(functools.partial(clients.quick, "sqs", 1), settings.queue_url)
        waiting = Waiting(with_one_try, new_owner)
        flow_contacts = FlowContacts(Ledger(with_one_try, new_owner), waiting, flow_queue, clock, timings, report)
        return SendingParts(_worker(settings, clients, clock, new_owner, report), flow_contacts)

    def reconciling() -> ReconcileParts:
        settings = environment.read_reconciling()
        table = Table(clients.quick("dynamodb"), settings.table)
        return ReconcileParts(
            search_page=Connect(clients.connect, settings.instance_id, clock).search_page,
            ledger=Ledger(table, new_owner),
            open_contacts=OpenContacts(table, new_owner),
            waiting=Waiting(table, new_owner),
            queue=ContactQueue(functools.partial(clients.quick, "sqs"), settings.queue_url),
            clock=clock,
            report=report,
            rules=settings.rules,
            defaults=settings.defaults,
            searches_per_second=settings.searches_per_second,
            paused=settings.paused,
        )

    return App(
        functools.cache(functools.partial(_checked, sending)),
        functools.cache(functools.partial(_checked, functools.partial(sending, *WORKER_ONLY))),
        functools.cache(functools.partial(_checked, reconciling)),
        clock,
        timings,
        report,
    )


def _checked(make: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it makes
    try:
        return make()
    except (BotoCoreError, OSError, ValueError) as failure:  # botocore's own variables, or the CA bundle's
        raise WrongSettings(f"a variable of botocore's or requests' is wrong: {aws_reason(failure)}") from None


def _worker(
    settings: Settings, clients: _Clients, clock: Clock, new_owner: Callable[[], str], report: Report
) -> Worker:
    table = Table(clients.quick("dynamodb"), settings.table)
    ledger = Ledger(table, new_owner)
    read_secret = functools.partial(_read_secret, clients.quick("secretsmanager"), settings.secret_id)
    return Worker(
        sync=Sync(
            ledger=ledger,
            tokens=TokenSource(read_secret, settings.org_id, settings.call_center_api_name),
            salesforce=Salesforce(settings.endpoint_base, settings.ca_bundle),
            breaker=Breaker(clock, clients.timings),
            endpoint_base=settings.endpoint_base,
            provider_name=settings.provider_name,
            custom_fields=settings.custom_fields,
            clock=clock,
            timings=clients.timings,
            report=report,
        ),
        connect=Connect(clients.connect, settings.instance_id, clock),
        ledger=ledger,
        waiting=Waiting(table, new_owner),
        queue=ContactQueue(functools.partial(clients.quick, "sqs"), settings.queue_url, settings.dead_letter_url),
        clock=clock,
        timings=clients.timings,
        report=report,
        eligibility=settings.eligibility,
        instance_id=settings.instance_id,
    )


class _Clients:
    """The clients of a sandbox, each made once, when it is first needed."""

    def __init__(self, session: Callable[[], Session], timings: Timings) -> None:
        self._session = session
        self.timings = timings
        self._made: dict[object, Any] = {}

    def quick(self, service: str, tries: int = AWS_TRIES) -> Any:  # noqa: ANN401 - made from its model
        """Return a client with short time-outs."""
        config = Config(
            connect_timeout=self.timings.aws_connect,
            read_timeout=self.timings.aws_answer,
            # legacy: its pause before DynamoDB's second try is 50 ms, where the standard mode's may take a second
            retries={"mode": "legacy", "total_max_attempts": tries},
            # botocore puts its own together anew for each request, and checks what DynamoDB checks again: together a
            # tenth of the CPU that a contact takes
            user_agent="voicecall-sync",
            parameter_validation=False,
        )
        return self._once((service, tries), service, config)

    def connect(self) -> Any:  # noqa: ANN401 - made from its model
        """Return Amazon Connect's client.

        How often it tries again is left to botocore's own setting (AWS_MAX_ATTEMPTS): Connect throttles early, and
        before the claim there is nothing to lose but time.
        """
        config = Config(connect_timeout=self.timings.connect_connect, read_timeout=self.timings.connect_answer)
        return self._once("connect", "connect", config)

    def _once(self, key: object, service: str, config: Config) -> Any:  # noqa: ANN401
        if key not in self._made:
            session: Any = self._session()
            self._made[key] = session.client(service, config=config)
        return self._made[key]


def _read_secret(secrets: SecretsManagerClient, secret_id: str) -> str:
    """Read the secret anew: TokenSource asks only when it needs to know what is there now."""
    try:
        text = secrets.get_secret_value(SecretId=secret_id).get("SecretString")
    except Exception as failure:  # noqa: BLE001 - botocore raises anything at an answer that it cannot read
        raise SecretUnusable(f"the secret cannot be read: {aws_reason(failure)}") from None
    if not isinstance(text, str):
        raise SecretUnusable("the secret must be text, not binary")
    return text
