"""Benchmarks: ours beside what people would write instead, as ratios measured in one run.

`python -m benchmarks` (`make bench`) runs every case, `--quick` (`make bench-quick`) a short form of each that is for
breakage only. A case is a module of this folder with

    TITLE: str                                        # "Record: both images, differences, the encoded document"
    def run(quick: bool) -> Iterator[Result]: ...     # yields each table as soon as it is measured

`Result`, `Row`, `Goal` and `Spread` are in `benchmarks.results`; `benchmarks.side_by_side` has the measuring:
contenders take turns, many times, and the ratio is that of neighbouring turns. A case that can't run here (no Java,
no network) raises `CannotRun` with one line that says why. `CASES` in `benchmarks.__main__` lists the modules, those
that are there run. All of them together take at most ten minutes, the quick forms one: `record`, `handler` and
`growth` four of the ten, `kcl` and `end_to_end` five, `cold_start` one.
"""
