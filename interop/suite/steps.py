"""What is shown of each client, one function per step. A step that returns has passed."""

import filecmp
import subprocess
import time

from . import data, transactions
from .clients import CODECS, ClientError
from .data import Mismatch

PARTITIONS = 3
CODEC_RECORDS = 3_000
GROUP_TAKES = (700, 1, 1_300)
TEXT_BYTES = 100 * 1024 * 1024
TEXT_SECONDS = 240


class Run:
    """What the steps of one client share: the broker, the topics written so far, a folder for outputs."""

    def __init__(self, broker, client, folder, kills):
        self.broker = broker
        self.client = client
        self.folder = folder
        self.kills = kills
        self.partitions = PARTITIONS
        self.written = {}
        self.committed = {}

    def topic(self, step):
        return f"{self.client.name}-{step}"

    def out(self, name):
        return self.folder / f"{self.client.name}-{name}.tsv"

    def records(self, name, count, **options):
        made = data.make(name, count, PARTITIONS, nulls=self.client.sends_nulls, **options)
        return made if self.client.sets_timestamps else data.without_timestamps(made)

    def create(self, topic):
        self.client.create(self.broker.bootstrap, topic, PARTITIONS)
        self.written[topic] = []

    def produce(self, topic, codec, records):
        production = self.client.start_produce(self.broker.bootstrap, topic, codec, records)
        try:
            production.finish()
        finally:
            production.reap()
        self.written[topic] += records

    def check(self, topics, out, written):
        self.client.consume(self.broker.bootstrap, topics, out)
        read = data.read_output(out)
        for topic in topics:
            data.compare(topic, written[topic], read.get(topic, {}))


def create_topics(run):
    """The client creates its topics itself."""
    for step in ("codecs", "group", "crash"):
        run.create(run.topic(step))


def codec_step(codec):
    def step(run):
        """Idempotent production with one codec, read back whole: the topic holds all codecs so far."""
        topic = run.topic("codecs")
        name = f"{run.client.name}-{codec}"
        run.produce(topic, codec, run.records(name, CODEC_RECORDS, long_values=True))
        run.check([topic], run.out(codec), run.written)

    return step


def group_resumes(run):
    """A group's members come and go; each goes on exactly where the last one committed."""
    topic = run.topic("group")
    run.produce(topic, "none", run.records(topic, CODEC_RECORDS))
    rows = []
    for turn, take in enumerate(GROUP_TAKES):
        rows.append(take_from_group(run, topic, take, f"group-{turn}"))
    run.group_rows = rows


def take_from_group(run, topic, count, name):
    out = run.out(name)
    run.client.group(run.broker.bootstrap, topic, f"{topic}-readers", count, out)
    read = data.read_output(out)[topic]
    taken = sum(len(rows) for rows in read.values())
    if taken != count:
        raise Mismatch(f"{topic}: took {taken} records, not {count}")
    return read


def crash_in_production(run):
    """The broker is killed while the producer runs, as often as asked; nothing is lost, nothing is twice."""
    topic = run.topic("crash")
    records = run.records(topic, run.client.bulk)
    bootstrap = run.broker.bootstrap
    production = run.client.start_produce(bootstrap, topic, "none", records)
    try:
        for kill in range(run.kills):
            crash_once(run, production, len(records) * (kill + 1) // (run.kills + 2))
        production.finish()
    finally:
        production.reap()
    run.written[topic] += records
    run.check([topic], run.out("crash"), run.written)


def crash_once(run, production, after):
    production.wait_acked(after)
    run.broker.kill()
    if not production.running():
        raise ClientError("the producer had ended before the broker was killed; give it more records")
    run.broker.start()


def group_resumes_after_crash(run):
    """The commits made before the crash still stand, and the rest of the topic follows them."""
    topic = run.topic("group")
    rest = CODEC_RECORDS - sum(GROUP_TAKES)
    parts = [*run.group_rows, take_from_group(run, topic, rest, "group-rest")]
    joined = {}
    for part in parts:
        for partition, rows in part.items():
            joined.setdefault(partition, []).extend(rows)
    data.compare(topic, run.written[topic], joined)


def text_through_kcat(run):
    """A large file of real text goes in line by line and comes out identical."""
    source, result = run.folder / "text.in", run.folder / "text.out"
    size = data.text_file(source, TEXT_BYTES)
    base = ["-b", run.broker.bootstrap, "-t", "text", "-p", "0"]
    bounded(["kcat", "-P", "-X", "enable.idempotence=true", *base, "-l", str(source)], None)
    with open(result, "wb") as out:
        bounded(["kcat", "-C", "-e", "-q", "-o", "beginning", *base, "-f", r"%s\n"], out)
    if not filecmp.cmp(source, result, shallow=False):
        raise Mismatch(f"{size} bytes went in, {result.stat().st_size} came out: see {result}")
    source.unlink()
    result.unlink()


def bounded(command, out):
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, timeout=TEXT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ClientError(f"no end after {TEXT_SECONDS} s: {' '.join(command)}") from None
    if done.returncode != 0:
        raise ClientError(f"kcat ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")


def steps_of(client):
    """The steps of one client, in the order they build on each other."""
    steps = [("create topics", create_topics)]
    steps += [(f"produce and read, {codec}", codec_step(codec)) for codec in CODECS]
    steps += [
        ("group commits and resumes", group_resumes),
        ("kill -9 in mid-production", crash_in_production),
        ("group resumes after the kill", group_resumes_after_crash),
    ]
    steps += transactions.steps_of(client)
    if client.name == "kcat":
        steps.append(("100 MiB of text, line by line", text_through_kcat))
    return steps


def cross_reads(runs):
    """One step per client: it reads what each of the others wrote, with every codec."""
    written = {}
    for run in runs:
        written.update({t: r for t, r in run.written.items() if t.endswith(("-codecs", "-group"))})
    return written


def cross_read(run, written):
    run.check(sorted(written), run.out("cross"), written)


def cross_reads_committed(runs):
    """One step per client: it reads what the transactions of the others committed."""
    committed = {}
    for run in runs:
        committed.update(run.committed)
    return committed


def cross_read_committed(run, committed):
    transactions.check_committed(run, sorted(committed), run.out("cross-committed"), committed)


class Clock:
    """Times a step."""

    def __init__(self):
        self.start = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.start
