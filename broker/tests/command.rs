//! The `oncelog` command as an operator meets it: its one line, its signals, its exit codes.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

use std::io::{BufRead, BufReader, Read};
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
    assert!(complaint.starts_with("error: ") && complaint.lines().count() == 1, "{complaint}");
    first.signal("TERM");
    assert_eq!(first.wait().code(), Some(0));
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
