"""Brings the clients and the reference broker onto the machine, each through its own package manager.

Everything lands in `.interop/` at the root of the repository (Maven keeps its jars in its own cache). A
step is done again only when the file that pins its versions changes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent
CACHE = ROOT / ".interop"
PYTHON = CACHE / "venv" / "bin" / "python"
NODE_MODULES = CACHE / "npm" / "node_modules"
JAVA_CLASSES = CACHE / "java" / "classes"


class ToolError(Exception):
    """A tool is missing or could not be installed; the message says which and why."""


def run(command, **options):
    """Runs an installer and shows what it printed only if it failed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    if done.returncode != 0:
        text = done.stdout.decode(errors="replace")[-4000:]
        raise ToolError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{text}")


def wait_until(condition, seconds, what, pause=0.02):
    """The first true answer of `condition`, which is asked again and again for so long."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise ToolError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def need(command, package):
    if shutil.which(command) is None:
        raise ToolError(f"`{command}` is not on this machine; install the package {package}")


class Stamp:
    """Remembers for which contents of its pin files a step was done."""

    def __init__(self, name, *pins):
        self.path = CACHE / f"{name}.stamp"
        digest = hashlib.sha256()
        for pin in pins:
            digest.update(pin.read_bytes())
        self.digest = digest.hexdigest()

    def fresh(self):
        return self.path.exists() and self.path.read_text() == self.digest

    def set(self):
        self.path.write_text(self.digest)


def python_clients():
    """confluent-kafka, kafka-python and aiokafka in a virtual environment of their own."""
    pins = HERE / "clients" / "requirements.txt"
    stamp = Stamp("python", pins)
    if stamp.fresh():
        return
    shutil.rmtree(CACHE / "venv", ignore_errors=True)
    run([sys.executable, "-m", "venv", CACHE / "venv"])
    run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", pins])
    stamp.set()


def node_clients():
    """kafkajs and its codecs."""
    need("npm", "npm")
    need("node", "nodejs")
    pins = HERE / "clients" / "package.json"
    stamp = Stamp("node", pins)
    if stamp.fresh():
        return
    folder = CACHE / "npm"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(pins, folder)
    run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder)
    stamp.set()


def class_path(name):
    """The resolved class path of the Maven project `interop/<name>`."""
    need("mvn", "maven")
    pins = HERE / name / "pom.xml"
    stamp = Stamp(f"{name}-classpath", pins)
    target = CACHE / f"{name}.classpath"
    if not (stamp.fresh() and all(Path(p).exists() for p in target.read_text().split(":"))):
        run(
            ["mvn", "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={target}"],
            cwd=HERE / name,
        )
        stamp.set()
    return target.read_text()


def java_client():
    """kafka-clients, and the worker compiled against it."""
    need("javac", "default-jdk-headless")
    libraries = class_path("java")
    sources = sorted((HERE / "java").glob("*.java"))
    stamp = Stamp("java", *sources, HERE / "java" / "pom.xml")
    if not stamp.fresh():
        run(["javac", "-cp", libraries, "-d", JAVA_CLASSES, *sources])
        stamp.set()
    return f"{JAVA_CLASSES}:{libraries}"


def kcat():
    need("kcat", "kcat")


def reference_broker():
    """The class path of the reference broker and its tools."""
    need("java", "default-jre-headless")
    return f"{HERE / 'reference'}:{class_path('reference')}"


def versions():
    """One line per client: what is being driven, for the record of a run."""
    CACHE.mkdir(exist_ok=True)
    found = {}
    if shutil.which("kcat"):
        text = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
        found["kcat"] = next((l.strip() for l in text.splitlines() if l.startswith("Version")), "?")
        found["kcat"] = found["kcat"].replace("Version ", "").replace("JSON, Transactions, IncrementalAssign, ", "")
        found["kcat"] = found["kcat"].split(" builtin")[0].replace("(", "")
    for line in (HERE / "clients" / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if name in ("aiokafka", "confluent-kafka", "kafka-python"):
            found[name] = version
    found["kafkajs"] = "2.2.4 on node " + os.popen("node --version 2>&1").read().strip()
    found["java"] = "kafka-clients 4.3.1"
    return found
