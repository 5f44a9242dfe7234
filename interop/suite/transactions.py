"""What is shown of a client's transactions.

The client consumes one topic and produces to another, exactly once: offsets and records are of the same
transactions (see `Work` in clients/common.py). What a reader of committed records then finds must be the
first topic, record by record, whatever was aborted and however often the broker died. A reader of
everything finds the aborted records as well, which shows that there was something to hide.
"""

import subprocess
import threading

from . import data
from .clients import WORKER_SECONDS, ClientError
from .data import Mismatch

RECORDS = 3_000
FENCED_RECORDS = 30
# By whatever name a client calls it.
FENCED = ("_FENCED", "ProducerFencedException", "InvalidProducerEpochException")


class Transform:
    """A transform at work. If its client gives up, as some do when the broker dies, another takes over."""

    def __init__(self, run, source, target, count):
        self.name = f"{run.client.name} from {source}"
        self.command = run.client.transform_command(
            run.broker.bootstrap, source, target, f"{target}-group", f"{target}-id", count
        )
        self.environment = run.client.environment()
        self.errors = run.folder / f"{target}.stderr"
        self.changed = threading.Condition()
        self.acked = self.opened = self.aborted = self.started = 0
        self.process = None
        self.start()

    def start(self):
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                [str(c) for c in self.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self.environment,
            )
        self.started += 1
        threading.Thread(target=self.follow, args=(self.process,), daemon=True).start()

    def follow(self, process):
        for line in process.stdout:
            word, _, number = line.decode(errors="replace").strip().partition(" ")
            with self.changed:
                if word == "open":
                    self.opened += 1
                elif word == "aborted":
                    self.aborted += int(number)
                elif word in ("acked", "done"):
                    self.acked = int(number)
                self.changed.notify_all()
        process.wait()
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition, restarts):
        """Until `condition` holds. At most `restarts` workers may give up since the first one started."""
        while True:
            with self.changed:
                reached = self.changed.wait_for(
                    lambda: condition() or self.process.returncode is not None, WORKER_SECONDS
                )
                if reached and condition():
                    return
            if not reached:
                raise ClientError(f"{self.name}: stands still at {self.acked} records\n{self.tail()}")
            self.replace(restarts)

    def replace(self, restarts):
        status = self.process.returncode
        if status == 0:
            raise ClientError(f"{self.name}: ended too early, at {self.acked} records; give it more")
        if self.started > restarts:
            raise ClientError(f"{self.name}: ended with {status} at {self.acked} records\n{self.tail()}")
        self.start()

    def finish(self, restarts):
        self.wait(lambda: self.process.returncode == 0, restarts)
        return f"{self.started - 1} restarts" if self.started > 1 else None

    def tail(self):
        return self.errors.read_text(errors="replace")[-3000:]

    def reap(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def transactions(run):
    """Every third transaction is aborted and done again; nothing of that is seen, and it was there."""
    source, target = run.topic("source"), run.topic("copy")
    begin(run, source, target)
    transform = Transform(run, source, target, RECORDS)
    try:
        transform.finish(0)
    finally:
        transform.reap()
    check_target(run, source, target)
    hidden = check_hidden(run, target)
    if hidden != transform.aborted or hidden == 0:
        raise Mismatch(f"{target}: {hidden} records are hidden, {transform.aborted} were aborted")
    return f"{hidden} aborted"


def begin(run, source, target):
    for topic in (source, target):
        run.client.create(run.broker.bootstrap, topic, run.partitions)
    records = run.records(source, RECORDS)
    run.written[source] = []
    run.produce(source, "none", records)


def check_target(run, source, target):
    run.committed[target] = run.written[source]
    check_committed(run, [target], run.out(f"{target}-committed"), run.committed)


def check_committed(run, topics, out, committed):
    run.client.consume(run.broker.bootstrap, topics, out, "read_committed")
    read = data.read_output(out)
    for topic in topics:
        data.compare(topic, committed[topic], read.get(topic, {}), dense=False)


def check_hidden(run, target):
    """How many records stand in the topic that a reader of committed ones is not served."""
    out = run.out(f"{target}-everything")
    run.client.consume(run.broker.bootstrap, [target], out, "read_uncommitted")
    everything = data.read_output(out)[target]
    committed = data.read_output(run.out(f"{target}-committed"))[target]
    for partition, rows in committed.items():
        missing = set(rows) - set(everything[partition])
        if missing:
            first = min(missing)[:3]
            raise Mismatch(f"{target}-{partition}: only a reader of committed records finds {first}")
    return sum(map(len, everything.values())) - sum(map(len, committed.values()))


def kills(run):
    """The broker dies in mid-transaction, as often as asked; what is committed is there exactly once."""
    source, target = run.topic("source"), run.topic("copy-crash")
    run.client.create(run.broker.bootstrap, target, run.partitions)
    transform = Transform(run, source, target, RECORDS)
    try:
        for kill in range(run.kills):
            kill_once(run, transform, kill)
        remark = transform.finish(run.kills)
    finally:
        transform.reap()
    check_target(run, source, target)
    hidden = check_hidden(run, target)
    if hidden < transform.aborted:
        raise Mismatch(f"{target}: {hidden} records are hidden, {transform.aborted} were aborted")
    return remark


def kill_once(run, transform, kill):
    """By turns once all records of a transaction have arrived, and right after one has ended."""
    after = RECORDS * (kill + 1) // (run.kills + 2)
    transform.wait(lambda: transform.acked >= after, kill)
    if kill % 2 == 0:
        opened = transform.opened
        transform.wait(lambda: transform.opened > opened, kill)
    run.broker.kill()
    run.broker.start()


def fencing(run):
    """A second instance of a transactional id ends the transaction of the first, and the first is told."""
    topic = run.topic("fenced")
    run.client.create(run.broker.bootstrap, topic, run.partitions)
    records = run.records(topic, 2 * FENCED_RECORDS)
    said = run.client.fence(run.broker.bootstrap, topic, f"{topic}-id", FENCED_RECORDS, records)
    if not said.startswith("fenced ") or not any(said.strip().endswith(name) for name in FENCED):
        raise Mismatch(f"{topic}: the first instance was not fenced, but heard {said!r}")
    run.committed[topic] = records[FENCED_RECORDS:]
    check_committed(run, [topic], run.out(f"{topic}-committed"), run.committed)
    hidden = check_hidden(run, topic)
    if hidden != FENCED_RECORDS:
        raise Mismatch(f"{topic}: {hidden} records are hidden, {FENCED_RECORDS} were of the open transaction")
    return said.strip()


def steps_of(client):
    """The steps of a client that has transactions."""
    steps = []
    if client.has_transactions:
        steps += [("transactions", transactions), ("kill -9 in mid-transaction", kills)]
    if client.shows_fencing:
        steps.append(("zombie instance of transactions", fencing))
    return steps
