/* A librdkafka client that measures a broker from outside. One mode per run; one JSON object on
 * standard output; what went wrong on standard error, with exit status 1.
 *
 *   client produce BROKERS TOPIC SIZE SECONDS   idempotent, acks=all, as fast as it goes
 *   client consume BROKERS TOPIC                from the first offset to the end, one partition
 *   client single  BROKERS TOPIC SIZE SECONDS   one record at a time; the next after its ack
 *   client flushed FILE SIZE SECONDS            no broker: one flushed write after the other
 *
 * BROKERS "mock" stands for librdkafka's own broker inside this process, which stores nothing: it
 * shows what the client alone can do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Payload is random, so that nothing on the way can profit from its being alike. */
#define POOL_BYTES (8 << 20)
#define LATENCIES_MAX 1000000
#define CONSUME_BATCH 4096
#define QUIET_MS 20000

static long delivered, failed;
static double last_delivery;
static char reason[512];

static void die(const char *what, const char *why) {
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
}

static double now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec + t.tv_nsec / 1e9;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
        (void)rk, (void)opaque;
        if (m->err) {
                failed++;
                snprintf(reason, sizeof reason, "%s", rd_kafka_message_errstr(m));
        } else {
                delivered++;
                last_delivery = now();
        }
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
        char why[512];
        if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK)
                die(key, why);
}

static rd_kafka_conf_t *common(const char *brokers) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        if (!strcmp(brokers, "mock"))
                set(conf, "test.mock.num.brokers", "1");
        else
                set(conf, "bootstrap.servers", brokers);
        return conf;
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
        char why[512];
        rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
        if (!rk)
                die("cannot create the client", why);
        return rk;
}

static rd_kafka_t *producer(const char *brokers, const char *linger_ms) {
        rd_kafka_conf_t *conf = common(brokers);
        set(conf, "enable.idempotence", "true");
        set(conf, "acks", "all");
        set(conf, "linger.ms", linger_ms);
        set(conf, "queue.buffering.max.messages", "1000000");
        set(conf, "queue.buffering.max.kbytes", "262144");
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        return client(RD_KAFKA_PRODUCER, conf);
}

static char *payload_pool(void) {
        char *pool = malloc(POOL_BYTES);
        unsigned long long x = 88172645463325252ULL;
        for (size_t i = 0; i < POOL_BYTES; i += 8) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                memcpy(pool + i, &x, 8);
        }
        return pool;
}

static void send_record(rd_kafka_t *rk, rd_kafka_topic_t *topic, char *payload, size_t size) {
        while (rd_kafka_produce(topic, 0, 0, payload, size, NULL, 0, NULL)) {
                if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                        die("produce", rd_kafka_err2str(rd_kafka_last_error()));
                rd_kafka_poll(rk, 10);
        }
}

static void check_deliveries(void) {
        if (failed)
                die("not delivered", reason);
}

/* The first record also creates the topic, finds its leader and opens the connections. */
static void warm_up(rd_kafka_t *rk, rd_kafka_topic_t *topic, char *pool) {
        send_record(rk, topic, pool, 100);
        rd_kafka_flush(rk, QUIET_MS);
        check_deliveries();
        if (!delivered)
                die("warm-up", "the first record was not acknowledged in time");
        delivered = 0;
}

static void produce(const char *brokers, const char *name, size_t size, double seconds) {
        char *pool = payload_pool();
        rd_kafka_t *rk = producer(brokers, "5");
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
        warm_up(rk, topic, pool);
        double start = now(), end = start + seconds;
        size_t at = 0;
        for (long sent = 0;; sent++) {
                if (sent % 64 == 0) {
                        rd_kafka_poll(rk, 0);
                        if (now() >= end)
                                break;
                }
                send_record(rk, topic, pool + at, size);
                at = (at + size) % (POOL_BYTES - size);
        }
        rd_kafka_flush(rk, QUIET_MS);
        check_deliveries();
        if (rd_kafka_outq_len(rk))
                die("flush", "not everything was acknowledged in time");
        double took = last_delivery - start;
        printf("{\"messages\": %ld, \"seconds\": %.6f, \"per_second\": %.1f, \"mb_per_second\": %.2f}\n",
               delivered, took, delivered / took, delivered * (double)size / took / 1e6);
        fflush(stdout);
        _exit(0);
}

static void consume(const char *brokers, const char *name) {
        rd_kafka_conf_t *conf = common(brokers);
        /* Big enough that the client's own queue never makes it pause. */
        set(conf, "queued.min.messages", "10000000");
        set(conf, "queued.max.messages.kbytes", "524288");
        set(conf, "fetch.queue.backoff.ms", "1");
        rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, conf);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        if (rd_kafka_consume_start_queue(topic, 0, RD_KAFKA_OFFSET_BEGINNING, queue))
                die("consume", rd_kafka_err2str(rd_kafka_last_error()));
        static rd_kafka_message_t *batch[CONSUME_BATCH];
        int64_t low, high;
        if (rd_kafka_query_watermark_offsets(rk, name, 0, &low, &high, QUIET_MS))
                die("consume", "the end of the partition is not known");
        long messages = 0, wanted = high - low;
        double bytes = 0, start = 0, last = 0;
        while (messages < wanted) {
                /* A batch is waited for until it is full, so the last one must be just as large. */
                long most = wanted - messages < CONSUME_BATCH ? wanted - messages : CONSUME_BATCH;
                ssize_t n = rd_kafka_consume_batch_queue(queue, QUIET_MS, batch, most);
                if (n <= 0)
                        die("consume", "nothing came any more");
                last = now();
                if (!start)
                        start = last;
                for (ssize_t i = 0; i < n; i++) {
                        if (batch[i]->err)
                                die("consume", rd_kafka_message_errstr(batch[i]));
                        messages++, bytes += batch[i]->len;
                        rd_kafka_message_destroy(batch[i]);
                }
        }
        double took = last - start;
        printf("{\"messages\": %ld, \"seconds\": %.6f, \"per_second\": %.1f, \"mb_per_second\": %.2f}\n",
               messages, took, messages / took, bytes / took / 1e6);
        fflush(stdout);
        _exit(0);
}

static double latencies[LATENCIES_MAX];

static int by_value(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;
        return (x > y) - (x < y);
}

static void print_latencies(long count) {
        if (!count)
                die("latency", "nothing was measured");
        qsort(latencies, count, sizeof *latencies, by_value);
        printf("{\"count\": %ld, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f}\n", count,
               latencies[count / 2] * 1e3, latencies[count * 99 / 100] * 1e3,
               latencies[count * 999 / 1000] * 1e3);
        fflush(stdout);
}

static void single(const char *brokers, const char *name, size_t size, double seconds) {
        char *pool = payload_pool();
        rd_kafka_t *rk = producer(brokers, "0");
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
        warm_up(rk, topic, pool);
        double end = now() + seconds;
        long count = 0;
        while (count < LATENCIES_MAX) {
                double start = now();
                if (start >= end)
                        break;
                delivered = 0;
                send_record(rk, topic, pool + (count * 8) % (POOL_BYTES - size), size);
                while (!delivered && !failed)
                        rd_kafka_poll(rk, 1000);
                check_deliveries();
                latencies[count++] = now() - start;
        }
        print_latencies(count);
        _exit(0);
}

/* The device's share of an acknowledgement: one direct, flushed write to blocks written before. */
static void flushed(const char *path, size_t size, double seconds) {
        const off_t file_bytes = 16 << 20;
        size = (size + 4095) / 4096 * 4096;
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
        if (fd < 0)
                die(path, strerror(errno));
        void *block;
        if (posix_memalign(&block, 4096, 1 << 20))
                die("memory", "none left");
        memset(block, 7, 1 << 20);
        for (off_t at = 0; at < file_bytes; at += 1 << 20)
                if (pwrite(fd, block, 1 << 20, at) != 1 << 20)
                        die(path, strerror(errno));
        if (fsync(fd))
                die(path, strerror(errno));
        struct iovec part = {block, size};
        double end = now() + seconds;
        long count = 0;
        for (off_t at = 0; count < LATENCIES_MAX; at = (at + (off_t)size) % file_bytes) {
                double start = now();
                if (start >= end)
                        break;
                if (pwritev2(fd, &part, 1, at, RWF_DSYNC) != (ssize_t)size)
                        die(path, strerror(errno));
                latencies[count++] = now() - start;
        }
        unlink(path);
        print_latencies(count);
}

int main(int argc, char **argv) {
        if (argc == 6 && !strcmp(argv[1], "produce"))
                produce(argv[2], argv[3], strtoul(argv[4], NULL, 10), atof(argv[5]));
        else if (argc == 4 && !strcmp(argv[1], "consume"))
                consume(argv[2], argv[3]);
        else if (argc == 6 && !strcmp(argv[1], "single"))
                single(argv[2], argv[3], strtoul(argv[4], NULL, 10), atof(argv[5]));
        else if (argc == 5 && !strcmp(argv[1], "flushed"))
                flushed(argv[2], strtoul(argv[3], NULL, 10), atof(argv[4]));
        else
                die("usage", "client produce|consume|single|flushed …; see the top of client.c");
        return 0;
}
