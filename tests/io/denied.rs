//! A kernel that refuses a ring, as container runtimes have it do: the engine falls back and says why.
//!
//! The refusal is real. A seccomp filter answers `io_uring_setup` with `EPERM`, for the thread that the
//! test starts and every thread which that one starts; the other tests keep their rings. Where the
//! kernel takes no filter, the test says so.

#![expect(unsafe_code, reason = "a filter of system calls has no safe interface")]

use oncelog::batch::BatchBuilder;
use oncelog::io::open_storage;
use oncelog::{AppendOptions, Backend, Engine, EngineOptions, ErrorKind, LogConfig, LogName};
use oncelog::{Offset, ReadOptions};
use std::ffi::{c_int, c_long, c_ulong};
use std::io;
use std::path::Path;
use std::thread;

/// `io_uring_setup`, the same on every architecture that Rust's Linux targets have.
const IO_URING_SETUP: u32 = 425;

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

/// `struct sock_filter`.
#[repr(C)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    instructions: *const Instruction,
}

fn checked(outcome: c_int) -> io::Result<()> {
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// From here on this thread, and those it starts, get `EPERM` for a ring.
fn deny_rings() -> io::Result<()> {
    const PR_SET_SECCOMP: c_int = 22;
    const PR_SET_NO_NEW_PRIVS: c_int = 38;
    const SECCOMP_MODE_FILTER: c_ulong = 2;
    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE_WITH_EPERM: u32 = 0x0005_0001;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let step = |code, if_false, operand| Instruction { code, if_true: 0, if_false, operand };
    let instructions = [
        // The number of the system call is the first word of what a filter sees.
        step(LOAD_WORD, 0, 0),
        step(JUMP_IF_EQUAL, 1, IO_URING_SETUP),
        step(RETURN, 0, REFUSE_WITH_EPERM),
        step(RETURN, 0, ALLOW),
    ];
    let len = u16::try_from(instructions.len()).map_err(io::Error::other)?;
    let program = Program { len, instructions: instructions.as_ptr() };
    let (zero, one): (c_ulong, c_ulong) = (0, 1);
    // SAFETY: sets a flag of this thread; the arguments are the five words that the call takes.
    checked(unsafe { prctl(PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) })?;
    // SAFETY: the kernel copies the program before it returns; until then `instructions` and `program`
    // live, with the layout of `linux/filter.h`.
    checked(unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program) })
}

/// What the kernel says to who asks for a ring.
fn ask_for_a_ring() -> io::Error {
    let (entries, nowhere): (c_long, c_long) = (1, 0);
    // SAFETY: the parameters are a null pointer, which the kernel answers with an error if the call gets
    // that far; it makes nothing and writes nowhere.
    let outcome = unsafe { syscall(c_long::from(IO_URING_SETUP), entries, nowhere) };
    assert_eq!(outcome, -1);
    io::Error::last_os_error()
}

/// Runs `check` where there are no rings.
fn without_rings(check: impl FnOnce() + Send + 'static) {
    let denied = thread::spawn(|| {
        if let Err(error) = deny_rings() {
            println!("skipped: this kernel takes no filter of system calls: {error}");
            return;
        }
        assert_eq!(ask_for_a_ring().kind(), io::ErrorKind::PermissionDenied);
        check();
    });
    denied.join().unwrap();
}

/// What the engine has to say of the refusal.
fn assert_says_why(reason: &str) {
    assert!(reason.contains("io_uring"), "{reason}");
    let why = if cfg!(feature = "uring") { "Operation not permitted" } else { "this build" };
    assert!(reason.contains(why), "{reason}");
}

fn serves_appends_and_reads(dir: &Path) {
    let mut options = EngineOptions::new(dir);
    options.backend = Backend::Auto;
    let engine = Engine::open(options).unwrap();
    let info = engine.storage_info();
    assert_eq!(info.backend, "std");
    assert_says_why(&info.reason);
    let name = LogName::new("t", 0).unwrap();
    let log = engine.create_log(&name, [1; 16], LogConfig::default()).unwrap();
    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, None, Some(b"value"), &[]).unwrap();
    let bytes = batch.build().unwrap();
    log.append(&bytes, &AppendOptions::default()).unwrap().wait().unwrap();
    assert_eq!(log.read(Offset::ZERO, &ReadOptions::default()).unwrap().slices.len(), 1);
    engine.close().unwrap();
}

#[test]
fn an_engine_falls_back_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    without_rings(move || serves_appends_and_reads(&path));
}

#[test]
fn a_ring_that_was_asked_for_is_an_error_that_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    without_rings(move || {
        let error = open_storage(Backend::Uring, &path).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert_says_why(&error.to_string());
        assert_eq!(open_storage(Backend::Std, &path).unwrap().info().reason, "asked for");
    });
}
