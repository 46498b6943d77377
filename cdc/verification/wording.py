"""Wording: findings in words, for pages and terminals."""

from __future__ import annotations

from dataclasses import dataclass

from cdc.verification.findings import DifferenceClass, Findings

__all__ = ["CLASSES", "ClassWords", "besides", "compared", "effort", "headline", "is_repaired", "scope", "visible"]


@dataclass(frozen=True, slots=True)
class ClassWords:
    """The words of a class of differences."""

    meaning: str
    remedy: str


CLASSES = {
    DifferenceClass.MISSING: ClassWords(
        "The item should have a document, and has none.", "`cdc verify --repair` writes it."
    ),
    DifferenceClass.GHOST: ClassWords(
        "A document whose item is gone, or is not taken by the mapping.", "`cdc verify --repair` deletes it."
    ),
    DifferenceClass.STALE: ClassWords(
        "The document is not what the item says, and no value explains it.", "`cdc verify --repair` writes it anew."
    ),
    DifferenceClass.FOREIGN: ClassWords(
        "Another program wrote the document: its version is of none of the table's streams.",
        "Stop that program first; `cdc verify --repair` then mends what our versions can outrank.",
    ),
    DifferenceClass.SHAPE: ClassWords(
        "The values are right, and an older mapping made the document.", "`cdc verify --repair` writes it anew."
    ),
    DifferenceClass.KEPT: ClassWords(
        "A dead letter explains it: OpenSearch or the mapping refused the change.",
        "Mend the cause, then `cdc dead-letters redrive`.",
    ),
}
"""Each class of differences, in the order in which they are shown."""


def compared(findings: Findings) -> int:
    """How many items and documents were judged."""
    return findings.equal + sum(findings.counts.values()) + findings.unsettled


def besides(findings: Findings) -> dict[str, tuple[str, int]]:
    """The counts that are no differences: their names, meanings and numbers."""
    return {
        "set aside": ("Right, with fields set aside since OpenSearch could not take them.", findings.set_aside),
        "unsettled": ("Changed at each look: no difference, and not seen equal either.", findings.unsettled),
    }


def is_repaired(findings: Findings) -> bool:
    """Was a repair tried?"""
    return bool(findings.repaired) or findings.left > 0


def headline(findings: Findings) -> str:
    """The verdict as one sentence: is the index in step, and how many of how many are not."""
    whole, differing = compared(findings), findings.differences
    noun = "items and documents of a sample" if findings.sampled else "items and documents"
    if not whole:
        return "In step: there is nothing in the table, and nothing in the index."
    letters = findings.counts.get(DifferenceClass.KEPT, 0)
    told = f"; {letters:,} explained by {'a dead letter' if letters == 1 else 'dead letters'}." if letters else "."
    if not differing:
        step = "In step, as far as a sample can tell" if findings.sampled else "In step"
        return f"{step}: none of {whole:,} {noun} differs{told}"
    differ = "differs" if differing == 1 else "differ"
    if not is_repaired(findings):
        return f"Not in step: {differing:,} of {whole:,} {noun} {differ}{told}"
    mended = sum(findings.repaired.values())
    if not mended:
        return f"Not in step: {differing:,} of {whole:,} {noun} {differ}, and nothing was mended{told}"
    if findings.left:
        return (
            f"Not in step: {mended:,} of {differing:,} differences were mended, and {findings.left:,} left over{told}"
        )
    was = "1 difference was mended" if mended == 1 else f"all {mended:,} differences were mended"
    return f"In step again: {was}, of {whole:,} {noun}{told}"


def scope(findings: Findings) -> str:
    """How much was compared; of a sample without a difference also what it proves (the rule of three)."""
    if not findings.sampled:
        return "the whole table and index"
    whole = compared(findings)
    if findings.differences or not whole:
        return "a sample, drawn at random"
    return f"a sample; with 95 % confidence at most {min(1_000_000, round(3_000_000 / whole)):,} in a million differ"


def effort(findings: Findings) -> str:
    """The bill: read units, and their price on demand."""
    price = findings.price
    return f"{price.read_units:,.1f} read units, ${price.dollars:,.4f}"


def visible(text: str) -> str:
    """The text with every character that can't be seen, or that would steer a terminal, as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
