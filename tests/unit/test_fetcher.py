"""The adapter's fetcher, wrapped: a batch is made into JSON at the first look at it, and at no other."""

from __future__ import annotations

from typing import Any

from consumers.kcl.sources.caching_fetcher import written_once


class Answer:
    """The adapter's answer to one read: each look at its records writes them anew."""

    def __init__(self, records: list[str]) -> None:
        self.looks = 0
        self._records = records

    def records(self) -> list[str]:
        self.looks += 1
        return list(self._records)

    def millisBehindLatest(self) -> int:  # noqa: N802  (Java's name)
        return 7

    def childShards(self) -> list[str]:  # noqa: N802  (Java's name)
        return ["child"]


class Result:
    """The adapter's result: of a fetcher and its answer."""

    def __init__(self, fetcher: Any, answer: Any) -> None:
        self.fetcher, self.answer = fetcher, answer

    def getResultAdapter(self) -> Any:  # noqa: N802  (Java's name)
        return self.answer


class Input:
    """ProcessRecordsInput and its builder in one."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    @classmethod
    def builder(cls) -> Input:
        return cls()

    def __getattr__(self, name: str) -> Any:
        def give(value: Any) -> Input:
            self.given[name] = value
            return self

        return give

    def build(self) -> dict[str, Any]:
        return self.given


class Fetcher:
    """The adapter's fetcher: one read, then the shard's end."""

    def __init__(self, *results: Any) -> None:
        self._results = list(results)

    def getRecords(self) -> Any:  # noqa: N802  (Java's name)
        return self._results.pop(0)


class Jpype:
    """The part of jpype that the wrapper needs without Java: classes by their names, proxies that are plain objects."""

    @staticmethod
    def JClass(name: str) -> Any:  # noqa: N802  (jpype's name)
        return Input if name.endswith("ProcessRecordsInput") else Result

    @staticmethod
    def JImplements(_name: str) -> Any:  # noqa: N802  (jpype's name)
        return lambda made: made

    @staticmethod
    def JOverride(method: Any) -> Any:  # noqa: N802  (jpype's name)
        return method


class Make:
    """The adapter's own function."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def apply(self, _config: Any) -> Fetcher:
        return self._fetcher


def test_records_are_written_once_however_often_they_are_looked_at() -> None:
    answer = Answer(["one", "two"])
    fetcher = Fetcher(Result(None, answer))
    result = written_once(Jpype, Make(fetcher)).apply("shard").getRecords()
    wrapped = result.getResultAdapter()
    assert [wrapped.records() for _ in range(3)] == [["one", "two"]] * 3
    assert wrapped.toProcessRecordsInput() == {
        "records": ["one", "two"],
        "millisBehindLatest": 7,
        "childShards": ["child"],
    }
    assert answer.looks == 1


def test_the_fetcher_that_a_result_moves_on_is_the_adapters_own() -> None:
    fetcher = Fetcher(Result(None, Answer([])))
    assert written_once(Jpype, Make(fetcher)).apply("shard").getRecords().fetcher is fetcher


def test_the_end_of_a_shard_passes_as_it_is() -> None:
    end = object()
    assert written_once(Jpype, Make(Fetcher(end))).apply("shard").getRecords() is end
