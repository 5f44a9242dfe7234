"""The six clients behind one face: create a topic, produce, consume, and read as a member of a group.

Five are workers, small programs in the client's own language (see clients/common.py for their command
line). kcat is the sixth and needs no worker: it is a command-line tool already.
"""

import os
import subprocess
import threading
from pathlib import Path

from . import data, tools

WORKER_SECONDS = 120
LINES_PER_WRITE = 500
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class ClientError(Exception):
    """A client reported an error or did not finish in time."""


class Production:
    """A producer at work: the driver can wait until so many records are acknowledged.

    `unseen` is for a client that reports nothing: what it has taken from us, less the most it can hold
    back, it has had acknowledged.
    """

    def __init__(self, processes, feeds, unseen=None):
        self.processes = processes
        self.acked = 0
        self.fed = 0
        self.unseen = unseen
        self.changed = threading.Condition()
        self.errors = [bytearray() for _ in processes]
        for process, feed, errors in zip(processes, feeds, self.errors):
            threading.Thread(target=self.feed, args=(process, feed), daemon=True).start()
            threading.Thread(target=self.collect, args=(process, errors), daemon=True).start()

    def feed(self, process, lines):
        try:
            for start in range(0, len(lines), LINES_PER_WRITE):
                part = lines[start : start + LINES_PER_WRITE]
                process.stdin.write("".join(part).encode())
                self.note_fed(len(part))
            process.stdin.close()
        except BrokenPipeError:
            pass  # It died; its exit status tells.

    def note_fed(self, count):
        with self.changed:
            self.fed += count
            if self.unseen is not None:
                self.acked = max(0, self.fed - self.unseen)
            self.changed.notify_all()

    @staticmethod
    def collect(process, errors):
        for line in process.stderr:
            errors += line
            del errors[:-8000]

    def watch(self, stream):
        """Follows what a worker says about its acknowledgements."""

        def follow():
            for line in stream:
                acked = acknowledged(line)
                if acked is not None:
                    with self.changed:
                        self.acked = acked
                        self.changed.notify_all()
            with self.changed:
                self.changed.notify_all()

        threading.Thread(target=follow, daemon=True).start()

    def running(self):
        return any(p.poll() is None for p in self.processes)

    def wait_acked(self, count):
        with self.changed:
            reached = self.changed.wait_for(
                lambda: self.acked >= count or not self.running(), WORKER_SECONDS
            )
        if not reached or self.acked < count:
            raise ClientError(f"{self.acked} of {count} records acknowledged\n{self.stderr()}")

    def finish(self):
        """Every producer ended by itself, with success."""
        for process in self.processes:
            try:
                status = process.wait(WORKER_SECONDS)
            except subprocess.TimeoutExpired:
                raise ClientError(f"still producing after {WORKER_SECONDS} s\n{self.stderr()}") from None
            if status != 0:
                raise ClientError(f"the producer ended with {status}\n{self.stderr()}")

    def stderr(self):
        return "\n".join(bytes(e).decode(errors="replace")[-2000:] for e in self.errors)

    def reap(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


class Client:
    """One client; `bulk` is how many records a crash step gives it, by what it can send in a second or two."""

    def __init__(self, name, bulk):
        self.name = name
        self.bulk = bulk
        self.sets_timestamps = True
        self.sends_nulls = True
        self.has_transactions = False
        self.shows_fencing = False

    def run(self, command, given=b""):
        try:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                timeout=WORKER_SECONDS,
                env=self.environment(),
            )
        except subprocess.TimeoutExpired:
            raise ClientError(f"no end after {WORKER_SECONDS} s: {' '.join(map(str, command))}") from None
        if done.returncode != 0:
            text = (done.stderr + done.stdout).decode(errors="replace")[-3000:]
            raise ClientError(f"ended with {done.returncode}: {' '.join(map(str, command))}\n{text}")
        return done.stdout

    def environment(self):
        return None

    def spawn(self, command):
        return subprocess.Popen(
            [str(c) for c in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(),
        )


class Worker(Client):
    """A client driven through its worker."""

    def __init__(self, name, bulk, install, command, shows_fencing=False):
        super().__init__(name, bulk)
        self.install = install
        self.command = command
        self.has_transactions = True
        self.shows_fencing = shows_fencing

    def environment(self):
        return {**os.environ, "NODE_PATH": str(tools.NODE_MODULES), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}

    def create(self, bootstrap, topic, partitions):
        self.run([*self.command(), "create", bootstrap, topic, str(partitions)])

    def start_produce(self, bootstrap, topic, codec, records):
        process = self.spawn([*self.command(), "produce", bootstrap, topic, codec])
        production = Production([process], [[r.line() for r in records]])
        production.watch(process.stdout)
        return production

    def consume(self, bootstrap, topics, out, isolation="read_uncommitted"):
        self.run([*self.command(), "consume", bootstrap, out, isolation, *topics])

    def group(self, bootstrap, topic, group, count, out):
        self.run([*self.command(), "group", bootstrap, out, topic, group, str(count)])

    def transform_command(self, bootstrap, source, target, group, transactional_id, count):
        names = (bootstrap, source, target, group, transactional_id)
        return [*self.command(), "transform", *names, str(count)]

    def fence(self, bootstrap, topic, transactional_id, count, records):
        """What the first of two instances hears; `count` of the records were of its open transaction."""
        command = [*self.command(), "fence", bootstrap, topic, transactional_id, str(count)]
        return self.run(command, "".join(r.line() for r in records).encode()).decode()


def acknowledged(line):
    word, _, number = line.partition(b" ")
    return int(number) if word in (b"acked", b"done") and number.strip().isdigit() else None


class Kcat(Client):
    """kcat as it is. It cannot name a partition per record, so each partition has a process of its own."""

    # It says nothing about acknowledgements. With a short queue, what it has read it has soon delivered:
    # all but a queue and a pipe full of records, of which none is shorter than 32 bytes here.
    QUEUE = 5_000
    PIPE = (64 + 64) * 1024 // 32

    FORMAT = r"%t\t%p\t%o\t%T\t%k\t%h\t%S\t%s\n"

    def __init__(self, bulk):
        super().__init__("kcat", bulk)
        self.install = tools.kcat
        self.sets_timestamps = False
        self.sends_nulls = False

    def create(self, bootstrap, topic, partitions):
        """kcat has no such command: asking for the topic's metadata creates it."""
        del partitions
        self.run(["kcat", "-b", bootstrap, "-L", "-t", topic, "-X", "allow.auto.create.topics=true"])

    def producer(self, bootstrap, topic, partition, codec):
        return [
            *("kcat", "-P", "-E", "-b", bootstrap, "-t", topic, "-p", str(partition), "-z", codec),
            *("-K", "\t", "-H", data.HEADER),
            *("-X", "enable.idempotence=true", "-X", "acks=all", "-X", "reconnect.backoff.max.ms=500"),
            *("-X", f"queue.buffering.max.messages={self.QUEUE}"),
        ]

    def start_produce(self, bootstrap, topic, codec, records):
        processes, feeds = [], []
        for partition in sorted({r.partition for r in records}):
            processes.append(self.spawn(self.producer(bootstrap, topic, partition, codec)))
            feeds.append([f"{r.key}\t{r.value}\n" for r in records if r.partition == partition])
        unseen = len(processes) * (self.QUEUE + self.PIPE)
        return Production(processes, feeds, unseen)

    def consume(self, bootstrap, topics, out, isolation="read_uncommitted"):
        command = ["kcat", "-C", "-e", "-q", "-b", bootstrap, "-X", f"isolation.level={isolation}"]
        rows = []
        for topic in topics:
            rows += self.rows([*command, "-t", topic, "-o", "beginning"])
        Path(out).write_text("".join(rows), encoding="utf-8", newline="")

    def group(self, bootstrap, topic, group, count, out):
        command = ["kcat", "-G", group, "-q", "-b", bootstrap, "-c", str(count)]
        rows = self.rows([*command, "-X", "auto.offset.reset=earliest"], topic)
        Path(out).write_text("".join(rows), encoding="utf-8", newline="")

    def rows(self, command, *arguments):
        text = self.run([*command, "-f", self.FORMAT, *arguments]).decode()
        return [self.row(line) for line in text.split("\n") if line]

    @staticmethod
    def row(line):
        *fields, size, value = line.split("\t")
        return "\t".join([*fields, data.NULL if size == "-1" else value]) + "\n"


def all_clients():
    """Every client the suite knows, by name."""
    here = tools.HERE / "clients"

    def python(name):
        return lambda: [tools.PYTHON, here / f"{name}_worker.py"]

    def java():
        return ["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", tools.java_client(), "Worker"]

    return [
        Kcat(400_000),
        Worker("confluent-kafka", 200_000, tools.python_clients, python("confluent"), shows_fencing=True),
        Worker("kafka-python", 60_000, tools.python_clients, python("kafka_python")),
        Worker("aiokafka", 60_000, tools.python_clients, python("aiokafka")),
        Worker("kafkajs", 40_000, tools.node_clients, lambda: ["node", here / "kafkajs_worker.js"]),
        Worker("java", 200_000, tools.java_client, java, shows_fencing=True),
    ]
