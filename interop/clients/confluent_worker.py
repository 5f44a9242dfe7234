"""confluent-kafka (librdkafka) as a worker; see common.py."""

import sys

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition, OFFSET_BEGINNING
from confluent_kafka.admin import AdminClient, NewTopic

import common
import confluent_transactions


def create(bootstrap, topic, partitions):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)


def produce(bootstrap, topic, codec):
    progress = common.Progress()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": codec,
            "linger.ms": 5,
            "reconnect.backoff.max.ms": 500,
        }
    )

    def delivered(error, _message):
        if error is None:
            progress.ack()
        else:
            progress.fail(error)

    sent = 0
    for record in common.records():
        while True:
            try:
                producer.produce(
                    topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    on_delivery=delivered,
                    timestamp=record.timestamp,
                    headers=[(common.HEADER_KEY, common.HEADER_VALUE)],
                )
                break
            except BufferError:
                producer.poll(0.1)
        sent += 1
        producer.poll(0)
    producer.flush(120)
    progress.finish(sent)


def write(output, message):
    output.write(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.headers(),
        message.value(),
    )


def next_message(consumer):
    message = consumer.poll(60)
    if message is None:
        sys.exit("no record for 60 s")
    if message.error() is not None and message.error().code() != KafkaError._PARTITION_EOF:
        sys.exit(f"consumer error: {message.error()}")
    return message


def consume(bootstrap, output, isolation, topics):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.partition.eof": True,
            "isolation.level": isolation,
        }
    )
    metadata = consumer.list_topics(timeout=30).topics
    partitions = [
        TopicPartition(topic, partition, OFFSET_BEGINNING)
        for topic in topics
        for partition in metadata[topic].partitions
    ]
    open_partitions = {(p.topic, p.partition) for p in partitions}
    consumer.assign(partitions)
    while open_partitions:
        message = next_message(consumer)
        if message.error() is None:
            write(output, message)
        else:
            open_partitions.discard((message.topic(), message.partition()))
    consumer.close()


def group(bootstrap, output, topic, name, count):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    positions = {}
    while output.count < count:
        message = next_message(consumer)
        write(output, message)
        positions[message.partition()] = message.offset() + 1
    consumer.commit(
        offsets=[TopicPartition(topic, p, o) for p, o in positions.items()], asynchronous=False
    )
    consumer.close()


common.main(
    create, produce, consume, group, confluent_transactions.transform, confluent_transactions.fence
)
