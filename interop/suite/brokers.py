"""Starts, kills and closes a broker: the one under test, and the reference one that proves the suite."""

import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import uuid
from pathlib import Path

from . import tools

READY_SECONDS = 60
CLOSE_SECONDS = 60


# ApiVersions 0, numbered 1, from a client without a name.
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


class BrokerError(Exception):
    """The broker did not start, died by itself or did not close cleanly."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    """Whether the broker on a port answers a request: a port that is open may still be nobody's to serve."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(API_VERSIONS)
            connection.settimeout(READY_SECONDS)
            return len(connection.recv(4)) > 0
    except OSError:
        return False


class Broker:
    """A broker process on a data directory; it keeps its port across restarts, as clients expect."""

    name = "?"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data_dir = self.folder / "data"
        self.log_path = self.folder / "broker.log"
        self.process = None
        self.port = None

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def kill(self):
        """The process dies between two instructions, as in a crash."""
        self.ensure_running()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(CLOSE_SECONDS)

    def close(self):
        """Asks for a clean shutdown, and insists on one."""
        self.ensure_running()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerError(f"{self.name} was still running {CLOSE_SECONDS} s after SIGTERM") from None
        if status not in self.clean_statuses:
            raise BrokerError(f"{self.name} ended with status {status} after SIGTERM\n{self.tail()}")

    def ensure_running(self):
        if self.process is None or self.process.poll() is not None:
            status = None if self.process is None else self.process.returncode
            raise BrokerError(f"{self.name} is not running (status {status})\n{self.tail()}")

    def reap(self):
        """Leaves no process behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def tail(self):
        if not self.log_path.exists():
            return "(it printed nothing)"
        return self.log_path.read_text(errors="replace")[-3000:]


class Oncelog(Broker):
    """The broker under test."""

    name = "oncelog"
    clean_statuses = (0,)

    def __init__(self, folder, binary, settings):
        super().__init__(folder)
        self.binary = Path(binary).resolve()
        self.settings = settings
        self.ready_line = ""

    def start(self):
        command = [self.binary, "serve", "--data-dir", self.data_dir]
        command += ["--listen", f"127.0.0.1:{self.port or 0}"]
        for setting in self.settings:
            command += ["--set", setting]
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
        watchdog = threading.Timer(READY_SECONDS, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline().decode(errors="replace")
        watchdog.cancel()
        address = re.search(r"127\.0\.0\.1:(\d+)", line)
        if address is None:
            self.reap()
            raise BrokerError(f"no ready line with an address, but {line!r}\n{self.tail()}")
        self.ready_line = line.strip()
        self.port = int(address.group(1))
        threading.Thread(target=self.drain, args=(self.process.stdout, log), daemon=True).start()

    @staticmethod
    def drain(pipe, log):
        """A full pipe would stop the broker; what it prints later belongs in its log."""
        for line in pipe:
            log.write(line)
            log.flush()

    def close(self):
        super().close()
        if "panicked at" in self.log_path.read_text(errors="replace"):
            raise BrokerError(f"a thread of {self.name} panicked\n{self.tail()}")


class Reference(Broker):
    """Apache Kafka as a single KRaft node."""

    name = "Apache Kafka"
    clean_statuses = (0, 143)

    def __init__(self, folder, settings):
        super().__init__(folder)
        self.class_path = tools.reference_broker()
        self.port = free_port()
        self.settings = settings

    def java(self, main, *arguments):
        logging = f"-Dlog4j2.configurationFile={tools.HERE / 'reference' / 'log4j2.yaml'}"
        return ["java", "-Xmx1g", logging, "-cp", self.class_path, main, *map(str, arguments)]

    def configure(self):
        controller = free_port()
        lines = [
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names=CONTROLLER",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            f"log.dirs={self.data_dir}",
            "offsets.topic.replication.factor=1",
            "offsets.topic.num.partitions=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.num.partitions=1",
            "transaction.state.log.min.isr=1",
            "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1",
            *self.settings,
        ]
        properties = self.folder / "server.properties"
        properties.write_text("\n".join(lines) + "\n")
        cluster = str(uuid.uuid4())
        tools.run(self.java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties))

    def start(self):
        if not self.data_dir.exists():
            self.configure()
        self.process = subprocess.Popen(
            self.java("kafka.Kafka", self.folder / "server.properties"),
            stdin=subprocess.DEVNULL,
            stdout=open(self.log_path, "ab"),
            stderr=subprocess.STDOUT,
        )
        try:
            tools.wait_until(self.listening, READY_SECONDS, f"{self.name} opens its port")
        except tools.ToolError as error:
            self.reap()
            raise BrokerError(f"{error}\n{self.tail()}") from None
        self.ready_line = f"{self.name} on {self.bootstrap}"

    def listening(self):
        self.ensure_running()
        return answers(self.port)


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
