"""`python -m local.lambda_run`: a stream's changes through a function in Lambda's own runtime, on this machine."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cdc.errors import CdcError, ConfigError
from cdc.testing.simulated.batches import BatchRules
from local.emulator import LambdaFunction, install_emulator, launch_function
from local.event_source_mapping import FailureBucket, LocalEventSourceMapping
from local.lambda_here import CHANGES, build_here
from local.stream_source import StreamSource

_errors = Console(stderr=True, highlight=False)
_SHOWN_SECONDS = 5.0
_FOR_THE_FUNCTION = ("AWS_", "CDC_", "OTEL_")
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def main(
    stream_arn: Annotated[str, typer.Argument(help="Of a DynamoDB stream or a Kinesis data stream.")],
    handler: Annotated[str, typer.Option(help="What Lambda loads.")] = CHANGES,
    add: Annotated[list[Path] | None, typer.Option(help="A file or folder of yours for the package.")] = None,
    package: Annotated[Path | None, typer.Option(help="A package that is built already, instead.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Records of a batch at most.")] = 100,
    window: Annotated[float, typer.Option(min=0, max=300, help="Seconds that a batch is gathered at most.")] = 0.0,
    bisect: Annotated[bool, typer.Option(help="Halve a batch whose invocation failed.")] = False,
    max_retries: Annotated[int, typer.Option(min=-1, help="-1: no limit.")] = -1,
    max_age: Annotated[float, typer.Option(help="Seconds after which a record is given up; -1: no limit.")] = -1,
    on_failure: Annotated[str, typer.Option(help="A bucket for batches that are given up.")] = "",
    timeout: Annotated[int, typer.Option(min=1, max=900, help="Seconds of an invocation at most.")] = 60,
    latest: Annotated[bool, typer.Option("--latest", help="Begin at the stream's end, not its start.")] = False,
    drain: Annotated[bool, typer.Option("--drain", help="End when all that the stream holds is settled.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON in the end.")] = False,
) -> None:
    """Invoke a function with the batches of a stream, as Lambda does, until Ctrl-C.

    The function runs in Lambda's own runtime interface client and emulator, with this shell's variables that begin with
    AWS_, CDC_ or OTEL_.

    [bold]Example[/bold]: python -m local.lambda_run arn:aws:dynamodb:…/stream/… --add shop_functions.py --handler
    shop_functions.handler --bisect --max-retries 3 --on-failure failed-batches
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    rules = BatchRules(batch_size=batch_size, max_retries=max_retries, max_record_age_seconds=max_age, bisect=bisect)
    with ExitStack() as opened:
        try:
            run = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="lambda-")))
            source = StreamSource(
                _client("kinesis" if ":kinesis:" in stream_arn else "dynamodbstreams"),
                stream_arn,
                position="LATEST" if latest else "TRIM_HORIZON",
            )
            source.poll()
            runtime = install_emulator(_progress)
            function = launch_function(
                run,
                runtime,
                package or build_here(run, own=add or ()),
                handler,
                {name: value for name, value in os.environ.items() if name.startswith(_FOR_THE_FUNCTION)},
                timeout_seconds=timeout,
            )
            opened.callback(function.stop)
            mapping = LocalEventSourceMapping(
                function.invoke, source, rules, window_seconds=window, on_failure=_destination(on_failure)
            )
            _follow(mapping, source, function, drain=drain)
        except CdcError as error:
            _errors.print(f"[red]error:[/red] {error}")
            raise typer.Exit(2) from None
        facts = {"settled": mapping.settled, "read": source.count, **mapping.counts}
        print(json.dumps(facts) if as_json else ", ".join(f"{count} {name}" for name, count in facts.items()))


def _progress(text: str, done: int, _total: int) -> None:
    if not done:
        _errors.print(f"{text} …")


def _client(service: str) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.Session().client(
            service,  # type: ignore[call-overload]  # (a name at run time)
            config=Config(retries={"mode": "standard", "total_max_attempts": 5}),
        )
    except BotoCoreError as error:
        raise ConfigError(str(error), remedy="Set AWS_REGION, and AWS_ENDPOINT_URL for LocalStack.") from None


def _destination(bucket: str) -> FailureBucket | None:
    from botocore.exceptions import ClientError

    if not bucket:
        return None
    s3 = _client("s3")
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        raise ConfigError(f"the bucket {bucket} can't be used: {error}", remedy="Make it, or name another.") from None
    return FailureBucket(s3, bucket)


def _follow(mapping: LocalEventSourceMapping, source: StreamSource, function: LambdaFunction, *, drain: bool) -> None:
    """Work, and pass on what the function prints."""
    shown = time.monotonic()
    with function.process.log_path.open(encoding="utf-8", errors="replace") as log, suppress(KeyboardInterrupt):
        while not (drain and source.at_end and mapping.settled == source.count):
            if not mapping.step():
                time.sleep(0.1)
            sys.stderr.write(log.read())
            if time.monotonic() - shown >= _SHOWN_SECONDS:
                shown = time.monotonic()
                _errors.print(f"{mapping.settled} of {source.count} records settled, {dict(mapping.counts)}")


if __name__ == "__main__":
    app()
