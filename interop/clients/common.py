"""What the Python workers share: their command line and the text form of a record.

A worker is a thin shell around one client library. It knows nothing about what is right: it sends the
records it is given and writes down the records it is served, and the driver compares the two.

    worker.py create  BOOTSTRAP TOPIC PARTITIONS
    worker.py produce BOOTSTRAP TOPIC CODEC          records on standard input, "acked N" on standard output
    worker.py consume BOOTSTRAP OUT ISOLATION TOPIC...
                                                     from the beginning to the end offsets found at the start,
                                                     ISOLATION is read_committed or read_uncommitted
    worker.py group   BOOTSTRAP OUT TOPIC GROUP N    exactly N records as a group member, then commit and leave
    worker.py transform BOOTSTRAP FROM TO GROUP TRANSACTIONAL_ID N
                                                     takes the N records of FROM as a member of GROUP, in
                                                     transactions of at most 100, to TO; see `Work`
    worker.py fence   BOOTSTRAP TOPIC TRANSACTIONAL_ID N
                                                     N records of standard input by an instance that leaves
                                                     its transaction open, the others by a second one that
                                                     commits; then the first commits, and hears "fenced WHY"
"""

import sys
import time

NULL = "\\N"
HEADER_KEY = "n"
HEADER_VALUE = b"interop"
PROGRESS_EVERY = 200
TAKE = 100
ABORT_EVERY = 3


class Record:
    """One record to send: partition, timestamp in milliseconds, key, value (None is a null value)."""

    __slots__ = ("partition", "timestamp", "key", "value")

    def __init__(self, line):
        partition, timestamp, key, value = line.rstrip(b"\n").split(b"\t")
        self.partition = int(partition)
        self.timestamp = int(timestamp)
        self.key = key
        self.value = None if value == NULL.encode() else value


def records():
    """The records on standard input, one per line."""
    return (Record(line) for line in sys.stdin.buffer)


class Progress:
    """Counts acknowledged records and tells the driver, which picks its moments by them."""

    def __init__(self):
        self.acked = 0
        self.error = None

    def ack(self):
        self.acked += 1
        if self.acked % PROGRESS_EVERY == 0:
            print("acked", self.acked, flush=True)

    def fail(self, error):
        self.error = self.error or error

    def finish(self, sent):
        if self.error is not None:
            sys.exit(f"a record was refused: {self.error!r}")
        if self.acked != sent:
            sys.exit(f"sent {sent} records, {self.acked} were acknowledged")
        print("done", self.acked, flush=True)


class Work:
    """How far a transform has come, and which of its passes are aborted on purpose: every third.

    A pass takes up to TAKE records, writes each to TO with the same partition, timestamp, key, headers and
    value, and commits them with the offsets that follow them. A pass that is to be aborted is aborted once
    all it wrote has arrived; its records are then taken again, from the committed positions. FROM has no
    gaps, so the committed positions add up to the number of records committed: it is their sum that says
    when all is done, also for a worker that goes on where another one stopped.

    "open" says that all records of a pass have arrived and nothing is committed yet, "acked N" that N
    records are committed, "aborted N" at the end how many were aborted on purpose.
    """

    def __init__(self, count):
        self.count = count
        self.committed = {}
        self.passes = 0
        self.aborted = 0

    def done(self):
        return sum(self.committed.values()) >= self.count

    def goes_on(self, committed):
        """After `committed`, partition by partition: what the group's coordinator said, or was told."""
        self.committed.update(committed)
        print("acked", sum(self.committed.values()), flush=True)

    def arrived(self, records):
        """Whether the pass is to be aborted now."""
        print("open", flush=True)
        self.passes += 1
        doomed = self.passes % ABORT_EVERY == 0
        self.aborted += len(records) if doomed else 0
        return doomed

    def finish(self):
        print("aborted", self.aborted, flush=True)
        print("done", sum(self.committed.values()), flush=True)


class Patience:
    """Ends the worker if no record comes for so many seconds."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds

    def check(self, records):
        now = time.monotonic()
        if records:
            self.deadline = now + self.seconds
        elif now > self.deadline:
            sys.exit(f"no record for {self.seconds} s")
        return records


def note(text):
    """For who reads why a step failed."""
    print(text, file=sys.stderr, flush=True)


class Output:
    """The records a consumer was served, one line each, in the order it was served them."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.count = 0

    def write(self, topic, partition, offset, timestamp, key, headers, value):
        shown = b",".join(k.encode() + b"=" + v for k, v in headers or ())
        fields = (
            topic.encode(),
            str(partition).encode(),
            str(offset).encode(),
            str(timestamp).encode(),
            key if key is not None else NULL.encode(),
            shown,
            value if value is not None else NULL.encode(),
        )
        self.file.write(b"\t".join(fields) + b"\n")
        self.count += 1

    def close(self):
        self.file.close()


def main(create, produce, consume, group, transform, fence=None):
    """Dispatches the command line to the functions of a worker."""
    command, bootstrap, *rest = sys.argv[1:]
    if command == "create":
        create(bootstrap, rest[0], int(rest[1]))
    elif command == "produce":
        produce(bootstrap, rest[0], rest[1])
    elif command == "consume":
        output = Output(rest[0])
        consume(bootstrap, output, rest[1], rest[2:])
        output.close()
    elif command == "group":
        output = Output(rest[0])
        group(bootstrap, output, rest[1], rest[2], int(rest[3]))
        output.close()
    elif command == "transform":
        work = Work(int(rest[4]))
        transform(bootstrap, *rest[:4], work)
        work.finish()
    elif command == "fence" and fence is not None:
        fence(bootstrap, rest[0], rest[1], int(rest[2]))
    else:
        sys.exit(f"unknown command {command!r}")
