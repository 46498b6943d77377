"""Does what is bundled fit the function's Python and processor? By the wheels' tags and the libraries' ELF headers."""

from __future__ import annotations

import platform
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

__all__ = ["Target", "machine_architecture", "misfits"]

_GLIBC = (2, 34)  # Amazon Linux 2023's, on which the runtimes from Python 3.12 on are built
_MACHINES = {"x86_64": 62, "aarch64": 183}  # "ELF header": e_machine
_EXTENSION = re.compile(r"\.(?:cpython-(?P<python>\d+)[a-z]*-(?P<processor>\w+)-linux-\w+|(?P<abi3>abi3))\.so$")
_MANYLINUX = re.compile(r"manylinux(?:_(\d+)_(\d+)|1|2010|2014)_(\w+)$")
_SYMBOLS = re.compile(rb"\0GLIBC_2\.(\d+)(?=\0)")
_FOREIGN = (".pyd", ".dll", ".dylib")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a package runs: a version of CPython such as `3.13`, a processor as the AWS console names it."""

    python: str = "3.13"
    architecture: str = "arm64"

    @property
    def processor(self) -> str:
        """The processor as Linux names it."""
        return "aarch64" if self.architecture == "arm64" else self.architecture

    @property
    def tag(self) -> str:
        """The version as wheels and libraries have it, such as `313`."""
        return self.python.replace(".", "")


def machine_architecture() -> str:
    """This machine's processor, as AWS names it."""
    return "arm64" if platform.machine() in ("arm64", "aarch64") else platform.machine()


def misfits(folder: Path, target: Target) -> Iterator[str]:
    """Binaries below `folder` that do not run on `target`: a line each, with the file and what it is for."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in _FOREIGN:
            yield f"{name} is for another system than Linux"
        elif ".so" in path.suffixes and path.is_file():
            yield from _library(path, name, target)
        elif path.name == "WHEEL":
            yield from _wheel(path, name, target)


def _library(path: Path, name: str, target: Target) -> Iterator[str]:
    head = path.open("rb").read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        yield f"{name} is no Linux library"
        return
    (machine,) = struct.unpack(">H" if head[5] == 2 else "<H", head[18:20])
    if machine != _MACHINES[target.processor]:
        known = {number: known for known, number in _MACHINES.items()}
        yield f"{name} is for {known.get(machine, f'processor {machine}')}, not for {target.processor}"
    needed = max((int(found[1]) for found in _SYMBOLS.finditer(path.read_bytes())), default=0)
    if needed > _GLIBC[1]:
        yield f"{name} needs glibc 2.{needed}, and the runtime has {_GLIBC[0]}.{_GLIBC[1]}"
    match = _EXTENSION.search(name)
    if match is not None and match["python"] not in (None, target.tag):
        yield f"{name} is for CPython {match['python'][0]}.{match['python'][1:]}, not for {target.python}"


def _wheel(path: Path, name: str, target: Target) -> Iterator[str]:
    tags = [line.removeprefix("Tag:").strip() for line in path.read_text().splitlines() if line.startswith("Tag:")]
    if tags and not any(_fits(tag, target) for tag in tags):
        wheel = name.rpartition("/")[0]
        yield f"{wheel} is of a wheel for {tags[0]}, not for CPython {target.python} on {target.processor}"


def _fits(tag: str, target: Target) -> bool:
    """By "Platform compatibility tags": one of a compressed set is enough."""
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    return any(_one_fits(*one, target) for one in product(pythons, abis, platforms))


def _one_fits(python: str, abi: str, system: str, target: Target) -> bool:
    if python == f"cp{target.tag}":
        fits = abi in (f"cp{target.tag}", "abi3", "none")
    elif abi == "abi3" and python.startswith("cp3"):
        fits = int(python[3:]) <= int(target.tag[1:])
    else:
        fits = abi == "none" and python in ("py3", f"py{target.tag}")
    return fits and _runs_on(system, target)


def _runs_on(system: str, target: Target) -> bool:
    if system in ("any", f"linux_{target.processor}"):
        return True
    match = _MANYLINUX.match(system)
    if match is None or match[3] != target.processor:
        return False
    return match[1] is None or (int(match[1]), int(match[2])) <= _GLIBC
