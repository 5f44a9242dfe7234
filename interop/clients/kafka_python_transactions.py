"""Transactions of kafka-python, as its documentation teaches them; see common.py."""

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    IllegalStateError,
    KafkaError,
    OutOfOrderSequenceNumberError,
    ProducerFencedError,
)
from kafka.structs import OffsetAndMetadata

import common

WAIT_SECONDS = 60
# After these a producer is of no more use.
FATAL = (AuthorizationError, IllegalStateError, OutOfOrderSequenceNumberError, ProducerFencedError)


class Aborted(Exception):
    """The transaction did not happen; its records are to be taken again."""


class Member(ConsumerRebalanceListener):
    """The group member; where it stands is the group's business until its transactions commit."""

    def __init__(self, bootstrap, topic, group):
        self.topic = topic
        self.rebalanced = False
        self.consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=6000,
            heartbeat_interval_ms=1000,
            reconnect_backoff_max_ms=500,
            max_poll_records=common.TAKE,
        )
        self.consumer.subscribe([topic], listener=self)
        while not self.consumer.assignment():
            self.consumer.poll(timeout_ms=100)

    def on_partitions_revoked(self, revoked):
        self.rebalanced = True

    def on_partitions_assigned(self, assigned):
        self.rebalanced = True

    def rewind(self):
        """Back to the committed positions, and which those are."""
        self.rebalanced = False
        positions = {}
        for partition in self.consumer.assignment():
            positions[partition.partition] = self.consumer.committed(partition) or 0
            self.consumer.seek(partition, positions[partition.partition])
        return positions

    def take(self):
        polled = self.consumer.poll(timeout_ms=500)
        return [] if self.rebalanced else [m for part in polled.values() for m in part]


def transform(bootstrap, source, target, group, transactional_id, work):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=transactional_id,
        linger_ms=5,
        reconnect_backoff_max_ms=500,
    )
    producer.init_transactions()
    member = Member(bootstrap, source, group)
    try:
        work.goes_on(member.rewind())
        patience = common.Patience(WAIT_SECONDS)
        while not work.done():
            messages = member.take()
            if member.rebalanced:
                work.goes_on(member.rewind())
            elif patience.check(messages):
                one_pass(producer, member, target, messages, work)
    finally:
        member.consumer.close()
    producer.close(30)


def one_pass(producer, member, target, messages, work):
    try:
        producer.begin_transaction()
        for m in messages:
            producer.send(target, m.value, m.key, m.headers, m.partition, m.timestamp)
        producer.flush(WAIT_SECONDS)
        if work.arrived(messages):
            raise Aborted("on purpose")
        positions = {m.partition: m.offset + 1 for m in messages}
        offsets = {
            TopicPartition(member.topic, p): OffsetAndMetadata(o, "", -1) for p, o in positions.items()
        }
        producer.send_offsets_to_transaction(offsets, member.consumer.group_metadata())
        producer.commit_transaction()
    except FATAL:
        raise
    except (Aborted, KafkaError) as reason:
        common.note(f"aborts: {reason!r}")
        producer.abort_transaction()
        positions = member.rewind()
    work.goes_on(positions)
