"""The KCL's settings on its own configuration objects: each is there, under that name, and takes the value."""

from __future__ import annotations

import json
import os
import subprocess
import sys

CODE = """
import json, sys
from consumers.kcl.java.artifacts import kcl_jars
from consumers.kcl.java.jvm import end_process, start_jvm
from consumers.kcl.sources.retrieval import sdk_client
from consumers.kcl.tuning import KNOBS, KclSettings, apply_knobs

jpype = start_jvm(kcl_jars(), "256m")
java = jpype.JClass
dynamodb, cloudwatch, kinesis = (
    sdk_client(jpype, "eu-west-1", f"{name}AsyncClient", "NONE").build()
    for name in ("dynamodb.DynamoDb", "cloudwatch.CloudWatch", "kinesis.Kinesis")
)
factory = jpype.JProxy("software.amazon.kinesis.processor.ShardRecordProcessorFactory", dict={})
builder = java("software.amazon.kinesis.common.ConfigsBuilder")(
    "stream", "application", kinesis, dynamodb, cloudwatch, "worker", factory
)
configs = {
    "lease": builder.leaseManagementConfig(),
    "coordinator": builder.coordinatorConfig(),
    "lifecycle": builder.lifecycleConfig(),
    "polling": java("software.amazon.kinesis.retrieval.polling.PollingConfig")(kinesis),
}
values = {knob.name: True if "_is_" in knob.name or "disable" in knob.name else 1234 for knob in KNOBS}
apply_knobs(jpype, KclSettings("application", "eu-west-1", tuning=values), configs)
found = {}
for knob in KNOBS:
    name, _, within = knob.config.partition(".")
    config = getattr(configs[name], within)() if within else configs[name]
    found[knob.name] = bool(getattr(config, knob.method)()) if values[knob.name] is True else int(
        getattr(config, knob.method)()
    )
print(json.dumps([values, found]), flush=True)
end_process(0)
"""


def test_every_setting_reaches_the_kcl() -> None:
    environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**_home(), **environment},
    )
    assert done.returncode == 0, done.stderr
    given, found = json.loads(done.stdout.splitlines()[-1])
    assert found == given


def _home() -> dict[str, str]:
    """Where the jars are cached."""
    return {
        name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME", "CDC_CACHE_DIR", "PATH") if name in os.environ
    }
