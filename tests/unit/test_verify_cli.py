"""`cdc verify`: the price first, the verdict last, exit codes that scripts may trust."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from cdc.errors import ConfigError
from cdc.loads.deployment import Deployment
from cdc.loads.table import SourceTable
from cdc.verification.findings import Findings
from cdc.verification.reading import VerificationProgress
from cdc.verification.verify import RepairRefused, verify
from consumers.cli.findings import print_findings
from consumers.cli.verify import Wanted, verified
from consumers.cli.verify_screen import VerifyScreen
from tests.unit.sample_findings import HOSTILE, IN_STEP, SAMPLE
from tests.unit.test_cli import cdc
from tests.unit.test_verification_html import assert_harmless
from tests.verifying import World

SHOP = SourceTable("shop", "arn:aws:dynamodb:eu-west-1:1:table/shop", "t", ("pk",), ("S",), 1000, 8_192_000, None, None)


class FakeVerify:
    """Stands for `verify`: gives these findings, and keeps what it was asked."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.asked: dict[str, Any] = {}

    def __call__(self, _deployment: Deployment, table: str, **asked: Any) -> Findings:
        self.asked = {"table": table, **asked}
        asked["observe"](VerificationProgress(500, 400, 3, 1000.0))
        return self.findings


def deployment() -> Deployment:
    return cast("Deployment", SimpleNamespace(pages=SimpleNamespace(describe=lambda _table: SHOP)))


def code(findings: Findings, **wanted: Any) -> int:
    return verified(deployment(), Wanted("shop", **wanted), FakeVerify(findings))


MENDED = msgspec.structs.replace(SAMPLE, repaired={"ghost": 63})
PARTLY = msgspec.structs.replace(SAMPLE, repaired={"ghost": 60}, left=3)
ONLY_LETTERS = msgspec.structs.replace(IN_STEP, counts={"kept": 3})


@pytest.mark.parametrize(
    ("findings", "wanted", "expected"),
    [
        (IN_STEP, {}, 0),
        (ONLY_LETTERS, {}, 0),
        (SAMPLE, {}, 1),
        (IN_STEP, {"repair": True}, 0),
        (MENDED, {"repair": True}, 0),
        (PARTLY, {"repair": True}, 3),
        (SAMPLE, {"repair": True, "dry_run": True}, 1),
    ],
    ids=["equal", "explained", "differences", "nothing to mend", "mended", "left over", "dry run"],
)
def test_the_exit_code_says_how_it_ended(findings: Findings, wanted: dict[str, Any], expected: int) -> None:
    assert code(findings, **wanted) == expected


def test_what_is_asked_for_reaches_the_verification() -> None:
    fake = FakeVerify(IN_STEP)
    wanted = Wanted(
        "shop",
        with_content=False,
        sample=50,
        repair=True,
        max_repairs=7,
        dry_run=True,
        max_read_units=100.0,
        workers=2,
        settle_seconds=0.5,
        kinesis_stream_arn="arn:aws:kinesis:eu-west-1:123456789012:stream/changes",
    )
    verified(deployment(), wanted, fake)
    asked = fake.asked
    assert (asked["table"], asked["with_content"], asked["sample"], asked["workers"]) == ("shop", False, 50, 2)
    assert (asked["repair"], asked["max_repairs"], asked["dry_run"]) == (True, 7, True)
    assert (asked["max_read_units"], asked["settle_seconds"]) == (100.0, 0.5)
    assert asked["stream"].table == "shop"


def test_without_repair_nothing_is_mended() -> None:
    fake = FakeVerify(SAMPLE)
    verified(deployment(), Wanted("shop"), fake)
    assert fake.asked["repair"] is False
    assert fake.asked["stream"] is None


def test_the_price_is_told_before_and_the_verdict_after(capsys: pytest.CaptureFixture[str]) -> None:
    code(SAMPLE)
    told = capsys.readouterr()
    assert told.err.startswith("shop: about 1,000 items, 8.2 MB; about 1,000 read units, $0.0001 on demand")
    assert told.out.startswith("Not in step: 63 of 12,431,074 items and documents differ")


def test_json_is_the_findings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code(SAMPLE, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["differences"] == 63
    assert told["counts"]["ghost"] == 4


def test_the_page_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    code(SAMPLE, html=page)
    assert page.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


@pytest.mark.parametrize("place", ["", "nowhere/report.html"])
def test_a_page_that_cannot_be_written_is_known_before_anything_is_read(tmp_path: Path, place: str) -> None:
    fake = FakeVerify(SAMPLE)
    with pytest.raises(ConfigError, match="--html"):
        verified(deployment(), Wanted("shop", html=tmp_path / place), fake)
    assert not fake.asked


def test_a_refused_repair_still_shows_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuses(*_: Any, **__: Any) -> Findings:
        raise RepairRefused(SAMPLE, 10)

    page = tmp_path / "report.html"
    with pytest.raises(RepairRefused, match="--max 63"):
        verified(deployment(), Wanted("shop", repair=True, max_repairs=10, html=page), refuses)
    assert "Not in step: 63" in capsys.readouterr().out
    assert page.exists()


class Ticks:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def screen(clock: Callable[[], float], **more: Any) -> tuple[VerifyScreen, io.StringIO]:
    out = io.StringIO()
    return VerifyScreen(Console(file=out, width=80, **more), clock), out


def test_without_a_terminal_progress_is_a_line_every_five_seconds() -> None:
    clock = Ticks()
    shown, out = screen(clock)
    shown.price(SHOP, None)
    with shown:
        for second in range(1, 11):
            clock.now = 100.0 + second
            shown.observe(VerificationProgress(50 * second, 40 * second, 1, 2000.0))
    lines = out.getvalue().splitlines()[1:]
    assert lines == [
        "250 items and 200 documents read, 50 items/s, 1 looked at again, 2,000.0 read units, $0.0003, 15 s left",
        "500 items and 400 documents read, 50 items/s, 1 looked at again, 2,000.0 read units, $0.0003, 10 s left",
    ]


def test_at_a_terminal_progress_is_a_bar_that_goes_away() -> None:
    shown, out = screen(Ticks(), force_terminal=True)
    shown.price(SHOP, None)
    with shown:
        shown.observe(VerificationProgress(500, 400, 3, 1000.0))
    assert "500 items and 400 documents read" in out.getvalue()


def test_a_sample_costs_what_its_items_do() -> None:
    shown, out = screen(Ticks())
    shown.price(SHOP, 10)
    assert " ".join(out.getvalue().split()).startswith("shop: 10 of about 1,000 items, 8.2 MB; about 10 read units")


def test_an_empty_table_has_a_price_too() -> None:
    shown, out = screen(Ticks())
    shown.price(SourceTable("shop", "", "t", ("pk",), ("S",), 0, 0, None, None), 10)
    assert "about 0 items, 0 bytes; about 0 read units" in out.getvalue()


def printed(findings: Findings, width: int = 80, *, terminal: bool = True) -> str:
    out = io.StringIO()
    print_findings(findings, Console(file=out, width=width, force_terminal=terminal, color_system=None))
    return out.getvalue()


def test_what_may_become_a_log_quotes_no_item() -> None:
    told = printed(SAMPLE, terminal=False)
    assert "Torstra" not in told
    assert "C#1042" not in told
    assert "shipped" not in told
    assert "shown at a terminal, by --html and by --json" in " ".join(told.split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_narrow_terminal_loses_nothing(width: int) -> None:
    told = printed(SAMPLE, width)
    assert max(map(len, told.splitlines())) <= width
    squeezed = "".join(told.split())
    for words in (
        "12,431,007",
        "12345678901234567890123456789012345678",
        "12345678901234567890123456789012345000",
        "1794300000000000018",
        "anotherprogramwroteit",
        "1,553,878.5readunits,$0.1942",
    ):
        assert words in squeezed
    assert "…" not in told.replace("… ", "").replace(" …", "").replace("…\n", "")  # only where a long value is cut


def test_a_terminal_shows_every_class_and_five_examples() -> None:
    told = printed(SAMPLE)
    lines = told.splitlines()
    for kind, count in SAMPLE.counts.items():
        assert any(line.split()[:2] == [kind, str(count)] for line in lines)
    assert sum(line.split()[:1] != [] and "orders/" in line for line in lines) == 5


def test_what_an_item_holds_never_steers_the_terminal() -> None:
    hostile = msgspec.structs.replace(SAMPLE, examples=(SAMPLE.examples[3],))
    told = printed(hostile)
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "[31m" in told  # as text, and no markup of Rich's either


def test_help_has_an_example() -> None:
    done = cdc("verify", "--help")
    assert done.returncode == 0
    assert "Example: cdc verify --table shop" in done.stdout


@pytest.mark.parametrize("option", [["--dry-run"], ["--max", "5"]])
def test_an_option_of_a_repair_without_one_is_a_wrong_set_up(option: list[str]) -> None:
    done = cdc("verify", "--table", "shop", *option)
    assert done.returncode == 2
    assert f"error: {option[0]} is of a repair" in done.stderr
    assert "Add --repair" in done.stderr


def test_a_settle_that_is_no_duration_is_a_wrong_set_up() -> None:
    done = cdc("verify", "--table", "shop", "--settle", "soon")
    assert done.returncode == 2
    assert "'soon' is no duration" in done.stderr


def test_the_report_replaces_an_older_one(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("x" * 1_000_000)
    code(IN_STEP, html=page)
    assert page.read_text().endswith("</html>\n")
    assert page.stat().st_size < 100_000


def test_a_real_verification_is_shown_and_its_repair_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World().filled()
    world.remove(next(iter(world.server.documents("orders"))))
    identifier = next(iter(world.server.documents("orders")))
    hostile = {**world.source(identifier), "status": HOSTILE}
    world.plant(identifier, hostile, world.version(identifier))
    world.clock.sleep(2)
    page = tmp_path / "report.html"

    assert verified(world.deployment, Wanted("shop", workers=1, html=page), verify) == 1
    told = capsys.readouterr().out
    assert "Not in step: 2 of 7 items and documents differ." in told
    assert "\x1b" not in told
    assert_harmless(page.read_text())
    assert verified(world.deployment, Wanted("shop", workers=1, repair=True, dry_run=True), verify) == 1
    assert verified(world.deployment, Wanted("shop", workers=1, repair=True, html=page), verify) == 0
    assert "In step again: all 2 differences were mended, of 7 items and documents." in page.read_text()
    assert verified(world.deployment, Wanted("shop", workers=1), verify) == 0
