import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Transactions of the Java client, as its documentation teaches them; see common.py. */
final class Transactions implements ConsumerRebalanceListener {
    private static final int TAKE = 100;
    private static final int ABORT_EVERY = 3;
    private static final long PATIENCE_NANOS = Duration.ofSeconds(60).toNanos();

    private final String source;
    private final String target;
    private final long count;
    private final KafkaProducer<String, String> producer;
    private final KafkaConsumer<String, String> consumer;
    private final Map<TopicPartition, Long> committed = new HashMap<>();
    private boolean rebalanced;
    private int passes;
    private int aborted;

    private Transactions(
            String bootstrap, String source, String target, String group, String id, long count) {
        this.source = source;
        this.target = target;
        this.count = count;
        producer = producer(bootstrap, id);
        consumer = consumer(bootstrap, group);
    }

    static void transform(
            String bootstrap, String source, String target, String group, String id, long count) {
        new Transactions(bootstrap, source, target, group, id, count).run();
    }

    private static Properties config(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("reconnect.backoff.max.ms", "500");
        return config;
    }

    private static KafkaProducer<String, String> producer(String bootstrap, String id) {
        Properties config = config(bootstrap);
        config.put("transactional.id", id);
        config.put("linger.ms", "5");
        var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    private static KafkaConsumer<String, String> consumer(String bootstrap, String group) {
        Properties config = config(bootstrap);
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("isolation.level", "read_committed");
        config.put("session.timeout.ms", "6000");
        config.put("heartbeat.interval.ms", "1000");
        config.put("max.poll.records", "" + TAKE);
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        rebalanced = true;
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        rebalanced = true;
    }

    private void run() {
        try (producer; consumer) {
            consumer.subscribe(List.of(source), this);
            while (consumer.assignment().isEmpty()) {
                consumer.poll(Duration.ofMillis(100));
            }
            goesOn(rewind());
            long idleSince = System.nanoTime();
            while (done() < count) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(500));
                if (rebalanced) {
                    goesOn(rewind());
                } else if (!records.isEmpty()) {
                    onePass(records);
                    idleSince = System.nanoTime();
                } else if (System.nanoTime() - idleSince > PATIENCE_NANOS) {
                    throw new IllegalStateException("no record for 60 s");
                }
            }
        }
        System.out.println("aborted " + aborted);
        System.out.println("done " + done());
    }

    private void onePass(ConsumerRecords<String, String> records) {
        Map<TopicPartition, Long> positions;
        try {
            producer.beginTransaction();
            for (ConsumerRecord<String, String> r : records) {
                producer.send(new ProducerRecord<>(
                        target, r.partition(), r.timestamp(), r.key(), r.value(), r.headers()));
            }
            producer.flush();
            if (arrived(records.count())) {
                throw new KafkaException("on purpose");
            }
            positions = after(records);
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            positions.forEach((partition, offset) -> offsets.put(partition, new OffsetAndMetadata(offset)));
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            producer.commitTransaction();
        } catch (ProducerFencedException | OutOfOrderSequenceException | AuthorizationException fatal) {
            throw fatal;
        } catch (KafkaException abortable) {
            System.err.println("aborts: " + abortable);
            producer.abortTransaction();
            positions = rewind();
        }
        goesOn(positions);
    }

    private static Map<TopicPartition, Long> after(ConsumerRecords<String, String> records) {
        Map<TopicPartition, Long> positions = new HashMap<>();
        for (ConsumerRecord<String, String> r : records) {
            positions.put(new TopicPartition(r.topic(), r.partition()), r.offset() + 1);
        }
        return positions;
    }

    /** Back to the committed positions, and which those are. */
    private Map<TopicPartition, Long> rewind() {
        rebalanced = false;
        Set<TopicPartition> assigned = consumer.assignment();
        Map<TopicPartition, OffsetAndMetadata> stored = consumer.committed(assigned);
        Map<TopicPartition, Long> positions = assigned.stream()
                .collect(Collectors.toMap(p -> p, p -> stored.get(p) == null ? 0L : stored.get(p).offset()));
        positions.forEach(consumer::seek);
        return positions;
    }

    private boolean arrived(int records) {
        System.out.println("open");
        passes++;
        boolean doomed = passes % ABORT_EVERY == 0;
        aborted += doomed ? records : 0;
        return doomed;
    }

    private void goesOn(Map<TopicPartition, Long> positions) {
        committed.putAll(positions);
        System.out.println("acked " + done());
    }

    private long done() {
        return committed.values().stream().mapToLong(Long::longValue).sum();
    }

    /** The first `count` records in a transaction that stays open, the others in one of a second instance. */
    static void fence(String bootstrap, String id, int count, List<ProducerRecord<String, String>> records) {
        try (var first = producer(bootstrap, id)) {
            write(first, records.subList(0, count));
            try (var second = producer(bootstrap, id)) {
                write(second, records.subList(count, records.size()));
                second.commitTransaction();
            }
            try {
                first.commitTransaction();
                System.out.println("fenced not");
            } catch (KafkaException refused) {
                System.out.println("fenced " + refused.getClass().getSimpleName());
            }
        }
    }

    /** A transaction whose records have all arrived, and which is open. */
    private static void write(
            KafkaProducer<String, String> producer, List<ProducerRecord<String, String>> records) {
        producer.beginTransaction();
        records.forEach(producer::send);
        producer.flush();
    }
}
