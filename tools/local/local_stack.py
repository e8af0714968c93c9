"""The whole of what VoiceCall Sync talks to, on this machine: no Docker, no account.

    function ──> gateway ──┬─> MiniStack: the idempotency table, the secret
                           ├─> SQS simulator: the contact queue, the dead-letter queue
                           └─> Connect simulator: contacts, queues, users
             ──> Salesforce simulator

Everything is made up: keys, ids, numbers from the ranges reserved for fiction.
"""

import functools
import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import boto3
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.local.certificates import Certificate
from tools.local.connect import ConnectSimulator
from tools.local.gateway import AwsGateway
from tools.local.messages import Clock, utc_now
from tools.local.ministack import MiniStack
from tools.local.salesforce import SalesforceSimulator
from tools.local.sqs import LocalQueue, SqsSimulator
from tools.template import load, table_definition

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sqs import SQSClient

ROOT = Path(__file__).parents[2]

INSTANCE_ID = "12345678-1234-1234-1234-123456789012"
INSTANCE_ARN = f"arn:aws:connect:us-east-1:111122223333:instance/{INSTANCE_ID}"
ORG_ID = "00D000000000001EAA"
CALL_CENTER = "ContosoContactCenter"
TABLE = "voicecall-sync-idempotency"
SECRET = f"{CALL_CENTER}-salesforce-secret"
REGION = "us-east-1"
JWT_LASTS = timedelta(hours=23)
RETENTION = 14 * 24 * 3600
MAX_RECEIVES = 1000
CONTACT_QUEUE = {"DelaySeconds": 90, "VisibilityTimeout": 360, "MessageRetentionPeriod": RETENTION}
DEAD_LETTER_QUEUE = {"MessageRetentionPeriod": RETENTION}
"""Attributes of the queues, as the template sets them; with the first goes a redrive policy of MAX_RECEIVES."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts listen, on 127.0.0.1; 0 for a free port.

    Attributes:
        aws: the gateway, which is AWS to the function.
        salesforce: the Salesforce simulator.
        ministack, connect, sqs: what stands behind the gateway.
    """

    aws: int = 0
    salesforce: int = 0
    ministack: int = 0
    connect: int = 0
    sqs: int = 0


class LocalStack:
    """Everything running inside the ``with``.

    Attributes:
        salesforce, connect, gateway: the parts, to be asked and told.
        queue, dead_letters: the contact queue and the dead-letter queue, where the stack has its own.
    """

    salesforce: SalesforceSimulator
    connect: ConnectSimulator
    gateway: AwsGateway
    queue: LocalQueue
    dead_letters: LocalQueue

    def __init__(
        self,
        *,
        ministack: MiniStack | None = None,
        gateway: AwsGateway | None = None,
        table: str = TABLE,
        certificate: Certificate | None = None,
        ports: Ports = Ports(),
        clock: Clock = utc_now,
        own_queues: bool = True,
    ) -> None:
        """Make a stack that is not yet running.

        Args:
            ministack: a running one to use; by default one is started.
            gateway: a running one to that MiniStack, which is left without faults; by default one is started. Stacks
                that use one after another have the same address of AWS.
            table: name of the idempotency table to make; stacks that share a MiniStack differ in it.
            certificate: let Salesforce speak TLS with it, and let containers reach Salesforce and AWS.
            ports: where to listen; by default wherever is free.
            clock: what the queues, Connect and Salesforce go by. Where it is another than the machine's, receiving
                never waits.
            own_queues: whether SQS is the simulator; otherwise it is MiniStack's, which has no queue of the stack's.
        """
        self._clock = clock
        self._own_queues = own_queues
        self._sqs_url = ""
        self._ports = ports
        self._ministack = ministack
        self._gateway = gateway
        self._certificate = certificate
        self.table = table
        self.secret = f"{SECRET}-{table}"
        self._has_secret = False
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            ministack = self._ministack or starting.enter_context(MiniStack(port=self._ports.ministack))
            self.connect = starting.enter_context(
                ConnectSimulator(instance_id=INSTANCE_ID, port=self._ports.connect, clock=self._clock)
            )
            self.gateway = self._gateway or starting.enter_context(
                AwsGateway(aws=ministack.url, port=self._ports.aws, for_containers=self._certificate is not None)
            )
            self.gateway.heal()
            self.gateway.connect = self.connect.url
            self._aws = ministack.url
            self._start_queues(starting)
            starting.callback(self.gateway.heal)
            self.salesforce = starting.enter_context(
                SalesforceSimulator(
                    public_key_pem=self.public_key,
                    org_id=ORG_ID,
                    call_center_api_name=CALL_CENTER,
                    certificate=self._certificate,
                    port=self._ports.salesforce,
                    clock=self._clock,
                )
            )
            self._create_table()
            self.put_secret(self.provisioned_secret())
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def private_key(self) -> rsa.RSAPrivateKey:
        """The key whose public half Salesforce accepts; the same for all stacks of a process."""
        return _private_key()

    @property
    def public_key(self) -> bytes:
        """Its public half, PEM."""
        return self.private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def provisioned_secret(self, endpoint: str = "") -> str:
        """Return the secret as Salesforce provisions it.

        Args:
            endpoint: the one it states; by default the simulator's, or none where a container has another name for it.
        """
        stated = endpoint or ("" if self._certificate else self.salesforce.url)
        return json.dumps(
            {
                "SALESFORCE_ORG_ID": ORG_ID,
                "SCRT_ENDPOINT_BASE": stated,
                "CALL_CENTER_API_NAME": CALL_CENTER,
                f"{CALL_CENTER}-scrt-jwt-auth-private-key": pem(self.private_key).decode(),
            }
        )

    def jwt_secret(self) -> str:
        """Return the secret as an operator may store it: a JWT that Salesforce takes for `JWT_LASTS` from now on.

        To read the private key takes longer than all the rest of a cold sandbox's start.
        """
        now = self._clock()
        claims = {"iss": ORG_ID, "sub": CALL_CENTER, "iat": now, "exp": now + JWT_LASTS}
        return json.dumps({"jwt": jwt.encode(claims, self.private_key, algorithm="RS256")})

    def put_secret(self, text: str) -> None:
        """Store the secret's text, new or over the old one."""
        secrets = aws_client("secretsmanager", self._aws)
        if self._has_secret:
            secrets.put_secret_value(SecretId=self.secret, SecretString=text)
        else:
            secrets.create_secret(Name=self.secret, SecretString=text)
            self._has_secret = True

    def environment(self) -> dict[str, str]:
        """Return the variables the function needs to work against this stack, boto3's own among them."""
        variables = {
            "SCRT_ENDPOINT_BASE": self.salesforce.url,
            "ALLOW_TEST_ENDPOINT": "true",
            "JWT_SECRET_ID": self.secret,
            "IDEMPOTENCY_TABLE": self.table,
            "CONNECT_INSTANCE_ID": INSTANCE_ID,
            "CUSTOM_FIELDS": '{"tier": "Tier__c", "age": {"field": "Age__c", "type": "number"}}',
            "RECONCILE_SCOPE": "abandoned",
            "AWS_ENDPOINT_URL": self.gateway.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        if self._own_queues:
            variables |= {"CONTACT_QUEUE_URL": self.queue.url, "DEAD_LETTER_QUEUE_URL": self.dead_letters.url}
        if self._certificate:
            variables["REQUESTS_CA_BUNDLE"] = str(self._certificate.ca_file)
        return variables

    @property
    def dynamodb(self) -> "DynamoDBClient":
        """A client that goes to the table directly, past the gateway's faults."""
        client: DynamoDBClient = aws_client("dynamodb", self._aws)
        return client

    @property
    def sqs(self) -> "SQSClient":
        """A client that goes to the queues directly, past the gateway's faults."""
        client: SQSClient = aws_client("sqs", self._sqs_url)
        return client

    def record(self, contact_id: str) -> dict[str, Any] | None:
        """Return the contact's record in the ledger, its values still in DynamoDB's spelling ({"S": …}), or None."""
        found = self.dynamodb.get_item(TableName=self.table, Key={"contactId": {"S": contact_id}}, ConsistentRead=True)
        return dict(found["Item"]) if "Item" in found else None

    def was_claimed(self, contact_id: str) -> bool:
        """Tell whether a contact was ever claimed; a record that only waits for its message has no claims."""
        record = self.record(contact_id)
        return record is not None and record["attempts"] != {"N": "0"}

    def state(self, contact_id: str) -> str | None:
        """Return the state of the contact's record, or None without a record."""
        record = self.record(contact_id)
        return record["state"]["S"] if record else None

    def _start_queues(self, starting: ExitStack) -> None:
        """Start the SQS simulator and make the queues, or leave SQS to MiniStack."""
        self._sqs_url, self.gateway.sqs = self._aws, ""
        if not self._own_queues:
            return
        sqs = starting.enter_context(
            SqsSimulator(port=self._ports.sqs, clock=self._clock, waits=self._clock is utc_now)
        )
        self._sqs_url = self.gateway.sqs = sqs.url
        self.dead_letters = sqs.create(f"{self.table}-dead-letters", DEAD_LETTER_QUEUE)
        redrive = json.dumps({"deadLetterTargetArn": self.dead_letters.arn, "maxReceiveCount": MAX_RECEIVES})
        self.queue = sqs.create(f"{self.table}-contacts", {**CONTACT_QUEUE, "RedrivePolicy": redrive})

    def _create_table(self) -> None:
        self.dynamodb.create_table(TableName=self.table, **_table_definition())


@functools.cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def _session() -> boto3.Session:
    return boto3.Session("local", "local", region_name=REGION)


@functools.cache
def aws_client(service: Literal["dynamodb", "secretsmanager", "sns", "sqs"], url: str) -> Any:  # noqa: ANN401 - any of them
    """Return a client of AWS at this address; one for all who ask."""
    return _session().client(service, endpoint_url=url)


@functools.cache
def _table_definition() -> dict[str, Any]:
    return table_definition(load(ROOT / "template.yaml"))


def pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return a private key as PEM, PKCS#8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
