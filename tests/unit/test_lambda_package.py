"""The Lambda's package: the same bytes every time, whole without this environment, and fit for its processor."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from local import lambda_package
from local.emulator import install_emulator
from local.lambda_binaries import Target, machine_architecture, misfits
from local.lambda_package import LOCK, ROOT, Built, Package, build

HERE = Target(f"{sys.version_info.major}.{sys.version_info.minor}", machine_architecture())
ARM = Target("3.13", "arm64")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The package for this machine's own Python: what can be run here."""
    return build(Package(HERE), tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def task(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, unpacked as Lambda does."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(built.path) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "thing").mkdir()
    return tmp_path / "thing"


def elf(machine: int) -> bytes:
    """The head of a little-endian 64-bit library for a processor."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine)


def wheel(folder: Path, *tags: str) -> None:
    info = folder / "thing-1.0.dist-info"
    info.mkdir()
    info.joinpath("WHEEL").write_text("".join(f"Tag: {tag}\n" for tag in tags))


def run(python: Path | str, task: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`code` in a Python that sees nothing of this project but what is in `task`."""
    start = f"import sys; sys.path.insert(0, {str(task)!r})\n{code}"
    return subprocess.run(
        [str(python), "-I", "-B", "-c", start],
        capture_output=True,
        text=True,
        check=False,
        cwd=task,
        env={"PATH": os.environ["PATH"], **environment},
    )


def test_two_builds_in_different_folders_have_the_same_bytes(built: Built, tmp_path: Path) -> None:
    again = build(Package(HERE), tmp_path / "elsewhere")
    assert (again.sha256, again.content_sha256) == (built.sha256, built.content_sha256)


def test_a_build_for_another_architecture_has_its_libraries(tmp_path: Path) -> None:
    arm = build(Package(ARM, bytecode=False, core=False), tmp_path)
    assert arm.path.name == "dynamodb-cdc-arm64.zip"
    with zipfile.ZipFile(arm.path) as archive:
        libraries = {name: archive.read(name)[18] for name in archive.namelist() if name.endswith(".so")}
    assert set(libraries.values()) == {183}
    assert any("cpython-313-aarch64" in name for name in libraries)


def test_handlers_are_imported_with_only_the_runtimes_packages_beside_them(task: Path) -> None:
    python = install_emulator(lambda *_: None).python
    entries = ", ".join(f"consumers.aws_lambda.entry_{name}" for name in ("changes", "redrive", "audit"))
    code = f"import {entries}, boto3, cdc, yaml\n"
    code += "import consumers.aws_lambda as a; a.redrive_handler_for; print(cdc.__file__, yaml.__file__)"
    done = run(python, task, code)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(task)) for path in done.stdout.split())


def test_every_module_of_the_project_in_the_package_can_be_imported(task: Path) -> None:
    python = install_emulator(lambda *_: None).python
    modules = [
        path.relative_to(task).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for name in ("cdc", "consumers")
        for path in sorted((task / name).rglob("*.py"))
    ]
    done = run(python, task, "\n".join(f"import {name}" for name in modules))
    assert done.returncode == 0, done.stderr


def test_an_index_alone_is_written_without_the_sdk(task: Path) -> None:
    python = install_emulator(lambda *_: None).python
    code = "import consumers.aws_lambda.entry_changes; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = run(
        python,
        task,
        code,
        AWS_LAMBDA_RUNTIME_API="127.0.0.1:1",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="eu-west-1",
        CDC_OPENSEARCH_ENDPOINT="https://search.example.com",
        CDC_OPENSEARCH_AUTH="es",
        CDC_DEAD_LETTER_BUCKET="letters",
    )
    assert done.returncode == 0, done.stderr
    assert "opensearchpy" in done.stdout.split()
    assert not {"boto3", "botocore", "dateutil"} & set(done.stdout.split())


def test_the_sdk_and_what_only_the_consumer_needs_stay_out(built: Built) -> None:
    assert not {"boto3", "botocore", "grpc", "google", "jpype", "typer", "bin"} & set(built.parts)
    with zipfile.ZipFile(built.path) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith(("consumers/kcl/", "consumers/service/", "cdc/testing/"))]
    assert "mappings/shop.yml" in names


def test_bytecode_is_never_checked_against_sources_whose_times_are_lost(built: Built, task: Path) -> None:
    assert built.bytecode is not None
    (compiled,) = (task / "cdc/records/__pycache__").glob("change.*.pyc")
    assert compiled.read_bytes()[4:8] == struct.pack(
        "<L", 0b01
    )  # "Cached bytecode invalidation": hash-based, unchecked


def test_a_layer_has_everything_below_python_but_the_mappings(tmp_path: Path) -> None:
    layer = build(Package(HERE, layer=True, bytecode=False), tmp_path)
    with zipfile.ZipFile(layer.path) as archive:
        names = archive.namelist()
    assert layer.path.name == f"dynamodb-cdc-layer-{HERE.architecture}.zip"
    assert {name.partition("/")[0] for name in names} == {"python"}
    assert "python/consumers/aws_lambda/entry_changes.py" in names
    assert not [name for name in names if name.startswith("python/mappings/")]


def test_own_files_stand_beside_the_handlers_with_the_mappings_named(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from consumers.aws_lambda import handler_for\n")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/users.yml").write_text("table: users\n")
    own = build(Package(HERE, mappings=tmp_path / "maps", own=[tmp_path / "own.py"], bytecode=False), tmp_path / "out")
    with zipfile.ZipFile(own.path) as archive:
        names = archive.namelist()
    assert {"own.py", "mappings/users.yml"} <= set(names)
    assert "mappings/shop.yml" not in names


def test_a_package_over_its_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_package, "UNZIPPED_LIMIT", 1_000_000)
    with pytest.raises(ConfigError, match=r"MB unzipped, and 1 MB is the limit\n.*the largest: \w+ \d"):
        build(Package(HERE, bytecode=False), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_own_library_for_another_processor_is_refused_by_name(tmp_path: Path) -> None:
    other = {62: 183, 183: 62}[{"x86_64": 62, "arm64": 183}[HERE.architecture]]
    (tmp_path / "own").mkdir()
    (tmp_path / "own/fast.so").write_bytes(elf(other))
    with pytest.raises(ConfigError, match=r"^own/fast\.so is for \w+, not for \w+") as refused:
        build(Package(HERE, own=[tmp_path / "own"], bytecode=False), tmp_path / "out")
    assert len(str(refused.value).splitlines()) <= 2
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "machine", "says"),
    [
        ("thing.cpython-313-aarch64-linux-gnu.so", 183, None),
        ("thing.abi3.so", 183, None),
        ("libthing.so.1", 183, None),
        ("thing.cpython-313-aarch64-linux-gnu.so", 62, "is for x86_64, not for aarch64"),
        ("thing.cpython-312-aarch64-linux-gnu.so", 183, "is for CPython 3.12, not for 3.13"),
        ("libthing.so.1", 62, "is for x86_64, not for aarch64"),
    ],
)
def test_a_library_fits_by_its_name_and_its_header(folder: Path, name: str, machine: int, says: str | None) -> None:
    (folder / name).write_bytes(elf(machine))
    assert list(misfits(folder, ARM)) == ([] if says is None else [f"{name} {says}"])


def test_a_library_of_a_newer_glibc_does_not_fit(folder: Path) -> None:
    (folder / "thing.abi3.so").write_bytes(elf(183) + b"\0GLIBC_2.17\0GLIBC_2.34\0")
    assert not list(misfits(folder, ARM))
    (folder / "thing.abi3.so").write_bytes(elf(183) + b"\0GLIBC_2.17\0GLIBC_2.38\0")
    assert list(misfits(folder, ARM)) == ["thing.abi3.so needs glibc 2.38, and the runtime has 2.34"]


def test_the_core_is_in_the_package_where_it_can_be_built(built: Built, task: Path) -> None:
    there = (task / "cdc/_core.abi3.so").is_file()
    assert there is (built.without_core is None)
    if shutil.which("cargo") and HERE.architecture in ("arm64", "x86_64"):
        assert there, built.without_core
        done = run(sys.executable, task, "from cdc import _core; print(_core.__file__)")
        assert done.stdout.startswith(str(task)), done.stderr


def test_a_package_without_the_core_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "no Rust toolchain" in str(build(Package(HERE, bytecode=False), tmp_path).without_core)
    assert build(Package(HERE, bytecode=False, core=False), tmp_path).without_core == "it was not asked for"


@pytest.mark.parametrize("name", ["thing.cpython-313-darwin.so", "thing.dylib", "thing.pyd"])
def test_a_library_of_another_system_does_not_fit(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xcf\xfa\xed\xfe" + bytes(40))
    (line,) = misfits(folder, ARM)
    assert line.startswith(name)


@pytest.mark.parametrize(
    "tags",
    [
        ["py3-none-any"],
        ["py2.py3-none-any"],
        ["cp313-cp313-manylinux2014_aarch64"],
        ["cp313-cp313-manylinux_2_17_aarch64", "cp313-cp313-manylinux_2_28_aarch64"],
        ["cp39-abi3-manylinux_2_28_aarch64"],
        ["cp313-cp313-musllinux_1_2_aarch64", "cp313-cp313-manylinux_2_34_aarch64"],
    ],
)
def test_a_wheel_fits_if_one_of_its_tags_does(folder: Path, tags: list[str]) -> None:
    wheel(folder, *tags)
    assert not list(misfits(folder, ARM))


@pytest.mark.parametrize(
    "tag",
    [
        "cp313-cp313-manylinux_2_28_x86_64",
        "cp313-cp313-macosx_11_0_arm64",
        "cp313-cp313-musllinux_1_2_aarch64",
        "cp313-cp313-manylinux_2_39_aarch64",
        "cp312-cp312-manylinux_2_28_aarch64",
        "cp314-abi3-manylinux_2_28_aarch64",
        "cp313-cp313t-manylinux_2_28_aarch64",
    ],
)
def test_a_wheel_for_another_python_or_processor_does_not_fit(folder: Path, tag: str) -> None:
    wheel(folder, tag)
    assert list(misfits(folder, ARM)) == [
        f"thing-1.0.dist-info is of a wheel for {tag}, not for CPython 3.13 on aarch64"
    ]


def test_the_lock_has_all_that_the_library_needs_but_the_sdk() -> None:
    setup = (ROOT / "setup.cfg").read_text().partition("install_requires =")[2].partition("\n[")[0]
    wanted = {name.lower() for name in re.findall(r"^\s+([\w-]+)>=", setup, re.MULTILINE)}
    locked = set(re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE))
    assert wanted - locked == {"boto3"}
    assert "botocore" not in locked


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.lambda_build", "--add", "nowhere.py", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "nowhere.py is not there" in done.stderr
