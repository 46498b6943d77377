"""Modules that are run at their first use behave as if they had been imported at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = {
    "thing/__init__.py": "print('run')\nfrom thing.part import answer\nfrom . import other\nname = 'thing'\n",
    "thing/part.py": "answer = 42\n",
    "thing/other.py": "from thing import part\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, code in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    return tmp_path


def said(folder: Path, code: str) -> list[str]:
    """The output of this code, in a Python of its own."""
    head = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    code = f"{head}from consumers.aws_lambda.lazy_imports import import_lazily\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_package_is_not_run_while_only_its_submodules_are_used(folder: Path) -> None:
    assert said(folder, "import_lazily('thing'); from thing.part import answer; print(answer)") == ["42"]


def test_a_submodule_asked_of_the_package_does_not_run_it(folder: Path) -> None:
    assert said(folder, "import_lazily('thing'); from thing import part; print(part.answer)") == ["42"]


def test_asking_for_something_of_it_runs_it_once(folder: Path) -> None:
    code = "import_lazily('thing'); import thing; print('before')\n"
    code += "print(thing.name, thing.answer, thing.other.part.answer)"
    assert said(folder, code) == ["before", "run", "thing", "42", "42"]


def test_threads_that_ask_at_the_same_time_all_find_it_whole(folder: Path) -> None:
    (folder / "slow.py").write_text("import threading\nthreading.Event().wait(0.1)\nprint('run')\nname = 'slow'\n")
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import_lazily('slow'); import slow\n"
        "with ThreadPoolExecutor(4) as pool: print(*pool.map(lambda _: slow.name, range(4)))"
    )
    assert said(folder, code) == ["run", *["slow"] * 4]


def test_code_that_fails_says_so_each_time_it_is_asked_for(folder: Path) -> None:
    (folder / "broken.py").write_text("print('run')\n1 / 0\n")
    code = (
        "import_lazily('broken'); import broken\n"
        "for _ in range(2):\n"
        "    try: broken.name\n"
        "    except ZeroDivisionError: print('no')"
    )
    assert said(folder, code) == ["run", "no", "run", "no"]


def test_what_it_does_not_have_is_an_attribute_error(folder: Path) -> None:
    code = "import_lazily('thing'); import thing; print(hasattr(thing, 'nothing'), hasattr(thing, 'nothing'))"
    assert said(folder, code) == ["run", "False", "False"]


def test_what_is_loaded_or_not_installed_stays_as_it_is(folder: Path) -> None:
    code = "import thing; import_lazily('thing', 'not_installed')\n"
    code += "print(type(thing).__name__, 'not_installed' in sys.modules)"
    assert said(folder, code) == ["run", "module", "False"]


def test_a_module_is_absent_for_a_while_only(folder: Path) -> None:
    code = (
        "from consumers.aws_lambda.lazy_imports import hidden\n"
        "with hidden('thing'):\n"
        "    try: import thing\n"
        "    except ImportError: print('no')\n"
        "import thing\n"
        "with hidden('thing'): import thing; print(thing.name)"
    )
    assert said(folder, code) == ["no", "run", "thing"]


def test_opensearch_py_is_whole_after_our_client_was_made() -> None:
    code = (
        "import os; os.environ.update(AWS_LAMBDA_RUNTIME_API='x', CDC_OPENSEARCH_ENDPOINT='http://127.0.0.1:9')\n"
        "from consumers.aws_lambda.lazy_imports import import_search_client; import_search_client()\n"
        "from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client\n"
        "client = opensearch_client(OpenSearchOptions(endpoint='http://127.0.0.1:9'))\n"
        "print('requests.api' in sys.modules, 'asyncio' in sys.modules)\n"
        "import opensearchpy, requests, urllib3.http2; from opensearchpy.helpers import bulk\n"
        "print(type(client) is opensearchpy.OpenSearch, bulk.__name__, opensearchpy.helpers.utils.__name__)\n"
        "print(opensearchpy.Search.__name__, requests.Session.__name__, urllib3.http2.inject_into_urllib3.__name__)"
    )
    assert said(Path(), code) == [
        *("False", "False", "True", "bulk", "opensearchpy.helpers.utils", "Search", "Session", "inject_into_urllib3"),
    ]


def test_the_library_and_the_consumer_import_as_everybody_does() -> None:
    code = (
        "import sys; before = dict(sys.modules)\n"
        "from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client\n"
        "opensearch_client(OpenSearchOptions(endpoint='http://127.0.0.1:9'))\n"
        "print(any(type(module).__name__ == '_LazyModule' for module in sys.modules.values()))"
    )
    assert said(Path(), code) == ["False"]


def test_outside_lambda_nothing_is_rewired() -> None:
    code = (
        "import os, sys; os.environ['CDC_OPENSEARCH_ENDPOINT'] = 'http://127.0.0.1:9'\n"
        "from consumers.aws_lambda.lazy_imports import import_search_client; import_search_client()\n"
        "print('opensearchpy' in sys.modules)"
    )
    assert said(Path(), code) == ["False"]
