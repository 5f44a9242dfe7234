"""Transactions of confluent-kafka, as its documentation teaches them; see common.py."""

import itertools
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

import common

WAIT_SECONDS = 60


class Aborted(Exception):
    """The transaction did not happen; its records are to be taken again."""


def insist(call, *arguments):
    """Calls until it is done: a call that may be repeated says so in its error."""
    while True:
        try:
            return call(*arguments)
        except KafkaException as refused:
            error = refused.args[0]
            if error.txn_requires_abort():
                raise Aborted(error) from None
            if not error.retriable():
                sys.exit(f"{call.__name__}: {error.name()}: {error}")
            common.note(f"{call.__name__} once more: {error}")


def make_producer(bootstrap, transactional_id):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "linger.ms": 5,
            "reconnect.backoff.max.ms": 500,
            # Or sending offsets hangs after the only broker was gone: librdkafka issue 5511.
            "metadata.recovery.strategy": "none",
        }
    )
    insist(producer.init_transactions, WAIT_SECONDS)
    return producer


class Member:
    """The group member; where it stands is the group's business until its transactions commit."""

    def __init__(self, bootstrap, topic, group):
        self.topic = topic
        self.rebalanced = False
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "session.timeout.ms": 6000,
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 500,
            }
        )
        self.consumer.subscribe([topic], on_assign=self.note, on_revoke=self.note, on_lost=self.note)
        while not self.consumer.assignment():
            self.consumer.poll(0.1)

    def note(self, _consumer, _partitions):
        self.rebalanced = True

    def rewind(self):
        """Back to the committed positions, and which those are."""
        self.rebalanced = False
        while True:
            try:
                committed = self.consumer.committed(self.consumer.assignment(), 10)
                break
            except KafkaException as refused:
                common.note(f"committed: {refused}")
        for partition in committed:
            partition.offset = max(partition.offset, 0)
            self.consumer.seek(partition)
        return {partition.partition: partition.offset for partition in committed}

    def take(self):
        messages = self.consumer.consume(common.TAKE, 0.5)
        for message in messages:
            error = message.error()
            if error is not None and (error.fatal() or error.code() == KafkaError.OFFSET_OUT_OF_RANGE):
                sys.exit(f"consumer error: {error}")
        return [] if self.rebalanced else [m for m in messages if m.error() is None]


def transform(bootstrap, source, target, group, transactional_id, work):
    producer = make_producer(bootstrap, transactional_id)
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


def one_pass(producer, member, target, messages, work):
    insist(producer.begin_transaction)
    try:
        for message in messages:
            copy(producer, target, message)
        insist(producer.flush, WAIT_SECONDS)
        if work.arrived(messages):
            raise Aborted("on purpose")
        positions = {m.partition(): m.offset() + 1 for m in messages}
        offsets = [TopicPartition(member.topic, p, o) for p, o in positions.items()]
        metadata = member.consumer.consumer_group_metadata()
        insist(producer.send_offsets_to_transaction, offsets, metadata, WAIT_SECONDS)
        insist(producer.commit_transaction, WAIT_SECONDS)
    except Aborted as reason:
        common.note(f"aborts: {reason}")
        insist(producer.abort_transaction, WAIT_SECONDS)
        positions = member.rewind()
    work.goes_on(positions)


def copy(producer, target, message):
    producer.produce(
        target,
        value=message.value(),
        key=message.key(),
        partition=message.partition(),
        timestamp=message.timestamp()[1],
        headers=message.headers(),
    )


def fence(bootstrap, topic, transactional_id, count):
    records = common.records()
    first = make_producer(bootstrap, transactional_id)
    write(first, topic, itertools.islice(records, count))
    second = make_producer(bootstrap, transactional_id)
    write(second, topic, records)
    insist(second.commit_transaction, WAIT_SECONDS)
    try:
        first.commit_transaction(WAIT_SECONDS)
        print("fenced not", flush=True)
    except KafkaException as refused:
        error = refused.args[0]
        print("fenced", error.name() if error.fatal() else f"not, but {error}", flush=True)


def write(producer, topic, records):
    """A transaction whose records have all arrived, and which is open."""
    insist(producer.begin_transaction)
    for record in records:
        producer.produce(
            topic,
            value=record.value,
            key=record.key,
            partition=record.partition,
            timestamp=record.timestamp,
            headers=[(common.HEADER_KEY, common.HEADER_VALUE)],
        )
    insist(producer.flush, WAIT_SECONDS)
