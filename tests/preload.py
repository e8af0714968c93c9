"""What the server that forks our process sandboxes has loaded already: botocore's models, above all."""

from tests.sandbox import _session

for _service in ("dynamodb", "secretsmanager", "connect"):
    boto3_client = super(type(_session()), _session()).client
    boto3_client(_service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
