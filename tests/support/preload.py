"""What the server that forks our process sandboxes has loaded already: the product, and botocore's models above all."""

import gc
import sys
from pathlib import Path

# The server is a Python of its own, without pytest's path; what it cannot import it leaves out without a word.
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from tests.support.sandbox import frugal_session
from tools.local.keeper import die_with_parent

die_with_parent()  # the sandboxes do the same: one that is frozen would keep this server, and itself, for ever

for _service in ("dynamodb", "secretsmanager", "connect"):
    make_client = super(type(frugal_session()), frugal_session()).client
    make_client(_service, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")

gc.freeze()  # a collection in a process would otherwise copy all this memory
