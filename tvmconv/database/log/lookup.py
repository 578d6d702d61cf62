"""Looks a key up in the logs: the record to use, and why others are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tvmconv.database.log.best import Comparison, Sourced, decide
from tvmconv.database.log.file import Log
from tvmconv.database.log.format.key import Key
from tvmconv.database.log.format.line import Foreign
from tvmconv.database.log.format.record import Record, this_cpu
from tvmconv.database.log.format.versions import SCHEMA
from tvmconv.database.log.index import IndexedRecords
from tvmconv.database.log.places import SUFFIX, folder_of
from tvmconv.support.jsonlines import BadFile
from tvmconv.target import targets

_NEAR = 3  # keys that are named where there is none that fits
_LARGE = 1 << 21  # bytes of a log from which on it is read by an index

Say = Callable[[str], None]


def _silent(sentence: str) -> None:
    pass


def nearest_cpu(key: Key) -> str | None:
    """The CPU whose records count most for a key: this machine's, as Linux names it; None where the key's target is not
    this machine's own, so that no CPU is nearer to it than another."""
    return this_cpu() if key.target == targets.native().name else None


@dataclass(frozen=True)
class Found:
    """The result of a lookup: the comparison that counts, or None; and why other records of the key are refused."""

    comparison: Comparison | None
    refused: tuple[str, ...] = ()

    @property
    def best(self) -> Sourced | None:
        return self.comparison.best if self.comparison else None


@dataclass(frozen=True)
class _Source:
    """A file's records by key. rank: as Sourced has it."""

    path: Path
    rank: int
    records: Mapping[Key, Sequence[Record]]


@dataclass
class Logs:
    """The logs in `folders`, those of the first before those of the next; read once, when they are asked, and large
    ones only where they have records of what is asked for.

    note, unless it is None, is called with the reasons why records are refused, warn with files that cannot be used.
    """

    folders: Sequence[Path]
    note: Say | None = None
    warn: Say = _silent
    _read: dict[Path, list[_Source]] = field(default_factory=dict, repr=False)
    _said: set[str] = field(default_factory=set, repr=False)

    def best(self, key: Key) -> Found:
        """Looks the key up in the logs of its target."""
        own = [folder_of(key.target, folder) for folder in self.folders]
        found = [item for folder in own for item in self._records(folder, key)]
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
        own = [item for folder in self._all_folders() for item in self._records(folder, key)]
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
        sources = [source for folder in self._all_folders() for source in self._sources(folder)]
        own = dict.fromkeys(found for source in sources for found in source.records if found.workload == key.workload)
        others = [found for found in own if (found.algorithm == key.algorithm) == same_algorithm]
        fewest = min((len(found.differences(key)) for found in others), default=0)
        return [found for found in others if len(found.differences(key)) == fewest]

    def say_refused(self, sentence: str) -> None:
        """Lets those who want to know hear why a record is not used, once."""
        if self.note:
            self._say(self.note, sentence)

    def _all_folders(self) -> list[Path]:
        found: list[Path] = []
        for folder in filter(Path.is_dir, self.folders):
            try:
                found += [path for path in sorted(folder.iterdir()) if path.is_dir()]
            except OSError as error:
                self._say_unusable(folder, error)
        return found

    def _records(self, folder: Path, key: Key) -> list[Sourced]:
        """The records of a key in all files of a target's folder."""
        found: list[Sourced] = []
        for source in self._sources(folder):
            try:
                found += [Sourced(record, source.path, source.rank) for record in source.records.get(key, ())]
            except (BadFile, OSError) as error:
                self._say_unusable(source.path, error)
        return found

    def _sources(self, folder: Path) -> list[_Source]:
        """The readable files of a target's folder."""
        if folder not in self._read:
            rank = next(index for index, own in enumerate(self.folders) if own == folder.parent)
            self._read[folder] = [_Source(path, rank, records) for path, records in self._readable(folder)]
        return self._read[folder]

    def _readable(self, folder: Path) -> Iterator[tuple[Path, Mapping[Key, Sequence[Record]]]]:
        for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
            try:
                log = Log(path, self.note or _silent)
                yield path, self._indexed(log) if path.stat().st_size >= _LARGE else self._whole(log)
            except (BadFile, OSError) as error:
                self._say_unusable(path, error)

    def _indexed(self, log: Log) -> Mapping[Key, Sequence[Record]]:
        records = IndexedRecords(log)
        self._say_foreign(log.path, records.foreign)
        return records

    def _whole(self, log: Log) -> Mapping[Key, Sequence[Record]]:
        by_key: dict[Key, list[Record]] = {}
        foreign = Counter[int]()
        for entry in log.each():
            if isinstance(entry, Foreign):
                foreign[entry.schema] += 1
            else:
                by_key.setdefault(entry.key, []).append(entry)
        self._say_foreign(log.path, foreign)
        return by_key

    def _say_foreign(self, path: Path, foreign: Mapping[int, int]) -> None:
        """foreign: how many lines are of each other schema."""
        if foreign:
            lines = f"{sum(foreign.values())} lines of schema {', '.join(map(str, foreign))}"
            self.say_refused(f"{path}: {lines} are refused; this tvmconv reads schema {SCHEMA}")

    def _say_unusable(self, path: Path, error: BadFile | OSError) -> None:
        sentence = str(error) if isinstance(error, BadFile) else f"{path}: {error.strerror or error}"
        self._say(self.warn, f"this tuning log is not used: {sentence}")

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
    """The differences of another key, in words. The name of a target stands for its core and its features."""
    differences = other.differences(key)
    implied = ("mcpu", "features") if "target" in differences else ()
    return ", ".join(text for name, text in differences.items() if name not in implied)
