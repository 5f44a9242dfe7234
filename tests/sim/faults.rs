//! An error at every call of the script, of every kind, and what the engine makes of it: never an
//! acknowledgement, never a retry, and nothing acknowledged is gone afterwards.

use crate::number;
use crate::parallel::in_parallel;
use crate::script::{Run, Setup, Step, Stop, judge_recovery, workload};
use oncelog::ErrorKind;
use oncelog::io::sim::{Crash, Fault, FaultKind, Moment, SimDisk};
use oncelog::planted::Planted;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SEED: u64 = 2;

/// How the process or the machine ends after the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    PowerCut,
    /// Only the process goes: what the operating system shows afterwards may not be on the device.
    Kill,
}

/// Runs the script with one fault, which hits the `nth` call of its kind, and judges what is left.
/// `false` if the script has no such call.
fn survives(setup: Setup, script: &[Step], fault: &Fault, end: End) -> Result<bool, String> {
    let disk = SimDisk::new(SEED);
    disk.fail(fault.clone());
    let (oracle, outcome) = match Run::open(&disk, setup) {
        Err(error) => (None, Err(Stop::Refused(error))),
        Ok(mut run) => {
            let outcome = run.execute(script);
            if disk.faults_met() > 0 {
                disk.heal();
                run.probe()?;
            }
            (Some(run.oracle), outcome)
        }
    };
    if disk.faults_met() == 0 {
        return Ok(false);
    }
    match outcome {
        Ok(()) => {}
        Err(Stop::Wrong(what)) => return Err(what),
        Err(Stop::Refused(error)) => check_kind(&error, fault)?,
    }
    let oracle = oracle.unwrap_or_default();
    let random = |seed| disk.crash(&Crash::Random { seed, garbage: false });
    let disks: Vec<Arc<SimDisk>> = match end {
        End::PowerCut => {
            vec![disk.crash(&Crash::LoseAll), disk.crash(&Crash::KeepAll), random(1), random(2)]
        }
        End::Kill => vec![disk.kill()],
    };
    for (nth, disk) in disks.iter().enumerate() {
        let mut oracle = oracle.clone();
        let context = |what| format!("{end:?} {nth}: {what}");
        drop(judge_recovery(disk, setup, &mut oracle).map_err(context)?);
        let again = disk.crash(&Crash::LoseAll);
        judge_recovery(&again, setup, &mut oracle)
            .map_err(|what| format!("{end:?} {nth}, and another cut: {what}"))?;
    }
    Ok(true)
}

/// The error says what happened, in the caller's terms.
fn check_kind(error: &oncelog::Error, fault: &Fault) -> Result<(), String> {
    let fits = match error.kind() {
        ErrorKind::Poisoned | ErrorKind::Io => true,
        ErrorKind::DiskFull => fault.full,
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{fault:?} became {error:?}")) }
}

/// One fault at every call of a kind; how many calls there were.
fn everywhere(setup: Setup, fault: &(impl Fn(u64) -> Fault + Sync), end: End) -> u64 {
    let script = workload();
    // Calls are counted by asking for one that there is not.
    let calls = calls(setup, &script, fault);
    let only = number("ONCELOG_SIM_FAULT");
    let chosen: Vec<u64> = (0..calls).filter(|n| only.is_none_or(|only| only == *n)).collect();
    in_parallel(chosen.len(), |index| {
        let fault = fault(chosen[index]);
        let met = survives(setup, &script, &fault, end).map_err(|what| {
            format!("{fault:?}: {what}\nreplay: ONCELOG_SIM_FAULT={} with this test", fault.after)
        })?;
        if met { Ok(()) } else { Err(format!("{fault:?} was not met")) }
    });
    calls
}

fn calls(setup: Setup, script: &[Step], fault: &impl Fn(u64) -> Fault) -> u64 {
    const FAR: u64 = 1 << 40;
    let disk = SimDisk::new(SEED);
    disk.fail(fault(FAR));
    let (_, outcome) = Run::of(&disk, setup, script);
    assert!(outcome.is_ok(), "the script fails by itself: {outcome:?}");
    FAR - disk.planned_faults()[0].after
}

#[test]
fn a_failed_write_anywhere_loses_nothing_acknowledged() {
    let calls = everywhere(Setup::default(), &|n| Fault::new(FaultKind::Write, n), End::PowerCut);
    everywhere(Setup::default(), &|n| Fault::new(FaultKind::Write, n), End::Kill);
    everywhere(Setup::default(), &|n| Fault::new(FaultKind::Write, n).sticky(), End::PowerCut);
    println!("{calls} writes");
    assert!(calls > 90);
}

#[test]
fn a_failed_flush_anywhere_is_never_retried_into_success() {
    let calls = everywhere(Setup::default(), &|n| Fault::new(FaultKind::Flush, n), End::PowerCut);
    println!("{calls} flushes");
    assert!(calls > 150);
}

/// The operating system goes on showing what the device never took.
#[test]
fn a_flush_of_a_file_that_failed_is_not_believed_after_a_restart() {
    // Names of files have a dot, those of directories have none.
    everywhere(Setup::default(), &|n| Fault::new(FaultKind::Flush, n).on("."), End::Kill);
}

#[test]
fn a_failed_change_of_a_name_or_a_length_anywhere_loses_nothing_acknowledged() {
    for kind in [FaultKind::Name, FaultKind::Length] {
        let calls = everywhere(Setup::default(), &|n| Fault::new(kind, n), End::PowerCut);
        everywhere(Setup::default(), &|n| Fault::new(kind, n), End::Kill);
        println!("{kind:?}: {calls} calls");
    }
}

#[test]
fn a_disk_without_room_at_any_call_loses_nothing_acknowledged() {
    for kind in [FaultKind::Write, FaultKind::Name, FaultKind::Length, FaultKind::Flush] {
        everywhere(Setup::default(), &|n| Fault::new(kind, n).full(), End::PowerCut);
    }
    everywhere(Setup::default(), &|n| Fault::new(FaultKind::Write, n).full(), End::Kill);
}

/// The steps in between read for the engine's own purposes; readers' own errors are theirs to see.
#[test]
fn a_failed_read_anywhere_loses_nothing_acknowledged() {
    let script: Vec<Step> =
        workload().into_iter().filter(|step| !matches!(step, Step::Read(_))).collect();
    let fault = |n| Fault::new(FaultKind::Read, n);
    let calls = calls(Setup::default(), &script, &fault);
    in_parallel(usize::try_from(calls).unwrap(), |n| {
        let met = survives(Setup::default(), &script, &fault(n as u64), End::PowerCut);
        met.map(drop).map_err(|what| format!("read {n}: {what}"))
    });
    assert!(calls > 50, "only {calls} reads");
}

/// Crash points of the workload from which recovery is made to fail.
const RECOVERIES: usize = 24;

#[test]
fn an_error_at_any_call_of_a_recovery_leaves_it_to_be_repeated() {
    let (setup, script) = (Setup::default(), workload());
    let whole = SimDisk::new(SEED);
    Run::of(&whole, setup, &script).1.unwrap();
    let stride = whole.operations() / RECOVERIES as u64;
    in_parallel(RECOVERIES, |nth| {
        let disk = SimDisk::new(SEED);
        disk.cut_at(nth as u64 * stride + 7, Moment::During);
        let (oracle, _) = Run::of(&disk, setup, &script);
        let crash = match nth % 3 {
            0 => Crash::KeepAll,
            1 => Crash::LoseAll,
            _ => Crash::Random { seed: nth as u64, garbage: false },
        };
        for kind in [
            FaultKind::Read,
            FaultKind::Write,
            FaultKind::Flush,
            FaultKind::Length,
            FaultKind::Name,
        ] {
            for call in 0.. {
                let fault = Fault::new(kind, call);
                let disk = disk.crash(&crash);
                disk.fail(fault.clone());
                let opened = setup.open(&disk);
                if disk.faults_met() == 0 {
                    break;
                }
                if let Err(error) = opened {
                    check_kind(&error, &fault)?;
                }
                for crash in [Crash::LoseAll, Crash::KeepAll] {
                    judge_recovery(&disk.crash(&crash), setup, &mut oracle.clone())
                        .map_err(|what| format!("recovery {nth}, {fault:?}, {crash:?}: {what}"))?;
                }
            }
        }
        Ok(())
    });
}

/// Every size of disk that the script outgrows.
#[test]
fn a_disk_that_fills_up_unawares_loses_nothing_acknowledged() {
    let (setup, script) = (Setup::default(), workload());
    let sizes: Vec<u64> = (1..160).map(|nth| nth * 500).collect();
    let outgrown = AtomicU64::new(0);
    in_parallel(sizes.len(), |nth| {
        let size = sizes[nth];
        let disk = SimDisk::new(SEED);
        disk.set_capacity(Some(size));
        let (oracle, outcome) = Run::of(&disk, setup, &script);
        match outcome {
            Ok(()) => return Ok(()),
            Err(Stop::Wrong(what)) => return Err(format!("{size} bytes: {what}")),
            Err(Stop::Refused(error)) => {
                check_kind(&error, &Fault::new(FaultKind::Write, 0).full())?;
            }
        }
        outgrown.fetch_add(1, Ordering::Relaxed);
        for disk in [disk.kill(), disk.crash(&Crash::LoseAll), disk.crash(&Crash::KeepAll)] {
            // A recovery on the full disk may work or not; it must not make anything worse.
            if let Err(error) = setup.open(&disk) {
                check_kind(&error, &Fault::new(FaultKind::Write, 0).full())?;
            }
            let disk = disk.crash(&Crash::KeepAll);
            disk.set_capacity(None);
            judge_recovery(&disk, setup, &mut oracle.clone())
                .map_err(|what| format!("{size} bytes: {what}"))?;
        }
        Ok(())
    });
    assert!(outgrown.into_inner() > 50, "hardly any disk was too small");
}

#[test]
fn a_disk_that_fills_up_refuses_early_and_resumes_by_itself() {
    const RESERVE: u64 = 96 << 10;
    let setup = Setup { reserve_bytes: RESERVE, ..Setup::default() };
    let sizes: Vec<u64> = (0..40).map(|nth| RESERVE + 30_000 + nth * 1_777).collect();
    in_parallel(sizes.len(), |nth| {
        let disk = SimDisk::new(SEED);
        disk.set_capacity(Some(sizes[nth]));
        let mut run = Run::open(&disk, setup).unwrap();
        let failed = |stop: Stop| format!("{} bytes: {stop:?}", sizes[nth]);
        let open = Step::Data { log: 1, pid: 3, count: 1, bytes: 100 };
        // The tick has the engine look at the disk, which was larger when it opened.
        let begin = [Step::Tick, Step::Create(0), Step::Create(1), open, Step::WaitAll];
        run.execute(&begin).map_err(failed)?;
        let data = Step::Data { log: 0, pid: 1, count: 2, bytes: 300 };
        let refused = loop {
            match run.execute(&[data, Step::WaitAll]) {
                Ok(()) => {}
                Err(Stop::Refused(error)) => break error,
                Err(wrong) => return Err(failed(wrong)),
            }
        };
        if *refused.kind() != ErrorKind::DiskFull {
            return Err(format!("{} bytes: not refused but {refused:?}", sizes[nth]));
        }
        // The reserve is there for what lets go of things: markers, maintenance.
        let end = Step::End { log: 1, pid: 3, commit: false };
        run.execute(&[end, Step::WaitAll, Step::Tick, Step::Read(0), Step::Read(1)])
            .map_err(failed)?;
        disk.set_capacity(None);
        let resumed = [data, Step::WaitAll, Step::Read(0), Step::Reopen, data];
        run.execute(&resumed).map_err(failed)?;
        let mut oracle = run.oracle;
        judge_recovery(&disk.crash(&Crash::LoseAll), setup, &mut oracle).map(drop)
    });
}

/// The first planned error at which a planted bug is noticed; the same faults pass without it.
pub(crate) fn notices(planted: Planted) -> Option<(u64, String)> {
    let script = workload();
    let fault = |n| Fault::new(FaultKind::Flush, n);
    let calls = calls(Setup::default(), &script, &fault);
    let setup = Setup { planted, ..Setup::default() };
    let (nth, what) = (0..calls).find_map(|n| {
        survives(setup, &script, &fault(n), End::PowerCut).err().map(|what| (n, what))
    })?;
    for n in 0..=nth {
        survives(Setup::default(), &script, &fault(n), End::PowerCut).unwrap();
    }
    Some((nth, what))
}
