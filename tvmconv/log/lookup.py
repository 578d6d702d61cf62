"""What the logs say of a key: the record to use, and why others are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tvmconv import record as results
from tvmconv import target as targets
from tvmconv.jsonlines import BadFile
from tvmconv.log.best import Comparison, Sourced, decide
from tvmconv.log.file import Log
from tvmconv.log.key import Key
from tvmconv.log.places import SUFFIX, folder_of
from tvmconv.log.record import Foreign, Record
from tvmconv.log.versions import SCHEMA

_NEAR = 3  # keys that are named where there is none that fits

Say = Callable[[str], None]


def _silent(sentence: str) -> None:
    pass


def nearest_cpu(key: Key) -> str | None:
    """The CPU whose records count most for a key: this machine's, as Linux names it; None where the key's target is not
    this machine's own, so that no CPU is nearer to it than another."""
    return str(results.here()["cpu"]) if key.target == targets.native().name else None


@dataclass(frozen=True)
class Found:
    """What there is for a key: what counts, or None; and the reasons why others of this key do not."""

    comparison: Comparison | None
    refused: tuple[str, ...] = ()

    @property
    def best(self) -> Sourced | None:
        return self.comparison.best if self.comparison else None


@dataclass
class Logs:
    """The logs in `folders`, those of the first before those of the next; read once, when they are asked.

    note hears why records are refused, None where nobody wants to know; warn hears of files that cannot be used.
    """

    folders: Sequence[Path]
    note: Say | None = None
    warn: Say = _silent
    _read: dict[Path, dict[Key, list[Sourced]]] = field(default_factory=dict, repr=False)
    _said: set[str] = field(default_factory=set, repr=False)

    def best(self, key: Key) -> Found:
        """What the logs of the key's target say of it."""
        own = [folder_of(key.target, folder) for folder in self.folders]
        found = [item for path in own for item in self._records(path).get(key, ())]
        reasons = [item.record.foreign for item in found]
        usable = [item for item, reason in zip(found, reasons, strict=True) if not reason]
        refused = dict.fromkeys(f"{item.path}: {why}" for item, why in zip(found, reasons, strict=True) if why)
        comparison = decide(usable, nearest_cpu(key))
        if comparison is None and self.note and (found or self._near(key, same_algorithm=True)):
            self.say_refused(self.why_not(key))
        for reason in refused if comparison else ():
            self.say_refused(f"a record of {key} is refused: {reason}")
        if comparison and comparison.withheld:
            self.say_refused(f"{comparison.best.path}: {key}: {comparison.withheld}")
        return Found(comparison, tuple(refused))

    def why_not(self, key: Key) -> str:
        """Why there is no record for a key: one sentence, which says what there is instead."""
        own = [item for path in self._all_folders() for item in self._records(path).get(key, ())]
        if own:
            return f"the records of {key} are refused: {_why_unusable(own)}"
        near = self._near(key, same_algorithm=True) or self._near(key, same_algorithm=False)
        if not near:
            return f"no tuning record of {key}: `tvmconv tune` makes one"
        differing = [_differing(other, key) for other in near]
        more = f", and {len(near) - _NEAR} more" if len(near) > _NEAR else ""
        return f"no tuning record of {key}; there is one {'; one '.join(differing[:_NEAR])}{more}"

    def _near(self, key: Key, same_algorithm: bool) -> list[Key]:
        """The keys of the same layer that differ from this one in the fewest fields, wherever they are."""
        known = dict.fromkeys(found for path in self._all_folders() for found in self._records(path))
        own = [found for found in known if found.workload == key.workload]
        others = [found for found in own if (found.algorithm == key.algorithm) == same_algorithm]
        fewest = min((len(found.differences(key)) for found in others), default=0)
        return [found for found in others if len(found.differences(key)) == fewest]

    def say_refused(self, sentence: str) -> None:
        """Lets those who want to know hear why a record is not used, once."""
        if self.note:
            self._say(self.note, sentence)

    def _all_folders(self) -> list[Path]:
        there = [folder for folder in self.folders if folder.is_dir()]
        return [path for folder in there for path in sorted(folder.iterdir()) if path.is_dir()]

    def _records(self, folder: Path) -> dict[Key, list[Sourced]]:
        """The records of all files in a target's folder, by key."""
        if folder not in self._read:
            rank = next(index for index, own in enumerate(self.folders) if own == folder.parent)
            by_key: dict[Key, list[Sourced]] = {}
            for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
                for record in self._records_in(path):
                    by_key.setdefault(record.key, []).append(Sourced(record, path, rank))
            self._read[folder] = by_key
        return self._read[folder]

    def _records_in(self, path: Path) -> list[Record]:
        try:
            entries = Log(path, self.note or _silent).entries()
        except (BadFile, OSError) as error:
            self._say(self.warn, f"this tuning log is not used: {error}")
            return []
        foreign = [entry for entry in entries if isinstance(entry, Foreign)]
        if foreign:
            lines = f"{len(foreign)} lines of schema {foreign[0].schema}"
            self.say_refused(f"{path}: {lines} are refused; this tvmconv reads schema {SCHEMA}")
        return [entry for entry in entries if isinstance(entry, Record)]

    def _say(self, say: Say, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            say(sentence)


def _why_unusable(found: Sequence[Sourced]) -> str:
    for item in found:
        if reason := item.record.foreign:
            return f"{item.path}: {reason}"
    last = found[-1]
    return f"{last.path}: none of them has a time; {last.record.status}: {last.record.reason}"


def _differing(other: Key, key: Key) -> str:
    """In what another key differs. The name of a target stands for its core and its features."""
    differences = other.differences(key)
    implied = ("mcpu", "features") if "target" in differences else ()
    return ", ".join(text for name, text in differences.items() if name not in implied)
