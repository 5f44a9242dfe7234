#!/usr/bin/env python3
"""Measures the broker from outside, beside Apache Kafka, with one client and in one run.

    benches/broker/run.py --broker target/release/oncelog                everything
    benches/broker/run.py --broker target/release/oncelog --what produce only this (repeatable)
    benches/broker/run.py --broker target/release/oncelog --no-kafka     without the reference broker

Method: both brokers run all the time on one file system; a round measures one, then the other, and gives
one ratio; rounds alternate in who begins. The first round warms both up and is not counted. The table shows
the medians and the range of the ratios. oncelog flushes before it acknowledges, Kafka runs with its
defaults, which do not flush. The client is client.c, over librdkafka.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "interop"))

from suite import brokers, tools  # noqa: E402

SIZES = (100, 1024, 16384)
# A topic that was measured is deleted, and its files are to be gone before the next one fills the disk.
SETTINGS = ("num.partitions=1", "log.segment.delete.delay.ms=1000")
CLIENT_SECONDS = 120


class BenchError(Exception):
    """Something could not be measured; the message says what."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--broker", metavar="BINARY", required=True, help="the oncelog binary to measure")
    parser.add_argument("--what", action="append", choices=list(MEASUREMENTS), help="only this (repeatable)")
    parser.add_argument("--size", action="append", type=int, help="only this record size (repeatable)")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds (default 3)")
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement (default 3)")
    parser.add_argument("--no-kafka", action="store_true", help="only oncelog")
    parser.add_argument("--mock", action="store_true", help="also the client alone, against its own mock broker")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="setting of oncelog")
    parser.add_argument("--work", default=tools.CACHE / "bench", type=Path, help="folder for the data")
    return parser.parse_args()


def librdkafka():
    """The librdkafka that the interop suite pins, else the system's."""
    pinned = list(tools.CACHE.glob("venv/lib/python*/site-packages/confluent_kafka.libs/librdkafka-*.so.1"))
    if pinned:
        return [str(pinned[0]), f"-Wl,-rpath,{pinned[0].parent}"]
    return ["-lrdkafka"]


def compile_client():
    tools.need("cc", "gcc")
    binary = tools.CACHE / "bench-client"
    source = HERE / "client.c"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        try:
            tools.run(["cc", "-O2", "-Wall", "-Wextra", "-o", binary, source, *librdkafka()])
        except tools.ToolError as error:
            raise BenchError(f"cannot compile client.c (its header is in librdkafka-dev):\n{error}") from None
    return binary


class Client:
    """Runs client.c in one of its modes."""

    def __init__(self, binary):
        self.binary = binary

    def run(self, mode, *arguments):
        command = [str(self.binary), mode, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_SECONDS)
        if done.returncode != 0:
            raise BenchError(f"client {mode}: {done.stderr.strip()}")
        return json.loads(done.stdout)


class Run:
    """The brokers under measurement, and the client."""

    def __init__(self, options, client, contenders):
        self.options = options
        self.client = client
        self.contenders = contenders

    def pairs(self, measure):
        """Per contender the results of the counted rounds, in order."""
        results = {name: [] for name in self.contenders}
        for number in range(self.options.rounds + 1):
            order = list(self.contenders.items())
            if number % 2:
                order.reverse()
            for name, broker in order:
                # What the one before left for later must not be paid by this one.
                os.sync()
                result = measure(broker)
                if number:
                    results[name].append(result)
        return results


def row(what, unit, results, key, better="more", digits=0):
    """One line of the table: medians, and the ratio of each round's pair."""
    values = {name: [result[key] for result in list_] for name, list_ in results.items()}
    text = [f"{name} {statistics.median(list_):,.{digits}f}" for name, list_ in values.items()]
    line = f"{what:32} {unit:8} " + "  ".join(f"{part:26}" for part in text)
    if len(values) == 2:
        ours, theirs = values.values()
        ratios = [a / b for a, b in zip(ours, theirs)]
        mark = "" if better == "more" else " (less is better)"
        line += f"ratio {statistics.median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]{mark}"
    print(line.rstrip(), flush=True)


def topic_name():
    return f"bench-{uuid.uuid4().hex[:12]}"


def delete(broker, topic):
    code = (
        "import sys; from confluent_kafka.admin import AdminClient\n"
        "admin = AdminClient({'bootstrap.servers': sys.argv[1]})\n"
        "admin.delete_topics([sys.argv[2]])[sys.argv[2]].result()"
    )
    tools.run([tools.PYTHON, "-c", code, broker.bootstrap, topic])


def measure_produce(run):
    for size in run.options.size or SIZES:
        def once(broker):
            topic = topic_name()
            result = run.client.run("produce", broker.bootstrap, topic, size, run.options.seconds)
            delete(broker, topic)
            return result

        results = run.pairs(once)
        unit, key, digits = ("msg/s", "per_second", 0) if size < 1000 else ("MB/s", "mb_per_second", 1)
        row(f"produce, {size} B", unit, results, key, digits=digits)
        if run.options.mock:
            alone = run.client.run("produce", "mock", "t", size, run.options.seconds)
            print(f"{'  the client alone':32} {unit:8} {alone[key]:,.{digits}f}", flush=True)


def measure_consume(run):
    for size in run.options.size or SIZES[:2]:
        topics = {}
        for name, broker in run.contenders.items():
            topics[name] = topic_name()
            run.client.run("produce", broker.bootstrap, topics[name], size, run.options.seconds)
        results = run.pairs(lambda broker: run.client.run("consume", broker.bootstrap, topics[broker.name]))
        unit, key, digits = ("msg/s", "per_second", 0) if size < 1000 else ("MB/s", "mb_per_second", 1)
        row(f"consume, {size} B", unit, results, key, digits=digits)
        for name, broker in run.contenders.items():
            delete(broker, topics[name])


def measure_single(run):
    size, seconds = 200, run.options.seconds
    limit = []

    def once(broker):
        if broker.name == "oncelog":
            limit.append(run.client.run("flushed", run.options.work / "flushed", 4096, seconds / 2))
        topic = topic_name()
        result = run.client.run("single", broker.bootstrap, topic, size, seconds)
        delete(broker, topic)
        return result

    results = run.pairs(once)
    limits = [each["p50_ms"] for each in limit[1:]]
    tails = [each["p99_ms"] for each in limit[1:]]
    row("one 200 B record, p50", "ms", results, "p50_ms", "less", 3)
    row("one 200 B record, p99", "ms", results, "p99_ms", "less", 3)
    over = [ours["p50_ms"] - bare for ours, bare in zip(results["oncelog"], limits)]
    print(f"{'  a flushed write alone, p50':32} {'ms':8} {statistics.median(limits):.3f}", flush=True)
    # What else the machine did shows here first: a writer that is preempted waits for a tick or two.
    print(f"{'  a flushed write alone, p99':32} {'ms':8} {statistics.median(tails):.3f}", flush=True)
    print(f"{'  ours above it, p50':32} {'ms':8} {statistics.median(over):.3f} [{min(over):.3f}–{max(over):.3f}]")
    if run.options.mock:
        alone = run.client.run("single", "mock", "t", size, seconds)
        print(f"{'  the client alone, p50':32} {'ms':8} {alone['p50_ms']:.3f}")


def measure_start(run):
    """Start to first answer, fresh and after a clean close and a kill; memory of an idle broker."""
    binary = Path(run.options.broker).resolve()
    data = run.options.work / "start"
    times = {"fresh": [], "after a clean close": [], "after a kill": []}
    resident = []
    for _ in range(max(run.options.rounds, 5)):
        brokers.remove(data)
        for when, list_ in times.items():
            process, took, port = timed_start(binary, data)
            list_.append(took)
            if when == "fresh":
                tools.wait_until(Idle(process.pid), 30, "the broker is idle", pause=0.1)
                resident.append(resident_mib(process.pid))
                run.client.run("single", f"127.0.0.1:{port}", "t", 200, 0.2)
            if when == "after a clean close":
                process.kill()
            else:
                process.terminate()
            process.wait()
    for when, list_ in times.items():
        print(f"{'start to first answer, ' + when:32} {'ms':8} {statistics.median(list_):.1f} [{min(list_):.1f}–{max(list_):.1f}]")
    print(f"{'resident, idle after start':32} {'MiB':8} {statistics.median(resident):.1f}", flush=True)


def timed_start(binary, data):
    """Starts the broker; the time until a request is answered, recovery and all."""
    port = brokers.free_port()
    start = time.perf_counter()
    process = subprocess.Popen(
        [binary, "serve", "--data-dir", data, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL
    )

    def answers():
        if process.poll() is not None:
            raise BenchError(f"the broker ended with status {process.returncode}")
        return brokers.answers(port)

    tools.wait_until(answers, 60, "the broker answers", pause=0.0005)
    return process, (time.perf_counter() - start) * 1e3, port


class Idle:
    """Whether a process used no processor time since the last look."""

    def __init__(self, pid):
        self.stat = Path(f"/proc/{pid}/stat")
        self.used = None

    def __call__(self):
        before, self.used = self.used, self.stat.read_text().split()[13:15]
        return before == self.used


def resident_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


MEASUREMENTS = {
    "produce": measure_produce,
    "consume": measure_consume,
    "single": measure_single,
    "start": measure_start,
}


def main():
    options = arguments()
    tools.CACHE.mkdir(exist_ok=True)
    brokers.remove(options.work)
    options.work.mkdir(parents=True)
    tools.python_clients()
    client = Client(compile_client())
    contenders = {"oncelog": brokers.Oncelog(options.work / "oncelog", options.broker, [*SETTINGS, *options.set])}
    if not options.no_kafka:
        contenders["Apache Kafka"] = brokers.Reference(options.work / "kafka", list(SETTINGS))
    try:
        for broker in contenders.values():
            broker.start()
        print(contenders["oncelog"].ready_line, flush=True)
        run = Run(options, client, contenders)
        for what in options.what or MEASUREMENTS:
            MEASUREMENTS[what](run)
    except (BenchError, brokers.BrokerError, tools.ToolError) as error:
        sys.exit(f"error: {error}")
    finally:
        for broker in contenders.values():
            broker.reap()
        brokers.remove(options.work)


if __name__ == "__main__":
    main()
