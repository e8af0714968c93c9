"""The composition root: builds the objects of a sandbox once, when they are first needed. The only place with clients.

Nothing runs at import but imports. Tests build the same objects, with simulators behind them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from boto3 import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from voicecall_sync import settings as environment
from voicecall_sync.alarm_topic import AlarmTopic
from voicecall_sync.app import App, SendingParts
from voicecall_sync.clock import AWS_TRIES, TIMINGS, Clock, SystemClock, Timings
from voicecall_sync.connect.api import Connect
from voicecall_sync.enqueue import FlowContacts
from voicecall_sync.errors import SecretUnusable, WrongSettings, aws_reason, failing_as
from voicecall_sync.ledger.claims import Ledger
from voicecall_sync.ledger.open_contacts import OpenContacts
from voicecall_sync.ledger.table import Table
from voicecall_sync.ledger.waiting import Waiting
from voicecall_sync.queue.api import ContactQueue
from voicecall_sync.queue.breaker import Breaker
from voicecall_sync.reconciliation.daily_message import DailyMessage
from voicecall_sync.reconciliation.run import ReconciliationParts
from voicecall_sync.report import Report
from voicecall_sync.salesforce.attempt import Salesforce
from voicecall_sync.salesforce.token import TokenSource
from voicecall_sync.settings import WITH_DEAD_LETTERS, Settings
from voicecall_sync.update import Pipeline
from voicecall_sync.worker import Worker

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient


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
    """Build an App. It reads the environment when an event first needs it.

    Args:
        clock: The machine's, or one that a test drives.
        new_owner: Gives a fresh uuid4 at each call.
        new_session: Makes the one session of all clients. Several Apps of one process may share it, with its loaded
            models.
        timings: How long things may take.
    """
    report = Report(environment.service(), environment.log_level())
    parts = _Parts(_Clients(functools.cache(new_session), timings), clock, new_owner, report)
    return App(
        functools.cache(parts.of_flow),
        functools.cache(parts.of_queue),
        functools.cache(parts.of_reconciliation),
        clock,
        timings,
        report,
    )


def _checked(make: Callable[[_Parts], Any]) -> Callable[[_Parts], Any]:
    """Turn botocore's and requests' failures at their own wrong variables into WrongSettings."""

    @functools.wraps(make)
    def checked(parts: _Parts) -> Any:  # noqa: ANN401 - any part
        try:
            return make(parts)
        except (BotoCoreError, OSError, ValueError) as failure:
            raise WrongSettings(f"a variable of botocore's or requests' is wrong: {aws_reason(failure)}") from None

    return checked


class _Parts:
    """Builds the parts of each function. Every method raises WrongSettings."""

    def __init__(self, clients: _Clients, clock: Clock, new_owner: Callable[[], str], report: Report) -> None:
        self._clients = clients
        self._clock = clock
        self._new_owner = new_owner
        self._report = report

    @_checked
    def of_flow(self) -> SendingParts:
        """Return the parts of UpdateVoiceCallFunction."""
        return self._sending(environment.read())

    @_checked
    def of_queue(self) -> SendingParts:
        """Return the parts of ContactQueueFunction."""
        return self._sending(environment.read(*WITH_DEAD_LETTERS))

    @_checked
    def of_reconciliation(self) -> ReconciliationParts:
        """Return the parts of ReconcileFunction."""
        settings = environment.read_reconciling()
        table = Table(self._clients.quick("dynamodb"), settings.table)
        open_contacts = OpenContacts(table, self._new_owner)
        sqs, sns = (functools.partial(self._clients.quick, service) for service in ("sqs", "sns"))
        queue = ContactQueue(sqs, settings.queue_url, settings.dead_letter_url)
        topic = AlarmTopic(sns, settings.alarm_topic) if settings.alarm_topic else None
        return ReconciliationParts(
            search_page=Connect(self._clients.connect, settings.instance_id, self._clock).search_page,
            ledger=Ledger(table, self._new_owner),
            open_contacts=open_contacts,
            waiting=Waiting(table, self._new_owner),
            queue=queue,
            daily_message=DailyMessage(open_contacts, queue, topic, environment.service()),
            clock=self._clock,
            report=self._report,
            rules=settings.rules,
            defaults=settings.defaults,
            searches_per_second=settings.searches_per_second,
            paused=settings.paused,
        )

    def _sending(self, settings: Settings) -> SendingParts:
        return SendingParts(self._worker(settings), self._flow_contacts(settings))

    def _flow_contacts(self, settings: Settings) -> FlowContacts:
        """Return the part that leaves a flow's contact in the queue. It tries each request once."""
        table = Table(self._clients.quick("dynamodb", 1), settings.table)
        return FlowContacts(
            ledger=Ledger(table, self._new_owner),
            waiting=Waiting(table, self._new_owner),
            queue=ContactQueue(functools.partial(self._clients.quick, "sqs", 1), settings.queue_url),
            clock=self._clock,
            timings=self._clients.timings,
            report=self._report,
        )

    def _worker(self, settings: Settings) -> Worker:
        table = Table(self._clients.quick("dynamodb"), settings.table)
        sqs = functools.partial(self._clients.quick, "sqs")
        ledger = Ledger(table, self._new_owner)
        return Worker(
            pipeline=self._pipeline(settings, ledger),
            connect=Connect(self._clients.connect, settings.instance_id, self._clock),
            ledger=ledger,
            waiting=Waiting(table, self._new_owner),
            queue=ContactQueue(sqs, settings.queue_url, settings.dead_letter_url),
            clock=self._clock,
            timings=self._clients.timings,
            report=self._report,
            eligibility=settings.eligibility,
            instance_id=settings.instance_id,
        )

    def _pipeline(self, settings: Settings, ledger: Ledger) -> Pipeline:
        read_secret = functools.partial(_read_secret, self._clients.quick("secretsmanager"), settings.secret_id)
        return Pipeline(
            ledger=ledger,
            tokens=TokenSource(read_secret, settings.org_id, settings.call_center_api_name, settings.endpoint_base),
            salesforce=Salesforce(settings.endpoint_base, settings.ca_bundle),
            breaker=Breaker(self._clock, self._clients.timings),
            endpoint_base=settings.endpoint_base,
            provider_name=settings.provider_name,
            custom_fields=settings.custom_fields,
            clock=self._clock,
            timings=self._clients.timings,
            report=self._report,
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
            # legacy: its pause before DynamoDB's second try is 50 ms. The standard mode's may take a second.
            retries={"mode": "legacy", "total_max_attempts": tries},
            # botocore builds its own user agent anew for each request, and checks again what DynamoDB checks. Both
            # together are a tenth of the CPU that a contact takes.
            user_agent="voicecall-sync",
            parameter_validation=False,
        )
        return self._once((service, tries), service, config)

    def connect(self) -> Any:  # noqa: ANN401 - made from its model
        """Return Amazon Connect's client.

        botocore's own setting (AWS_MAX_ATTEMPTS) says how often it tries again. Connect throttles early, and before the
        claim only time can be lost.
        """
        config = Config(connect_timeout=self.timings.connect_connect, read_timeout=self.timings.connect_answer)
        return self._once("connect", "connect", config)

    def _once(self, key: object, service: str, config: Config) -> Any:  # noqa: ANN401
        if key not in self._made:
            session: Any = self._session()
            self._made[key] = session.client(service, config=config)
        return self._made[key]


def _read_secret(secrets: SecretsManagerClient, secret_id: str) -> str:
    """Read the secret anew: TokenSource asks only when it needs the present one."""
    with failing_as(lambda failure: SecretUnusable(f"the secret cannot be read: {aws_reason(failure)}")):
        text = secrets.get_secret_value(SecretId=secret_id).get("SecretString")
    if not isinstance(text, str):
        raise SecretUnusable("the secret must be text, not binary")
    return text
