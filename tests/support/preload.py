"""Loads the product and botocore's models into the server that forks our process sandboxes."""

import gc
import sys
from pathlib import Path

# The server is a Python of its own, without pytest's path. It ignores a module that it cannot import.
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from tests.support.sandbox import frugal_session
from tools.local.keeper import die_with_parent

die_with_parent()  # the sandboxes do the same: one that is frozen would keep this server, and itself, for ever

for _service in ("dynamodb", "secretsmanager", "connect"):
    make_client = super(type(frugal_session()), frugal_session()).client
    make_client(_service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")

gc.freeze()  # a collection in a process would otherwise copy all this memory
