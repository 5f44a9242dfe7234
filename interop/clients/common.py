"""What the Python workers share: their command line and the text form of a record.

A worker is a thin shell around one client library. It knows nothing about what is right: it sends the
records it is given and writes down the records it is served, and the driver compares the two.

    worker.py create  BOOTSTRAP TOPIC PARTITIONS
    worker.py produce BOOTSTRAP TOPIC CODEC          records on standard input, "acked N" on standard output
    worker.py consume BOOTSTRAP OUT TOPIC...         from the beginning to the end offsets found at the start
    worker.py group   BOOTSTRAP OUT TOPIC GROUP N    exactly N records as a group member, then commit and leave
"""

import sys

NULL = "\\N"
HEADER_KEY = "n"
HEADER_VALUE = b"interop"
PROGRESS_EVERY = 200


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


def main(create, produce, consume, group):
    """Dispatches the command line to the four functions of a worker."""
    command, bootstrap, *rest = sys.argv[1:]
    if command == "create":
        create(bootstrap, rest[0], int(rest[1]))
    elif command == "produce":
        produce(bootstrap, rest[0], rest[1])
    elif command == "consume":
        output = Output(rest[0])
        consume(bootstrap, output, rest[1:])
        output.close()
    elif command == "group":
        output = Output(rest[0])
        group(bootstrap, output, rest[1], rest[2], int(rest[3]))
        output.close()
    else:
        sys.exit(f"unknown command {command!r}")
