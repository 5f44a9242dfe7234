#!/usr/bin/env python3
"""Drives a broker with clients that nobody here wrote, and says step by step what held.

    interop/run.py --broker target/release/oncelog      the broker under test
    interop/run.py --kafka                              the reference broker: proves the suite itself
    interop/run.py --install                            only installs what the suite needs

Each step ends in PASS, FAIL or SKIP. The exit status is 0 only if every step passed: a step that cannot
run is a failure here, unless its client was left out by name with --client.
"""

import argparse
import sys
import traceback
from pathlib import Path

from suite import brokers, clients, steps, tools

SETTINGS = ("num.partitions=3", "group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=100")

NEEDS = {
    "group resumes after the kill": "group commits and resumes",
    "kill -9 in mid-transaction": "transactions",
}


def excerpt(text):
    """The start and the end of an error text, indented; the middle of a trace helps nobody."""
    lines = [line[:400] for line in text.strip().split("\n")]
    if len(lines) > 24:
        lines = [*lines[:8], "…", *lines[-15:]]
    return "\n".join("    " + line for line in lines)


class Report:
    """Prints a line per step as it ends, and counts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def step(self, who, name, function):
        clock = steps.Clock()
        try:
            remark = function()
        except Exception as error:
            self.failed += 1
            self.line(who, name, "FAIL", clock.seconds())
            expected = (clients.ClientError, brokers.BrokerError, steps.Mismatch, tools.ToolError)
            text = str(error) if isinstance(error, expected) else traceback.format_exc()
            print(excerpt(text), flush=True)
            return False
        self.passed += 1
        self.line(who, name, "PASS", clock.seconds(), remark)
        return True

    def skip(self, who, name, reason):
        self.skipped += 1
        print(f"{who:16} {name:32} SKIP  {reason}", flush=True)

    @staticmethod
    def line(who, name, verdict, seconds, remark=None):
        text = f"  {remark}" if remark else ""
        print(f"{who:16} {name:32} {verdict} {seconds:8.2f} s{text}", flush=True)

    def close(self):
        print(f"\n{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 0 if self.failed == 0 and self.skipped == 0 and self.passed > 0 else 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--broker", metavar="BINARY", help="the oncelog binary to test")
    target.add_argument("--kafka", action="store_true", help="test the suite on the reference broker")
    target.add_argument("--install", action="store_true", help="install clients and reference broker, then end")
    parser.add_argument("--client", action="append", metavar="NAME", help="only this client (repeatable)")
    parser.add_argument("--step", action="append", metavar="TEXT", help="only steps whose name contains TEXT")
    parser.add_argument("--kills", type=int, default=2, help="kills per crash step (default 2)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="broker setting")
    parser.add_argument("--work", default=tools.CACHE / "run", type=Path, help="folder for data and outputs")
    return parser.parse_args()


def install(chosen):
    """Installs what the chosen clients need; the error of a client is reported as its first step."""
    tools.CACHE.mkdir(exist_ok=True)
    errors = {}
    for client in chosen:
        try:
            client.install()
        except (tools.ToolError, OSError) as error:
            errors[client.name] = error
    return errors


def choose(names):
    every = clients.all_clients()
    unknown = set(names or ()) - {c.name for c in every}
    if unknown:
        sys.exit(f"no such client: {', '.join(sorted(unknown))}; known: {', '.join(c.name for c in every)}")
    return [c for c in every if not names or c.name in names]


def make_broker(options):
    settings = [*SETTINGS, *options.set]
    if options.kafka:
        return brokers.Reference(options.work, settings)
    return brokers.Oncelog(options.work, options.broker, settings)


def run_client(report, run, wanted):
    """All steps of one client; what builds on a failed step is skipped and thereby fails the run."""
    failed = set()
    for name, function in steps.steps_of(run.client):
        if not wanted(name):
            continue
        needs = NEEDS.get(name, "create topics")
        if needs in failed and name != needs:
            report.skip(run.client.name, name, f"needs: {needs}")
        elif not report.step(run.client.name, name, lambda: function(run)):
            failed.add(name)
            revive(run.broker)


def revive(broker):
    """After a failed step the next ones get a running broker, so that one crash is not ten failures."""
    if broker.process is None or broker.process.poll() is not None:
        try:
            broker.start()
        except brokers.BrokerError as error:
            print(f"    the broker does not come back: {error}", flush=True)


def drive(report, broker, chosen, options):
    def wanted(name):
        return not options.step or name == "create topics" or any(s in name for s in options.step)

    errors = install(chosen)
    if not report.step(broker.name, "starts", broker.start):
        return
    print(f"    {broker.ready_line}", flush=True)
    runs = []
    for client in chosen:
        if client.name in errors:
            report.step(client.name, "installs", lambda: raise_error(errors[client.name]))
            continue
        run = steps.Run(broker, client, options.work, options.kills)
        run_client(report, run, wanted)
        runs.append(run)
    written = steps.cross_reads(runs)
    committed = steps.cross_reads_committed(runs)
    for run in runs:
        name = "reads what the others wrote"
        if written and wanted(name):
            report.step(run.client.name, name, lambda: steps.cross_read(run, written))
        name = "reads others' transactions"
        if committed and wanted(name):
            report.step(run.client.name, name, lambda: steps.cross_read_committed(run, committed))
    report.step(broker.name, "closes cleanly on SIGTERM", broker.close)


def raise_error(error):
    raise error


def main():
    options = arguments()
    if options.install:
        errors = install(clients.all_clients())
        tools.reference_broker()
        for name, error in errors.items():
            print(f"{name}: {error}")
        sys.exit(1 if errors else 0)
    chosen = choose(options.client)
    brokers.remove(options.work)
    options.work.mkdir(parents=True)
    broker = make_broker(options)
    for name, version in tools.versions().items():
        print(f"{name:16} {version}")
    report = Report()
    try:
        drive(report, broker, chosen, options)
    finally:
        broker.reap()
    status = report.close()
    print(f"data directory: {broker.data_dir}")
    sys.exit(status)


if __name__ == "__main__":
    main()
