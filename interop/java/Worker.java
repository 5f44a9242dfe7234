import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The Java client as a worker; the command line and the text form of a record are those of common.py. */
public final class Worker {
    private static final String NULL = "\\N";
    private static final List<Header> HEADERS =
            List.of(new RecordHeader("n", "interop".getBytes(StandardCharsets.UTF_8)));
    private static final Duration WAIT = Duration.ofSeconds(60);
    private static final int PROGRESS_EVERY = 200;

    private Worker() {}

    public static void main(String[] a) throws Exception {
        switch (a[0]) {
            case "create" -> create(a[1], a[2], Integer.parseInt(a[3]));
            case "produce" -> produce(a[1], a[2], a[3]);
            case "consume" -> consume(a[1], a[2], a[3], List.of(a).subList(4, a.length));
            case "group" -> group(a[1], a[2], a[3], a[4], Integer.parseInt(a[5]));
            case "transform" -> Transactions.transform(a[1], a[2], a[3], a[4], a[5], Long.parseLong(a[6]));
            case "fence" -> Transactions.fence(a[1], a[3], Integer.parseInt(a[4]), records(a[2]));
            default -> throw new IllegalArgumentException("unknown command " + a[0]);
        }
    }

    private static Properties config(String bootstrap) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("reconnect.backoff.max.ms", "500");
        return config;
    }

    private static void create(String bootstrap, String topic, int partitions) throws Exception {
        try (Admin admin = Admin.create(config(bootstrap))) {
            NewTopic wanted = new NewTopic(topic, partitions, (short) 1);
            admin.createTopics(List.of(wanted)).all().get(30, TimeUnit.SECONDS);
        }
    }

    private static void produce(String bootstrap, String topic, String codec) throws Exception {
        Properties config = config(bootstrap);
        config.put("enable.idempotence", "true");
        config.put("acks", "all");
        config.put("compression.type", codec);
        config.put("linger.ms", "5");
        config.put("max.block.ms", "120000");
        AtomicInteger acked = new AtomicInteger();
        AtomicReference<Exception> failure = new AtomicReference<>();
        int sent = 0;
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
                var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                producer.send(record(topic, line), (metadata, error) -> {
                    if (error != null) {
                        failure.compareAndSet(null, error);
                    } else if (acked.incrementAndGet() % PROGRESS_EVERY == 0) {
                        System.out.println("acked " + acked.get());
                    }
                });
                sent++;
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        if (acked.get() != sent) {
            throw new IllegalStateException("sent " + sent + " records, " + acked + " were acknowledged");
        }
        System.out.println("done " + acked);
    }

    private static List<ProducerRecord<String, String>> records(String topic) {
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        return input.lines().map(line -> record(topic, line)).toList();
    }

    private static ProducerRecord<String, String> record(String topic, String line) {
        String[] f = line.split("\t", -1);
        String value = f[3].equals(NULL) ? null : f[3];
        return new ProducerRecord<>(topic, Integer.valueOf(f[0]), Long.valueOf(f[1]), f[2], value, HEADERS);
    }

    private static KafkaConsumer<String, String> consumer(String bootstrap, String group, String isolation) {
        Properties config = config(bootstrap);
        config.put("isolation.level", isolation);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        if (group != null) {
            config.put("group.id", group);
        }
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    private static void consume(String bootstrap, String out, String isolation, List<String> topics)
            throws Exception {
        try (var consumer = consumer(bootstrap, null, isolation);
                var output = Files.newBufferedWriter(Path.of(out))) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : topics) {
                consumer.partitionsFor(topic)
                        .forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long idleSince = System.nanoTime();
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                var records = consumer.poll(Duration.ofSeconds(1));
                idleSince = records.isEmpty() ? bounded(idleSince) : System.nanoTime();
                for (var record : records) {
                    write(output, record);
                }
            }
        }
    }

    private static void group(String bootstrap, String out, String topic, String name, int count)
            throws Exception {
        try (var consumer = consumer(bootstrap, name, "read_uncommitted");
                var output = Files.newBufferedWriter(Path.of(out))) {
            consumer.subscribe(List.of(topic));
            Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
            long idleSince = System.nanoTime();
            int left = count;
            while (left > 0) {
                var records = consumer.poll(Duration.ofSeconds(1));
                idleSince = records.isEmpty() ? bounded(idleSince) : System.nanoTime();
                for (var record : records) {
                    if (left == 0) {
                        break;
                    }
                    left--;
                    write(output, record);
                    positions.put(
                            new TopicPartition(topic, record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                }
            }
            consumer.commitSync(positions);
        }
    }

    private static long bounded(long idleSince) {
        if (System.nanoTime() - idleSince > WAIT.toNanos()) {
            throw new IllegalStateException("no record for " + WAIT.toSeconds() + " s");
        }
        return idleSince;
    }

    private static void write(BufferedWriter output, ConsumerRecord<String, String> r) throws IOException {
        StringBuilder headers = new StringBuilder();
        for (Header header : r.headers()) {
            headers.append(headers.isEmpty() ? "" : ",")
                    .append(header.key())
                    .append('=')
                    .append(new String(header.value(), StandardCharsets.UTF_8));
        }
        String value = r.value() == null ? NULL : r.value();
        output.write(String.join("\t", r.topic(), "" + r.partition(), "" + r.offset(), "" + r.timestamp(),
                r.key(), headers, value));
        output.write('\n');
    }
}
