"""aiokafka as a worker; see common.py."""

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import aiokafka_transactions
import common

WAIT_SECONDS = 60


async def create(bootstrap, topic, partitions):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()


async def produce(bootstrap, topic, codec):
    progress = common.Progress()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        compression_type=None if codec == "none" else codec,
        linger_ms=5,
        request_timeout_ms=120_000,
    )
    await producer.start()

    def delivered(future):
        if future.exception() is None:
            progress.ack()
        else:
            progress.fail(future.exception())

    sent = 0
    for record in common.records():
        future = await producer.send(
            topic,
            record.value,
            record.key,
            record.partition,
            record.timestamp,
            [(common.HEADER_KEY, common.HEADER_VALUE)],
        )
        future.add_done_callback(delivered)
        sent += 1
    await producer.stop()
    progress.finish(sent)


def write(output, message):
    output.write(
        message.topic,
        message.partition,
        message.offset,
        message.timestamp,
        message.key,
        message.headers,
        message.value,
    )


async def consume(bootstrap, output, isolation, topics):
    # Starting with the topics fetches their metadata; then each partition is read by hand.
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=bootstrap, group_id=None, isolation_level=isolation
    )
    await consumer.start()
    partitions = [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in consumer.partitions_for_topic(topic)
    ]
    consumer.unsubscribe()
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    deadline = time.monotonic() + WAIT_SECONDS
    for partition in partitions:
        while await consumer.position(partition) < ends[partition]:
            # A position also moves on over what is not served: markers, and records that were aborted.
            served = await consumer.getmany(partition, timeout_ms=100)
            messages = served.get(partition, [])
            for message in messages:
                write(output, message)
            if messages:
                deadline = time.monotonic() + WAIT_SECONDS
            elif time.monotonic() > deadline:
                sys.exit(f"no record for {WAIT_SECONDS} s")
    await consumer.stop()


async def group(bootstrap, output, topic, name, count):
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=name,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    positions = {}
    while output.count < count:
        message = await asyncio.wait_for(consumer.getone(), WAIT_SECONDS)
        write(output, message)
        positions[TopicPartition(topic, message.partition)] = message.offset + 1
    await consumer.commit(positions)
    await consumer.stop()


def run(function):
    return lambda *arguments: asyncio.run(function(*arguments))


common.main(run(create), run(produce), run(consume), run(group), run(aiokafka_transactions.transform))
