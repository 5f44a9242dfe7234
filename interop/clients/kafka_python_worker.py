"""kafka-python as a worker; see common.py."""

import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata

import common
import kafka_python_transactions


def create(bootstrap, topic, partitions):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, partitions, 1)])
    admin.close()


def produce(bootstrap, topic, codec):
    progress = common.Progress()
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        compression_type=None if codec == "none" else codec,
        linger_ms=5,
        max_block_ms=120_000,
        reconnect_backoff_max_ms=500,
    )
    sent = 0
    for record in common.records():
        future = producer.send(
            topic,
            record.value,
            record.key,
            [(common.HEADER_KEY, common.HEADER_VALUE)],
            record.partition,
            record.timestamp,
        )
        future.add_callback(lambda _metadata: progress.ack())
        future.add_errback(progress.fail)
        sent += 1
    producer.flush(120)
    producer.close(30)
    progress.finish(sent)


def polled(consumer):
    """What each poll returned, for as long as records come within a minute of each other."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        messages = [m for part in consumer.poll(timeout_ms=1000).values() for m in part]
        if messages:
            deadline = time.monotonic() + 60
        yield messages
    sys.exit("no record for 60 s")


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


def consume(bootstrap, output, isolation, topics):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, isolation_level=isolation)
    partitions = [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in consumer.partitions_for_topic(topic)
    ]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    batches = polled(consumer)
    while any(consumer.position(p) < ends[p] for p in partitions):
        for message in next(batches):
            write(output, message)
    consumer.close()


def group(bootstrap, output, topic, name, count):
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=name,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    positions = {}
    batches = polled(consumer)
    while output.count < count:
        for message in next(batches):
            if output.count == count:
                break
            write(output, message)
            positions[TopicPartition(topic, message.partition)] = message.offset + 1
    consumer.commit({p: OffsetAndMetadata(o, "", -1) for p, o in positions.items()})
    consumer.close()


common.main(create, produce, consume, group, kafka_python_transactions.transform)
