"""`make lambda`: the function as a zip, or as a layer, for Lambda's Python; the same commit gives the same bytes.

The SDK is left out: "Building Lambda functions with Python" says that the runtime includes it. So are the parts of
opensearch-py that it never imports here (gRPC). Bytecode goes in, since Lambda's folder is read-only: without it, every
cold start would compile all of the sources again.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import file_digest, sha256
from pathlib import Path

from cdc.errors import ConfigError
from local.core_build import NoCore, build_core
from local.lambda_binaries import Target, misfits

__all__ = ["LOCK", "ROOT", "Built", "Package", "build", "interpreter"]

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "deploy/lambda/requirements.lock"

ZIPPED_LIMIT = 12_000_000
UNZIPPED_LIMIT = 40_000_000

_HANDLERS = (
    "consumers.aws_lambda.entry_changes",
    "consumers.aws_lambda.entry_redrive",
    "consumers.aws_lambda.entry_audit",
    "consumers.aws_lambda.entry_load",
    "consumers.aws_lambda.changes",
    "cdc",
)
"""Modules that a deployment, or a user's own function, imports; with all that these import they go in."""
_PROJECT = ("cdc", "consumers")
_NEEDLESS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
"""Files of a wheel's metadata that only an installer reads. They say when and from where, which differs."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can name


@dataclass(frozen=True)
class Package:
    """The package to build."""

    target: Target = field(default_factory=Target)
    layer: bool = False
    """The library and what it needs below `python/`, without mappings: those come with the function beside it."""
    mappings: Path = ROOT / "mappings"
    own: Sequence[Path] = ()
    """Files and folders of the user's, such as a module that calls `handler_for`: put beside the handlers."""
    bytecode: bool = True
    core: bool = True
    """With the compiled core, if it can be built for the target here."""

    @property
    def filename(self) -> str:
        """Such as `dynamodb-cdc-arm64.zip`."""
        return f"dynamodb-cdc-{'layer-' if self.layer else ''}{self.target.architecture}.zip"


@dataclass(frozen=True, slots=True)
class Built:
    """A package that was built and fits its limits."""

    path: Path
    sha256: str
    content_sha256: str
    """A digest of names, modes and contents: the same whatever compressed them."""
    zipped: int
    unzipped: int
    files: int
    bytecode: str | None
    """The Python that compiled the bytecode, such as `3.13.5`; None without any."""
    parts: dict[str, int]
    """Unzipped bytes of each top-level name."""
    without_core: str | None = None
    """The reason why the compiled core is not in it; None: it is."""


def build(package: Package, out: Path) -> Built:
    """Build `package` into the folder `out`.

    Raises:
        ConfigError: something can't be installed, does not fit the target, or is too large.
    """
    out.mkdir(parents=True, exist_ok=True)
    tree = out / f".{package.filename.removesuffix('.zip')}"
    shutil.rmtree(tree, ignore_errors=True)
    root = tree / "python" if package.layer else tree
    try:
        root.mkdir(parents=True)
        _install(root, package.target)
        _copy_code(root)
        left_out = _copy_core(root, package)
        if not package.layer:
            _copy(package.mappings, root / "mappings")
        for own in package.own:
            _copy(own, root / own.name)
        for unfit in misfits(root, package.target):
            raise ConfigError(unfit, remedy="Take it out, or bring one that is made for the function's architecture.")
        compiled = _compile(root, package) if package.bytecode else None
        built = replace(_zip(tree, out / package.filename, compiled), without_core=left_out)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    for size, limit, what in (
        (built.zipped, ZIPPED_LIMIT, "zipped"),
        (built.unzipped, UNZIPPED_LIMIT, "unzipped"),
    ):
        if size > limit:
            built.path.unlink()
            raise ConfigError(
                f"{built.path.name} is {size / 1e6:.1f} MB {what}, and {limit / 1e6:.0f} MB is the limit",
                remedy=f"Take something out; the largest: {_largest(built.parts)}.",
            )
    return built


def _largest(parts: Mapping[str, int]) -> str:
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in ordered[:5])


def _install(folder: Path, target: Target) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", "pip", "install", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--link-mode", "copy", "--target", str(folder)]
    command += ["--python-version", target.python, "--python-platform", f"{target.processor}-manylinux_2_28"]
    command += ["--requirement", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise ConfigError(
            f"the packages of {LOCK.relative_to(ROOT)} can't be had for Python {target.python} on {target.processor}:\n"
            + done.stderr.strip()[-2000:],
            remedy="Check the network, then try again.",
        )
    shutil.rmtree(folder / "bin", ignore_errors=True)  # commands of the wheels
    for name in (".lock", ".gitignore", "CACHEDIR.TAG"):  # uv's own
        (folder / name).unlink(missing_ok=True)
    for path in folder.glob("*.dist-info/*"):
        if path.name in _NEEDLESS:
            path.unlink()


def _copy_code(folder: Path) -> None:
    for path in sorted(_imported(_HANDLERS)):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _copy_core(folder: Path, package: Package) -> str | None:
    """Put the compiled core in; the reason, where it stays out."""
    if not package.core:
        return "it was not asked for"
    try:
        shutil.copyfile(build_core(package.target), folder / "cdc/_core.abi3.so")
    except NoCore as error:
        return str(error)
    return None


def _imported(modules: Iterable[str]) -> set[Path]:
    """The project's files that these import, wherever in their code."""
    found: dict[Path, None] = {}
    waiting = list(modules)
    while waiting:
        parts = waiting.pop().split(".")
        for end in range(1, len(parts) + 1):
            path = _file(parts[:end])
            if path is not None and path not in found:
                found[path] = None
                waiting += _imports(ast.parse(path.read_text(encoding="utf-8")))
    return set(found)


def _file(parts: Sequence[str]) -> Path | None:
    if parts[0] not in _PROJECT:
        return None
    path = ROOT.joinpath(*parts)
    return next((one for one in (path / "__init__.py", path.with_suffix(".py")) if one.is_file()), None)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _copy(source: Path, target: Path) -> None:
    """A file or a folder, without what tools leave in it."""
    if not source.exists():
        raise ConfigError(f"{source} is not there", remedy="Name a file or a folder.")
    if source.is_file():
        shutil.copyfile(source, target)
        return
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    shutil.copytree(source, target, ignore=ignored, copy_function=shutil.copyfile, dirs_exist_ok=True)


def _compile(root: Path, package: Package) -> str | None:
    """Compile all sources by the target's Python, if this machine has one; its version."""
    python = interpreter(package.target.python)
    if python is None:
        return None
    where = "/opt/python" if package.layer else "/var/task"
    # never checked against the sources: their times are lost in the zip
    command = [python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(root), "-p", where, str(root)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise ConfigError(f"what is bundled can't be compiled:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    return _version(python)


def interpreter(version: str) -> str | None:
    """A Python of this version (`3.13`): this one, one of the path, pyenv's or uv's; None if there is none."""
    candidates = [sys.executable, shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python")))
    uv = [sys.executable, "-m", "uv", "--quiet", "python", "find", "--no-python-downloads", "--no-project"]
    asked = subprocess.run([*uv, version], capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    candidates.append(asked.stdout.strip())
    for candidate in candidates:
        if candidate and (_version(candidate) or "").startswith(f"{version}."):
            return candidate
    return None


def _version(python: str) -> str | None:
    ask = [python, "-I", "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, check=False)  # noqa: S603  (a Python of this machine)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _zip(tree: Path, path: Path, bytecode: str | None) -> Built:
    """Sorted, with constant times and modes."""
    content, parts, unzipped, files = sha256(), dict[str, int](), 0, 0
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, source in sorted((found.relative_to(tree).as_posix(), found) for found in tree.rglob("*")):
            if source.is_dir():
                continue
            data = source.read_bytes()
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = 3  # Unix, wherever this runs
            entry.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if source.suffix == ".so" else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
            content.update(f"{name}\0{mode:o}\0{sha256(data).hexdigest()}\n".encode())
            first = name.removeprefix("python/").partition("/")[0]
            parts[first] = parts.get(first, 0) + len(data)
            unzipped, files = unzipped + len(data), files + 1
    part.replace(path)
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return Built(path, digest, content.hexdigest(), path.stat().st_size, unzipped, files, bytecode, parts)
