//! The `oncelog` command as an operator meets it: its one line, its signals, its exit codes.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod common;

use common::Client;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running command, killed if the test fails.
struct Running {
    child: Child,
    line: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, line }
    }

    /// What stands between `before` and `after` in the line.
    fn part(&self, before: &str, after: &str) -> &str {
        let (_, rest) = self.line.split_once(before).unwrap();
        rest.split_once(after).unwrap().0
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        drop(self.child.kill());
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncelog"));
    command.arg("serve").args(arguments).stderr(Stdio::piped());
    command
}

/// Exit code and complaint of a command that must not start.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn port_zero_prints_the_bound_port_and_sigterm_closes_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    let arguments = ["--data-dir", data, "--listen", "127.0.0.1:0"];
    for signal in ["TERM", "INT"] {
        let mut running = Running::start(&arguments);
        let address = running.part("listening on ", ";");
        assert!(!address.ends_with(":0"), "{address}");
        TcpStream::connect(address).unwrap();
        assert_eq!(running.part("data in ", ";"), data);
        assert_eq!(running.part("acknowledged means ", ";"), "durable");
        assert!(running.line.contains("I/O ") && running.line.contains("recovered in "));
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn an_ephemeral_broker_leaves_nothing_behind() {
    let mut running = Running::start(&["--ephemeral", "--listen", "127.0.0.1:0"]);
    let data = std::path::PathBuf::from(running.part("data in ", ";"));
    assert!(data.is_dir());
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
    assert!(!data.exists());
}

#[test]
fn a_wrong_setting_is_one_sentence_and_exit_code_two() {
    let (code, complaint) = refused(&["--ephemeral", "--set", "num.partitions=none"]);
    assert_eq!(code, Some(2));
    let expected = "error: num.partitions = \"none\" is not a whole number from 1 to 10000\n";
    assert_eq!(complaint, expected);
    let strict = ["--ephemeral", "--strict-config", "--set", "num.partition=1"];
    let (code, complaint) = refused(&strict);
    assert_eq!(code, Some(2));
    assert_eq!(complaint, "error: unknown key num.partition; did you mean num.partitions?\n");
    let (code, complaint) = refused(&["--config", "/nowhere/server.properties"]);
    assert_eq!(code, Some(2));
    assert!(complaint.starts_with("error: cannot read /nowhere/server.properties: "));
}

#[test]
fn a_directory_in_use_is_exit_code_one() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let arguments = ["--data-dir", data, "--listen", "127.0.0.1:0"];
    let mut first = Running::start(&arguments);
    let (code, complaint) = refused(&arguments);
    assert_eq!(code, Some(1));
    let lines: Vec<_> = complaint.lines().collect();
    assert!(lines[0].starts_with("error: ") && lines[0].contains(data), "{complaint}");
    assert!(lines[1].starts_with("hint: stop the broker that has it"), "{complaint}");
    assert_eq!(lines.len(), 2);
    first.signal("TERM");
    assert_eq!(first.wait().code(), Some(0));
}

#[test]
fn an_address_that_cannot_be_had_says_what_helps() {
    let (code, complaint) = refused(&["--ephemeral", "--listen", "nonsense"]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("hint: an address is HOST:PORT"), "{complaint}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, complaint) = refused(&["--ephemeral", "--listen", &address]);
    assert_eq!(code, Some(1));
    let first = format!("error: cannot listen on {address}: Address already in use");
    assert_eq!(complaint.lines().next(), Some(&*first));
    assert!(complaint.contains("hint: another process listens there"), "{complaint}");
}

/// A signal ends the broker however busy it is, and what it acknowledged is there afterwards.
#[test]
fn sigterm_closes_cleanly_while_clients_are_connected_and_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let arguments = ["--data-dir", data, "--listen", "127.0.0.1:0"];
    let mut running = Running::start(&arguments);
    let address = running.part("listening on ", ";").to_owned();
    let idle = TcpStream::connect(&address).unwrap();
    let mut half_sent = TcpStream::connect(&address).unwrap();
    half_sent.write_all(&[0, 0, 1, 0, 0, 3]).unwrap();
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
    drop((idle, half_sent));
    let mut again = Running::start(&arguments);
    assert!(again.line.contains("recovered in "));
    again.signal("TERM");
    assert_eq!(again.wait().code(), Some(0));
}

/// A client that does not take its answer holds the clean close up for seconds; whoever asks again
/// does not wait for it, and loses nothing that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--data-dir", directory.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let mut running = Running::start(&arguments);
    let address = running.part("listening on ", ";").parse().unwrap();
    let mut client = Client::connect(address).await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    let large = "x".repeat(1_000_000);
    for _ in 0..30 {
        assert_eq!(client.produce("t", 0, common::batch(&[&large])).await.error_code, 0);
    }
    let mut everything = common::fetch(&[("t", 0, 0)]);
    everything.max_bytes = 40 << 20;
    everything.topics[0].partitions[0].partition_max_bytes = 40 << 20;
    client.send(everything, 12).await;
    // The answer is on its way once its first byte is here.
    client.stream.readable().await.unwrap();
    let asked = tokio::time::Instant::now();
    running.signal("TERM");
    // Signals that arrive together count as one.
    while running.child.try_wait().unwrap().is_none() {
        running.signal("TERM");
        tokio::task::yield_now().await;
    }
    assert_eq!(running.wait().code(), Some(1));
    assert!(asked.elapsed() < std::time::Duration::from_secs(3));
    let mut running = Running::start(&arguments);
    let address = running.part("listening on ", ";").parse().unwrap();
    let mut client = Client::connect(address).await;
    assert_eq!(client.read("t", 0, 0).await.high_watermark, 30);
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn every_setting_is_listed_with_default_and_meaning() {
    let output = Command::new(env!("CARGO_BIN_EXE_oncelog")).arg("settings").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("num.partitions = 1\n    Partitions of a topic"), "{text}");
}

#[test]
fn unknown_and_meaningless_keys_are_warned_of_and_do_not_stop_the_broker() {
    let arguments = ["--ephemeral", "--listen", "127.0.0.1:0", "--set"];
    let keys = ["zookeeper.connect=x", "inter.broker.listener.name=y", "nod.id=3"];
    let mut running = Running::start(&[&arguments[..], &keys[..]].concat());
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
    let mut complaints = String::new();
    running.child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!(complaints.lines().count(), 2, "{complaints}");
    assert!(complaints.contains("did you mean node.id?"));
    assert!(complaints.contains("are ignored: zookeeper.connect, inter.broker.listener.name"));
}
