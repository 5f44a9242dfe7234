"""Transactions of aiokafka, as its documentation teaches them; see common.py."""

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, ProducerFenced

import common

WAIT_SECONDS = 60
# After these a producer is of no more use.
FATAL = (ProducerFenced, OutOfOrderSequenceNumber)


class Aborted(Exception):
    """The transaction did not happen; its records are to be taken again."""


class Member(ConsumerRebalanceListener):
    """The group member; where it stands is the group's business until its transactions commit."""

    def __init__(self, bootstrap, topic, group):
        self.topic = topic
        self.group = group
        self.rebalanced = False
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=6000,
            heartbeat_interval_ms=1000,
        )
        self.consumer.subscribe([topic], listener=self)

    async def start(self):
        await self.consumer.start()
        while not self.consumer.assignment():
            await self.consumer.getmany(timeout_ms=100)

    async def on_partitions_revoked(self, revoked):
        self.rebalanced = True

    async def on_partitions_assigned(self, assigned):
        self.rebalanced = True

    async def rewind(self):
        """Back to the committed positions, and which those are."""
        self.rebalanced = False
        positions = {}
        for partition in self.consumer.assignment():
            positions[partition.partition] = await self.consumer.committed(partition) or 0
            self.consumer.seek(partition, positions[partition.partition])
        return positions

    async def take(self):
        served = await self.consumer.getmany(timeout_ms=500, max_records=common.TAKE)
        return [] if self.rebalanced else [m for part in served.values() for m in part]


async def transform(bootstrap, source, target, group, transactional_id, work):
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=transactional_id, linger_ms=5
    )
    await producer.start()
    member = Member(bootstrap, source, group)
    await member.start()
    try:
        work.goes_on(await member.rewind())
        patience = common.Patience(WAIT_SECONDS)
        while not work.done():
            messages = await member.take()
            if member.rebalanced:
                work.goes_on(await member.rewind())
            elif patience.check(messages):
                await one_pass(producer, member, target, messages, work)
    finally:
        await member.consumer.stop()
    await producer.stop()


async def one_pass(producer, member, target, messages, work):
    try:
        await producer.begin_transaction()
        sent = [
            await producer.send(target, m.value, m.key, m.partition, m.timestamp, list(m.headers))
            for m in messages
        ]
        for arrival in sent:
            await arrival
        if work.arrived(messages):
            raise Aborted("on purpose")
        if member.rebalanced:
            # Its requests do not say which generation of the group they are of; nobody else would notice.
            raise Aborted("the group has changed")
        positions = {m.partition: m.offset + 1 for m in messages}
        offsets = {TopicPartition(member.topic, p): o for p, o in positions.items()}
        await producer.send_offsets_to_transaction(offsets, member.group)
        await producer.commit_transaction()
    except FATAL:
        raise
    except (Aborted, KafkaError) as reason:
        common.note(f"aborts: {reason!r}")
        await producer.abort_transaction()
        positions = await member.rewind()
    work.goes_on(positions)
