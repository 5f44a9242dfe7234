#!/usr/bin/env python3
"""The wire codec's vectors against kafka-python's codec: a third opinion on every byte.

`codec.rs` shows that the codec reads and writes exactly the bytes in codec_vectors/codec.vectors.
This script shows that kafka-python, which shares no code with the Java client that made them, reads
each of them whole and writes the same bytes. It needs kafka-python 3.0.12 or newer:

    python3 -m venv venv && venv/bin/pip install kafka-python==3.0.12
    venv/bin/python broker/tests/codec_python.py
"""

import importlib
import pathlib
import pkgutil
import sys

import kafka.protocol
from kafka.protocol.api_message import ApiMessage

VECTORS = pathlib.Path(__file__).parent / "codec_vectors" / "codec.vectors"

# A version that kafka-python does not know is reported, and more of them than these few are an error.
UNKNOWN_MAX = 0

API_VERSIONS = 18


def load_messages():
    """Every message class of kafka-python by api key and kind."""
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        if ".old" not in module.name and ".generate" not in module.name:
            importlib.import_module(module.name)
    messages = {}
    pending = list(ApiMessage.__subclasses__())
    while pending:
        message = pending.pop()
        pending.extend(message.__subclasses__())
        for kind in ("Request", "Response"):
            if message.__name__.endswith(kind):
                messages[message.API_KEY, kind.lower()] = message
    return messages


def check(message, version, data):
    """What is wrong with kafka-python's reading of `data`, or nothing."""
    try:
        decoded = message.decode(data, version=version)
        # It writes no message whose header was never set, not even without its header.
        decoded._header = None
        encoded = bytes(decoded.encode(version=version))
    except Exception as error:  # Any failure of theirs is a finding, whatever its type.
        return repr(error)
    return None if encoded == data else f"wrote {encoded.hex()}"


def main():
    messages = load_messages()
    agreed, unknown, wrong = 0, [], []
    for line in VECTORS.read_text().splitlines():
        key, version, kind, data, text = line.split(" ", 4)
        key, version = int(key), int(version)
        message = messages.get((key, kind))
        name = f"api {key} version {version} {kind}: {data} {text}"
        if message is None or not message.min_version <= version <= message.max_version:
            unknown.append(name)
            continue
        data = bytes.fromhex(data)
        if (key, kind) == (API_VERSIONS, "response"):
            # With an error code it is read as version 0, so it must not have one here.
            data = bytes(2) + data[2:]
        problem = check(message, version, data)
        if problem:
            wrong.append(f"{name}\n    {problem}")
        else:
            agreed += 1
    print(f"{agreed} vectors agreed, {len(unknown)} unknown to kafka-python, {len(wrong)} differ")
    for name in unknown + wrong:
        print(name)
    return 1 if wrong or not agreed or len(unknown) > UNKNOWN_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
