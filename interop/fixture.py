#!/usr/bin/env python3
"""Makes the fixture `tests/fixtures/kafka-4.3.1`: data directories of Apache Kafka, and what Kafka says is in them.

    interop/fixture.py TARGET

Three logs are written through librdkafka:

    mixed-0      every codec, idempotent and transactional producers side by side, aborted transactions (one
                 over several segments), one transaction left open, two leader epochs, headers and nulls
    trimmed-0    records deleted up to an offset inside a batch
    compacted-0  keys overwritten and deleted, aborted records removed: offsets with holes

`clean/` is the directory after an orderly stop, `killed/` the same logs after a few more batches and a
SIGKILL. `expected.tsv` is what Kafka's own answers were, one fact per line.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from suite import brokers, tools

# The clients live in an environment of their own.
if not sys.prefix.startswith(str(tools.CACHE)):
    tools.CACHE.mkdir(exist_ok=True)
    tools.python_clients()
    sys.exit(subprocess.call([tools.PYTHON, *sys.argv]))

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # noqa: E402

# Producers expire by record time, so records are not older than the run; markers carry the broker's time,
# and segments roll by record time, so records run ahead of it.
START_MS = int(time.time()) * 1000
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
CLEANER_ROUND_MS = 100
SETTINGS = (
    "num.partitions=1",
    f"log.cleaner.backoff.ms={CLEANER_ROUND_MS}",
    "log.retention.check.interval.ms=1000",
    "log.initial.task.delay.ms=100",
    "transaction.max.timeout.ms=900000",
    "group.initial.rebalance.delay.ms=0",
)
LOG_FILES = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
ROOT_FILES = (
    ".kafka_cleanshutdown",
    "meta.properties",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
    "cleaner-offset-checkpoint",
)
COMMON = {
    "retention.ms": "-1",
    "segment.ms": "60000",
    # Small, so that a killed broker leaves small files: the active indexes have their full length.
    "segment.index.bytes": "1200",
    "index.interval.bytes": "400",
    "message.timestamp.after.max.ms": str(2**62),
}
TOPICS = {
    "mixed": COMMON,
    "trimmed": COMMON,
    "compacted": COMMON
    | {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.01",
        "delete.retention.ms": "0",
        "min.compaction.lag.ms": "0",
    },
}


class Writer:
    """One producer; its clock is the fixture's."""

    clock_ms = START_MS

    def __init__(self, bootstrap, topic, codec="none", transactional_id=None):
        options = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": codec,
            "linger.ms": 50,
            "message.timeout.ms": 30000,
        }
        if transactional_id:
            options["transactional.id"] = transactional_id
            options["transaction.timeout.ms"] = 600000
        self.producer = Producer(options)
        self.topic = topic
        self.label = transactional_id or codec
        self.sent = 0
        if transactional_id:
            self.producer.init_transactions(30)

    def batch(self, records=3, key=None, value=True):
        """Appends one batch."""
        failures = []
        for _ in range(records):
            name = f"{self.label}/{self.sent}"
            self.producer.produce(
                self.topic,
                partition=0,
                key=key if key is not None else (None if self.sent % 3 == 0 else name.encode()),
                value=(name + "." * 30).encode() if value else None,
                headers=[("h", name.encode()), ("n", None)] if self.sent % 2 else [],
                timestamp=Writer.clock_ms,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
            self.sent += 1
            Writer.clock_ms += 7
        if self.producer.flush(30) or failures:
            raise SystemExit(f"{self.label}: not delivered: {failures}")

    def begin(self):
        self.producer.begin_transaction()

    def commit(self):
        self.producer.commit_transaction(30)

    def abort(self):
        self.producer.abort_transaction(30)


def next_segment():
    """The next batch rolls: segments are cut by record time."""
    Writer.clock_ms += 61_000


def fill_mixed(bootstrap, round_):
    plain = [Writer(bootstrap, "mixed", codec) for codec in CODECS]
    first = Writer(bootstrap, "mixed", "lz4", f"txn-a{round_}")
    second = Writer(bootstrap, "mixed", "none", f"txn-b{round_}")
    for writer in plain:
        for _ in range(3):
            writer.batch()
    first.begin()
    first.batch()
    first.commit()
    next_segment()
    # Begun in one segment, aborted two further on; another commits inside it.
    first.begin()
    first.batch()
    plain[0].batch()
    second.begin()
    second.batch()
    next_segment()
    plain[1].batch(8)
    second.commit()
    first.batch()
    next_segment()
    plain[2].batch()
    first.abort()
    second.begin()
    second.batch()
    second.abort()
    for writer in plain:
        writer.batch(2)
    return plain, first, second


def fill_trimmed(bootstrap):
    writer = Writer(bootstrap, "trimmed", "gzip")
    for _ in range(4):
        for _ in range(3):
            writer.batch(5)
        next_segment()
    writer.batch(2)


def fill_compacted(bootstrap):
    writer = Writer(bootstrap, "compacted", "zstd")
    txn = Writer(bootstrap, "compacted", "none", "txn-c")
    for round_ in range(4):
        for key in range(6):
            writer.batch(2, key=f"k{key}".encode())
        txn.begin()
        txn.batch(3, key=f"t{round_}".encode())
        txn.abort() if round_ % 2 else txn.commit()
        writer.batch(1, key=f"k{round_}".encode(), value=False)
        next_segment()
    writer.batch(1, key=b"last")


def delete_records(bootstrap, topic, offset):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        future.result(30)


def wait_for_leaders(bootstrap, topics):
    """Until the broker is known to itself and leads every partition of `topics`."""
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def led():
        try:
            cluster = admin.list_topics(timeout=5)
        except KafkaException:
            return False
        found = [cluster.topics[name] for name in topics if name in cluster.topics]
        partitions = [partition for topic in found for partition in topic.partitions.values()]
        return cluster.brokers and len(found) == len(topics) and all(p.leader >= 0 for p in partitions)

    tools.wait_until(led, 60, "the broker leads its partitions")


def wait_for_cleaner(data):
    """Until the cleaner has gone over all of the compacted log but its active segment, and then left the
    files alone in ten of its rounds: it goes over them once more to remove tombstones."""
    folder = data / "compacted-0"

    def files():
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.log")}

    def through():
        path = data / "cleaner-offset-checkpoint"
        entries = path.read_text().splitlines() if path.exists() else []
        cleaned = [int(line.split()[2]) for line in entries if line.startswith("compacted 0 ")]
        return cleaned == [int(Path(max(files())).stem)]

    tools.wait_until(through, 60, "the log cleaner goes over the compacted log")
    seen = [files()]

    def at_rest():
        seen.append(files())
        return len(seen) > 10 and all(look == seen[-1] for look in seen[-11:])

    tools.wait_until(at_rest, 60, "the log cleaner comes to rest", pause=CLEANER_ROUND_MS / 1000)


def shown(data):
    """Null, or the text itself: all keys and values here are plain words."""
    return "-" if data is None else "=" + data.decode()


def consume(bootstrap, topic, isolation):
    """Every record that a consumer of this isolation gets, and where it ends."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"expected-{time.monotonic_ns()}",
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    low, _high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 30)
    consumer.assign([TopicPartition(topic, 0, low)])
    lines = []
    while True:
        message = consumer.poll(30)
        if message is None:
            raise SystemExit(f"no end of {topic} within 30 s")
        if message.error():
            break  # The end of the partition.
        if isolation == "read_committed":
            lines.append(f"committed\t{topic}\t{message.offset()}")
            continue
        headers = ",".join(f"{k}{shown(v)}" for k, v in message.headers() or [])
        lines.append(
            f"record\t{topic}\t{message.offset()}\t{message.timestamp()[1]}\t"
            f"{shown(message.key())}\t{shown(message.value())}\t{headers}"
        )
    consumer.close()
    return lines


def offsets(bootstrap, topic):
    """What ListOffsets answers."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    partition = TopicPartition(topic, 0)
    levels = {
        "read_uncommitted": IsolationLevel.READ_UNCOMMITTED,
        "read_committed": IsolationLevel.READ_COMMITTED,
    }
    span = Writer.clock_ms + 1000 - START_MS
    times = [START_MS - 1, *(START_MS + span * i // 40 for i in range(41))]
    specs = [("earliest", OffsetSpec.earliest()), ("latest", OffsetSpec.latest())]
    specs += [("max_timestamp", OffsetSpec.max_timestamp())]
    specs += [(str(t), OffsetSpec.for_timestamp(t)) for t in times]
    lines = []
    for name, level in levels.items():
        for label, spec in specs:
            result = admin.list_offsets({partition: spec}, isolation_level=level)[partition].result(30)
            lines.append(
                f"offset\t{topic}\t{name}\t{label}\t{result.offset}\t{result.timestamp}\t{result.leader_epoch}"
            )
    return lines


def producers(broker, topic):
    """What DescribeProducers answers: id, epoch, coordinator epoch, last sequence, last time, open since."""
    command = broker.java("org.apache.kafka.tools.TransactionsCommand")
    command += ["--bootstrap-server", broker.bootstrap, "describe-producers", "--topic", topic, "--partition", "0"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in text.splitlines() if line[:1].isdigit()]
    return ["producer\t" + topic + "\t" + "\t".join(row) for row in rows]


def expected(broker):
    lines = []
    for topic in TOPICS:
        for isolation in ("read_uncommitted", "read_committed"):
            lines += consume(broker.bootstrap, topic, isolation)
        lines += offsets(broker.bootstrap, topic)
        lines += producers(broker, topic)
    return "\n".join(lines) + "\n"


def copy(data, target):
    """The logs and the checkpoints, restricted to them, without what belongs to the cluster."""
    target.mkdir(parents=True)
    for name in ROOT_FILES:
        if not (data / name).exists():
            continue
        text = (data / name).read_text()
        if name.endswith("checkpoint"):
            lines = text.splitlines()
            entries = [line for line in lines[2:] if line.split()[0] in TOPICS]
            text = "\n".join([lines[0], str(len(entries)), *entries]) + "\n"
        (target / name).write_text(text)
    for topic in TOPICS:
        (target / f"{topic}-0").mkdir()
        for path in sorted((data / f"{topic}-0").iterdir()):
            keep = path.suffix in LOG_FILES or path.name in ("leader-epoch-checkpoint", "partition.metadata")
            if keep and not path.name.endswith(".deleted"):
                shutil.copyfile(path, target / f"{topic}-0" / path.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    for name in ("clean", "killed"):
        shutil.rmtree(target / name, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    work = tools.CACHE / "fixture"
    shutil.rmtree(work, ignore_errors=True)
    broker = brokers.Reference(work, SETTINGS)
    try:
        broker.start()
        wait_for_leaders(broker.bootstrap, [])
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        topics = [NewTopic(name, 1, 1, config=config) for name, config in TOPICS.items()]
        for future in admin.create_topics(topics).values():
            future.result(30)
        fill_mixed(broker.bootstrap, 0)
        fill_trimmed(broker.bootstrap)
        fill_compacted(broker.bootstrap)
        delete_records(broker.bootstrap, "trimmed", 22)
        wait_for_cleaner(broker.data_dir)
        broker.close()
        # A second life: another leader epoch, and a transaction that stays open.
        broker.start()
        wait_for_leaders(broker.bootstrap, TOPICS)
        _plain, _first, second = fill_mixed(broker.bootstrap, 1)
        open_ = Writer(broker.bootstrap, "mixed", "none", "txn-open")
        open_.begin()
        open_.batch()
        second.begin()
        second.batch()
        second.commit()
        (target / "clean.tsv").write_text(expected(broker))
        broker.close()
        copy(broker.data_dir, target / "clean")
        broker.start()
        wait_for_leaders(broker.bootstrap, TOPICS)
        fill_mixed(broker.bootstrap, 2)
        (target / "killed.tsv").write_text(expected(broker))
        broker.kill()
        copy(broker.data_dir, target / "killed")
    finally:
        broker.reap()
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{target}: {size} bytes")


if __name__ == "__main__":
    main()
