#!/usr/bin/env python3
"""Has the reference broker's own dump tool read every file of a cleanly closed data directory.

    interop/dump.py DATA_DIR            every .log .index .timeindex .txnindex .snapshot; fails on any complaint
    interop/dump.py --prove DATA_DIR    damages copies of one partition in each way the tool can see, and
                                        fails unless every damage is reported

The tool ends with success whatever it finds, so its text is what counts: each kind of complaint it can print
is looked for, and each file must have been announced as dumped.
"""

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from suite import tools

SUFFIXES = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
INDEXES = (".index", ".timeindex", ".txnindex")
TOOL = "org.apache.kafka.tools.DumpLogSegments"
FILES_PER_RUN = 400
COMPLAINTS = (
    b"mismatches in",
    b"timestamp mismatch in",
    b"out of order timestamp",
    b"indexed offsets are not found",
    b"indexed offset:",
    b"non-consecutive",
    b"invalid bytes",
    b"isvalid: false",
    b"ignoring unknown file",
    b"exception",
    b"corrupt",
    b"error",
)
SHOWN = 20


class Findings:
    """What the tool said about a set of files."""

    def __init__(self):
        self.complaints = []
        self.announced = 0
        self.sane = 0
        self.batches = 0
        self.codecs = Counter()

    def take(self, line):
        if line.startswith(b"|") and b"alid: false" not in line:
            return  # A record, printed only because deep iteration visits it.
        lower = line.lower()
        if lower.startswith(b"dumping "):
            self.announced += 1
        elif b"passed sanity check" in lower or lower.rstrip().endswith(b" is empty."):
            self.sane += 1
        elif lower.startswith(b"baseoffset:"):
            self.batches += 1
            self.codecs[word_after(lower, b"compresscodec:")] += 1
        if any(c in lower for c in COMPLAINTS):
            self.complaints.append(line.decode(errors="replace").rstrip())


def word_after(line, label):
    _, _, rest = line.partition(label)
    return rest.split()[0].decode() if rest.split() else "?"


def run_tool(files, *options):
    """Runs the tool over `files`, a few hundred at a time, and reads what it prints as it prints it."""
    findings = Findings()
    for start in range(0, len(files), FILES_PER_RUN):
        part = ",".join(str(f) for f in files[start : start + FILES_PER_RUN])
        command = ["java", "-Xmx1g", "-cp", tools.reference_broker(), TOOL, *options, "--files", part]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for line in process.stdout:
            findings.take(line)
        if process.wait() != 0:
            findings.complaints.append(f"the tool ended with status {process.returncode}")
    return findings


def files_of(folder, suffixes=SUFFIXES):
    return sorted(p for p in Path(folder).rglob("*") if p.suffix in suffixes and p.is_file())


def examine(folder):
    """All complaints about a data directory, and the numbers that show that something was examined."""
    files = files_of(folder)
    findings = run_tool(files, "--deep-iteration")
    if findings.announced != len(files):
        findings.complaints.append(f"{len(files)} files, only {findings.announced} were dumped")
    indexes = files_of(folder, INDEXES)
    sanity = run_tool(indexes, "--index-sanity-check")
    findings.complaints += sanity.complaints
    checked = sum(1 for f in indexes if f.suffix != ".txnindex")
    if sanity.sane < checked:
        findings.complaints.append(f"{checked} indexes, only {sanity.sane} passed the sanity check")
    return files, findings


def check(folder, codecs):
    start = time.monotonic()
    files, findings = examine(folder)
    census = Counter(f.suffix for f in files)
    kinds = ", ".join(f"{census[s]} {s}" for s in SUFFIXES)
    print(f"{len(files)} files ({kinds}), {findings.batches} batches")
    print("batches by codec: " + ", ".join(f"{k} {v}" for k, v in sorted(findings.codecs.items())))
    if findings.batches == 0:
        findings.complaints.append("no batch at all: nothing was shown")
    for codec in codecs:
        if findings.codecs[codec] == 0:
            findings.complaints.append(f"no batch with codec {codec}, though one was expected")
    for complaint in findings.complaints[:SHOWN]:
        print("    " + complaint)
    bad = bool(findings.complaints)
    print(f"dump of {folder}: {'FAIL' if bad else 'PASS'} {time.monotonic() - start:.1f} s")
    return not bad


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x40
    path.write_bytes(data)


def damage_batch(folder):
    """The last byte of the first batch: its checksum no longer holds."""
    path = next(iter(files_of(folder, (".log",))))
    size = struct.unpack_from(">i", path.read_bytes(), 8)[0]
    flip(path, 12 + size - 1)


def damage_tail(folder):
    """A few bytes after the last batch."""
    with open(files_of(folder, (".log",))[-1], "ab") as log:
        log.write(b"\0\0\0\0\0\0\0\7torn")


def damage_hole(folder):
    """The second batch is gone: offsets jump, and the index points between batches."""
    path = files_of(folder, (".log",))[0]
    data = path.read_bytes()
    first = 12 + struct.unpack_from(">i", data, 8)[0]
    second = 12 + struct.unpack_from(">i", data, first + 8)[0]
    path.write_bytes(data[:first] + data[first + second :])


def damage_index(folder):
    """An entry of the offset index names the offset before."""
    path = first_filled(folder, ".index", 8)
    flip_number(path, 0, ">i", -1)


def damage_time(folder):
    """An entry of the time index is a millisecond late."""
    path = first_filled(folder, ".timeindex", 12)
    flip_number(path, 0, ">q", 1)


def damage_time_order(folder):
    """The time index runs backwards."""
    path = first_filled(folder, ".timeindex", 24)
    data = path.read_bytes()
    path.write_bytes(data[12:24] + data[:12] + data[24:])


def damage_snapshot(folder):
    """One bit of a producer snapshot."""
    path = max(files_of(folder, (".snapshot",)), key=lambda p: p.stat().st_size)
    flip(path, path.stat().st_size - 1)


DAMAGES = (
    damage_batch,
    damage_tail,
    damage_hole,
    damage_index,
    damage_time,
    damage_time_order,
    damage_snapshot,
)


def first_filled(folder, suffix, size):
    return next(p for p in files_of(folder, (suffix,)) if p.stat().st_size >= size)


def flip_number(path, position, form, change):
    data = bytearray(path.read_bytes())
    (number,) = struct.unpack_from(form, data, position)
    struct.pack_into(form, data, position, number + change)
    path.write_bytes(data)


def suitable(folder):
    """A partition with all that is going to be damaged, and not much more: each damage costs a run."""
    for path in sorted(p.parent for p in files_of(folder, (".timeindex",)) if p.stat().st_size >= 24):
        index = [p for p in files_of(path, (".index",)) if p.stat().st_size >= 8]
        snapshot = [p for p in files_of(path, (".snapshot",)) if p.stat().st_size > 20]
        if index and snapshot and not path.name.startswith("__"):
            return path
    sys.exit(f"no partition in {folder} has index entries, time index entries and a snapshot")


def prove(folder):
    """Every damage must be seen, and the undamaged copy must not be complained about."""
    source = suitable(folder)
    good = True
    with tempfile.TemporaryDirectory() as temporary:
        for damage in (None, *DAMAGES):
            copy = Path(temporary) / "copy-0"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy)
            if damage is not None:
                damage(copy)
            complaints = examine(copy)[1].complaints
            right = bool(complaints) == (damage is not None)
            good &= right
            name = "undamaged copy" if damage is None else damage.__doc__
            said = complaints[0][:100].replace(temporary, "") if complaints else "no complaint"
            print(f"{'PASS' if right else 'FAIL'}  {name}  ->  {said}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--prove", action="store_true", help="damage copies, expect complaints")
    parser.add_argument("--codecs", default="", help="codecs that must occur, comma-separated")
    options = parser.parse_args()
    tools.CACHE.mkdir(exist_ok=True)
    if not files_of(options.data_dir):
        sys.exit(f"{options.data_dir} holds no log files")
    codecs = [c for c in options.codecs.split(",") if c]
    good = prove(options.data_dir) if options.prove else check(options.data_dir, codecs)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
