"""The records of a step, and the comparison of what a client read with what was written.

The generator is seeded by the name of its data set, so a failing run can be repeated byte for byte.
"""

import random
import sysconfig
import time
from collections import defaultdict
from pathlib import Path

NULL = "\\N"
HEADER = "n=interop"
# Recent, or retention would delete what a step has just written.
FIRST_TIMESTAMP = int(time.time() - 3600) * 1000
WORDS = (
    "log offset segment batch epoch marker index producer sequence durable flush "
    "torn tail größe naïve 東京 данные ζήτα 🚀 commit"
).split()


class Record:
    """One record as the driver knows it; `timestamp` None means that the client chose it."""

    __slots__ = ("partition", "timestamp", "key", "value")

    def __init__(self, partition, timestamp, key, value):
        self.partition = partition
        self.timestamp = timestamp
        self.key = key
        self.value = value

    def line(self):
        return f"{self.partition}\t{self.timestamp}\t{self.key}\t{self.value}\n"


def make(name, count, partitions, long_values=False, nulls=True):
    """`count` records over all partitions: mixed lengths, several scripts, some null, empty and large values."""
    rng = random.Random(name)
    made = []
    for i in range(count):
        value = " ".join(rng.choices(WORDS, k=rng.randrange(1, 24)))
        if long_values and i % 997 == 500:
            value = "".join(rng.choices("abcdefghij \u00e9", k=200_000))
        elif i % 211 == 7:
            value = ""
        elif nulls and i % 223 == 9:
            value = NULL
        partition = rng.randrange(partitions)
        made.append(Record(partition, FIRST_TIMESTAMP + i, f"{name}-{i}", value))
    return made


def without_timestamps(records):
    """The same records, for a client that cannot choose timestamps."""
    return [Record(r.partition, None, r.key, r.value) for r in records]


def expected_per_partition(records):
    rows = defaultdict(list)
    for r in records:
        rows[r.partition].append((r.timestamp, r.key, r.value))
    return rows


def read_output(path):
    """What a client wrote down: {topic: {partition: [(offset, timestamp, key, headers, value)]}}."""
    topics = defaultdict(lambda: defaultdict(list))
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            topic, partition, offset, timestamp, key, headers, value = line.rstrip("\n").split("\t")
            topics[topic][int(partition)].append((int(offset), int(timestamp), key, headers, value))
    return topics


class Mismatch(Exception):
    """What was read is not what was written; the message says where it differs first."""


def compare(where, expected, partitions, first_offsets=None, dense=True):
    """Checks one topic: every record once, in order, headers and timestamps kept, offsets without gaps.

    A topic of transactions is not dense: markers and aborted records have offsets too.
    """
    wanted = expected_per_partition(expected)
    for partition in sorted(set(wanted) | set(partitions)):
        compare_partition(
            f"{where}-{partition}",
            wanted.get(partition, []),
            partitions.get(partition, []),
            (first_offsets or {}).get(partition, 0) if dense else None,
        )


def compare_partition(where, wanted, got, first_offset):
    for index, (want, row) in enumerate(zip(wanted, got)):
        offset, timestamp, key, headers, value = row
        if first_offset is None:
            last = got[index - 1][0] if index > 0 else -1
            if offset <= last:
                raise Mismatch(f"{where}: record {index} is at offset {offset}, not after {last}")
        elif offset != first_offset + index:
            raise Mismatch(f"{where}: record {index} is at offset {offset}, not {first_offset + index}")
        if (key, value) != want[1:]:
            raise Mismatch(
                f"{where}: at offset {offset} stands {key}={value[:60]!r}, "
                f"expected {want[1]}={want[2][:60]!r}"
            )
        if want[0] is not None and timestamp != want[0]:
            raise Mismatch(f"{where}: offset {offset} has timestamp {timestamp}, not {want[0]}")
        if headers != HEADER:
            raise Mismatch(f"{where}: offset {offset} has headers {headers!r}, not {HEADER!r}")
    if len(wanted) != len(got):
        extra = describe_difference(wanted, got)
        raise Mismatch(f"{where}: {len(got)} records read, {len(wanted)} written{extra}")


def describe_difference(wanted, got):
    """Lost, or twice: the first record that shows it."""
    if len(got) > len(wanted):
        seen = set()
        for offset, _, key, _, _ in got:
            if key in seen:
                return f"; {key} is there twice, again at offset {offset}"
            seen.add(key)
        return f"; unexpected {got[len(wanted)][2]}"
    return f"; first missing: {wanted[len(got)][1]}"


def text_file(path, size):
    """Writes at least `size` bytes of real text, one record per line, to `path`.

    The text is the sources of this Python and the documents of the system. Each further pass over them
    opens every line with its number, so no two passes are alike. Empty lines are left out: kcat does not
    send them.
    """
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))
    sources += sorted(p for p in Path("/usr/share/doc").rglob("*") if is_text(p))
    written = 0
    with open(path, "wb") as out:
        for turn in range(1000):
            for source in sources:
                written += copy_lines(source, turn, out)
                if written >= size:
                    return written
    raise ToolError(f"only {written} bytes of text on this machine")


def is_text(path):
    return path.is_file() and path.suffix not in (".gz", ".png", ".svg", ".pdf") and path.stat().st_size < 1 << 22


def copy_lines(source, turn, out):
    written = 0
    prefix = f"{turn}: ".encode() if turn else b""
    for line in source.read_bytes().split(b"\n"):
        if line.strip() and b"\0" not in line and len(line) < 100_000:
            written += out.write(prefix + line + b"\n")
    return written


class ToolError(Exception):
    """The machine lacks what the text is made from."""
