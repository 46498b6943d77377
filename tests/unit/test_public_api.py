"""The public API is what `cdc.__all__` says, importing it stays cheap, and its types are seen from outside."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cdc

ROOT = Path(__file__).parents[2]
CLIENTS = ("boto3", "botocore", "opensearchpy", "requests", "urllib3", "jpype")

PUBLIC = """
    Added Applied Cause CauseKind CdcError Change Changed ConfigError Deadline Defer Deferred Difference
    ImageMissing Item MalformedRecord MappingError Operation Outcome Path Progress Reject Rejected Removed Sink
    SinkError SinkMisconfigured SinkUnavailable Skipped StreamView Superseded __version__ backfill
    changes_from_lambda read_archive verify
"""


def test_the_public_names_are_these() -> None:
    assert sorted(PUBLIC.split()) == cdc.__all__


@pytest.mark.parametrize("name", ["cdc", "cdc.testing"])
def test_what_is_listed_is_there_and_what_is_there_is_listed(name: str) -> None:
    module = importlib.import_module(name)
    values = {public: getattr(module, public) for public in module.__all__}
    found = {
        known
        for known, value in vars(module).items()
        if not known.startswith("_") and not isinstance(value, ModuleType) and known not in HELPERS
    }
    assert found | {"__version__"} == set(values) | {"__version__"}


HELPERS = {"Any", "TYPE_CHECKING", "import_module"}
"""Names that the modules import for themselves."""


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'cdc' has no attribute 'Chnage'"):
        getattr(cdc, "Chnage")  # noqa: B009  (mypy sees that there is no such name)


@pytest.mark.parametrize(
    "statement", ["import cdc", "from cdc import changes_from_lambda, read_archive", "import consumers.aws_lambda"]
)
def test_importing_it_imports_no_client(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {CLIENTS} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_library_leaves_lazy_names_alone() -> None:
    code = "import cdc, sys\nprint('cdc.archive' in sys.modules, 'cdc.records.decoding' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
