//! Every crash point of one scripted workload, and every crash point of the recovery that follows.

use crate::common::{batch, load, name, read, simulated_options};
use oncelog::io::sim::{Crash, SimDisk};
use oncelog::planted::Planted;
use oncelog::{AppendOptions, Engine, Isolation, Offset, Transaction};
use std::sync::Arc;

const LOGS: usize = 3;
const COMMITS: usize = 3;

/// What was answered when the power went.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    created: bool,
    commits: usize,
}

/// The position behind commit `number`.
fn next(number: usize) -> Offset {
    Offset::new(i64::try_from(number).unwrap() + 1)
}

fn open(disk: &Arc<SimDisk>, planted: Planted) -> oncelog::Result<Engine> {
    let mut options = simulated_options();
    options.planted = planted;
    Engine::open_with(options, disk.io())
}

/// Commits over all logs, each with a position, with aborted transactions and records of others in
/// between, and one transaction that stays open.
fn workload(
    disk: &Arc<SimDisk>,
    planted: Planted,
    answered: &mut Answered,
) -> oncelog::Result<Transaction> {
    let engine = open(disk, planted)?;
    let mut logs = Vec::new();
    for index in 0..LOGS {
        logs.push(engine.create_log(&name(index), [7; 16], Default::default())?);
    }
    answered.created = true;
    for number in 0..COMMITS {
        let mut txn = engine.begin()?;
        for log in &logs {
            txn.append(log, batch(&[&format!("c{number}")]))?;
        }
        txn.store_position("g", &logs[0], next(number))?;
        txn.commit()?.wait()?;
        answered.commits = number + 1;
        let mut txn = engine.begin()?;
        txn.append(&logs[number], batch(&["aborted"]))?;
        txn.store_position("g", &logs[0], Offset::new(99))?;
        txn.abort();
    }
    let mut txn = engine.begin()?;
    txn.append(&logs[0], batch(&["open"]))?;
    txn.append(&logs[1], batch(&["open"]))?;
    // With somebody else's record it becomes durable, although its transaction is not.
    logs[0].append(&batch(&["plain"]).build()?, &AppendOptions::default())?.wait()?;
    Ok(txn)
}

/// Opens what a crash left, and looks whether all of it is as promised; also after the logs have grown
/// and the process was killed, and after one more transaction.
fn judge(disk: &Arc<SimDisk>, planted: Planted, answered: Answered) -> Result<(), String> {
    let engine = open(disk, planted).map_err(|e| format!("open: {e:?}"))?;
    if !answered.created {
        return Ok(());
    }
    let committed = judge_content(&engine, answered)?;
    for log in load(&engine, LOGS) {
        // What was lost must not pass for found again when something else has its offsets.
        let plain = batch(&["plain"; 4]).build().unwrap();
        log.append(&plain, &AppendOptions::default()).unwrap().wait().unwrap();
    }
    drop(engine);

    let engine = open(&disk.kill(), planted).map_err(|e| format!("open again: {e:?}"))?;
    let answered = Answered { created: true, commits: committed };
    let again = judge_content(&engine, answered).map_err(|e| format!("later: {e}"))?;
    if again != committed {
        return Err(format!("{committed} commits, later {again}"));
    }
    let logs = load(&engine, LOGS);
    let mut txn = engine.begin().map_err(|e| format!("begin: {e:?}"))?;
    for log in &logs {
        txn.append(log, batch(&[&format!("c{committed}")])).map_err(|e| format!("{e:?}"))?;
    }
    txn.store_position("g", &logs[0], next(committed)).unwrap();
    txn.commit().and_then(oncelog::CommitTicket::wait).map_err(|e| format!("commit: {e:?}"))?;
    judge_content(&engine, Answered { created: true, commits: committed + 1 })?;
    Ok(())
}

/// How many commits are there: the same number in every log and in the position.
fn judge_content(engine: &Engine, answered: Answered) -> Result<usize, String> {
    let logs = load(engine, LOGS);
    let position = engine.position("g", &logs[0]).map_err(|e| format!("position: {e:?}"))?;
    let committed = position.map_or(0, |next| usize::try_from(next.get()).unwrap());
    if !(answered.commits..=answered.commits + 1).contains(&committed) {
        return Err(format!("{committed} commits, {} were answered", answered.commits));
    }
    let expected: Vec<String> = (0..committed).map(|number| format!("c{number}")).collect();
    for log in &logs {
        let mut seen = read(log, Isolation::ReadCommitted);
        seen.retain(|value| value != "plain");
        if seen != expected {
            return Err(format!("{log:?} holds {seen:?}, the position says {committed}"));
        }
        let offsets = log.offsets();
        if offsets.last_stable_offset != offsets.high_watermark {
            return Err(format!("{log:?} is held back: {offsets:?}"));
        }
    }
    Ok(committed)
}

/// The ways in which the power goes.
fn crashes(point: u64) -> Vec<Crash> {
    let random = |n| Crash::Random { seed: point * 100 + n, garbage: false };
    [Crash::LoseAll, Crash::KeepAll].into_iter().chain((0..6).map(random)).collect()
}

/// Runs all of it; how many crashes were survived, or what went wrong first.
fn run(planted: Planted, nested: bool) -> Result<u64, String> {
    let mut survived = 0;
    for point in 1.. {
        let disk = SimDisk::new(point);
        disk.crash_after(point);
        let mut answered = Answered::default();
        let outcome = workload(&disk, planted, &mut answered);
        let was_cut = !disk.is_powered();
        for crash in crashes(point) {
            let at = |what: String| format!("cut at operation {point}, {crash:?}: {what}");
            judge(&disk.crash(&crash), planted, answered).map_err(at)?;
            survived += 1;
            if nested {
                survived += cut_recovery(&disk, &crash, planted, answered).map_err(at)?;
            }
        }
        match outcome {
            Ok(_open) if !was_cut => return Ok(survived),
            Err(error) if !was_cut => return Err(format!("{error:?} before operation {point}")),
            _ => {}
        }
    }
    unreachable!("a workload ends")
}

/// The power goes again at every operation of the recovery.
fn cut_recovery(
    disk: &SimDisk,
    crash: &Crash,
    planted: Planted,
    answered: Answered,
) -> Result<u64, String> {
    let mut survived = 0;
    for point in 1.. {
        let disk = disk.crash(crash);
        disk.crash_after(point);
        let opened = open(&disk, planted);
        if opened.is_ok() && disk.is_powered() {
            break;
        }
        let random = Crash::Random { seed: point, garbage: false };
        for crash in [Crash::LoseAll, Crash::KeepAll, random] {
            let at = |what: String| format!("then at {point} of the recovery, {crash:?}: {what}");
            judge(&disk.crash(&crash), planted, answered).map_err(at)?;
            survived += 1;
        }
    }
    Ok(survived)
}

#[test]
fn every_crash_point_leaves_all_of_a_transaction_or_nothing() {
    let survived = run(Planted::default(), true).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{survived} crashes");
    assert!(survived > 1_000);
}

#[test]
fn planted_bugs_are_noticed_at_some_crash_point() {
    let plants: [fn(&mut Planted); 3] = [
        |p| p.txn_markers_early = true,
        |p| p.txn_trust_decision = true,
        |p| p.txn_forget_verdicts = true,
    ];
    for plant in plants {
        let mut planted = Planted::default();
        plant(&mut planted);
        let failure = run(planted, false).expect_err(&format!("nobody noticed {planted:?}"));
        println!("{planted:?}\n  {failure}");
    }
}

#[test]
fn the_workload_makes_what_it_says() {
    let disk = SimDisk::new(1);
    let mut answered = Answered::default();
    let open = workload(&disk, Planted::default(), &mut answered).unwrap();
    assert_eq!(answered.commits, COMMITS);
    let engine = Engine::open_with(simulated_options(), disk.kill().io()).unwrap();
    let logs = load(&engine, LOGS);
    assert_eq!(judge_content(&engine, answered), Ok(COMMITS));
    assert!(read(&logs[0], Isolation::ReadUncommitted).contains(&"open".to_owned()));
    drop(open);
}
