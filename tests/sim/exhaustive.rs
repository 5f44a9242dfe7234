//! Every crash point of the scripted workload, in many ways the power can go, and crashes inside the
//! recovery from them.
//!
//! `ONCELOG_SIM_WIDTH=n` tries about n times as many outcomes per crash point;
//! `ONCELOG_SIM_CUT=k` tries only the crash point that a failure names.

use crate::parallel::in_parallel;
use crate::script::{Oracle, Run, Setup, Step, Stop, judge_recovery, workload};
use crate::{number, rng::Rng};
use oncelog::io::sim::{Crash, Moment, SimDisk};
use oncelog::planted::Planted;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything random about the script's disk.
const SEED: u64 = 1;

/// How much was tried.
#[derive(Debug, Default)]
struct Tried {
    recoveries: AtomicU64,
    second: AtomicU64,
}

/// A script, what the engine is opened with, and how many outcomes of a cut are tried.
#[derive(Debug)]
struct Cuts<'a> {
    setup: Setup,
    script: &'a [Step],
    width: u64,
    tried: Tried,
}

#[test]
fn every_power_cut_of_the_script_is_survived() {
    let width = number("ONCELOG_SIM_WIDTH").unwrap_or(1).max(1);
    let script = workload();
    let cuts = Cuts { width, ..Cuts::of(Setup::default(), &script) };
    let points = cuts.points();
    let only = number("ONCELOG_SIM_CUT");
    let chosen: Vec<u64> = (0..points).filter(|k| only.is_none_or(|only| only == *k)).collect();
    in_parallel(chosen.len(), |index| {
        let point = chosen[index];
        cuts.survive(point).map_err(|failure| {
            format!(
                "crash point {point}: {failure}\nreplay: ONCELOG_SIM_CUT={point} \
                 ONCELOG_SIM_WIDTH={width} cargo test --test sim every_power_cut"
            )
        })
    });
    let recoveries = cuts.tried.recoveries.load(Ordering::Relaxed);
    let second = cuts.tried.second.load(Ordering::Relaxed);
    println!("{points} crash points, {recoveries} recoveries, {second} crashes during recovery");
    // A script that writes little proves little.
    assert!(points > 800, "the script has only {points} crash points");
}

/// Panics unless the script survives a cut at every operation.
pub(crate) fn survives_every_cut(setup: Setup, script: &[Step]) {
    let cuts = Cuts { width: 4, ..Cuts::of(setup, script) };
    let points = usize::try_from(cuts.points()).unwrap();
    in_parallel(points, |point| {
        let survived = cuts.survive(point as u64);
        survived.map_err(|failure| format!("crash point {point}: {failure}"))
    });
}

/// The first crash point of the workload at which a planted bug is noticed, and that the same point
/// is survived without it.
pub(crate) fn notices(planted: Planted) -> Option<(u64, String)> {
    let script = workload();
    let cuts = Cuts::of(Setup { planted, ..Setup::default() }, &script);
    let (point, failure) = (0..cuts.points())
        .find_map(|point| cuts.survive(point).err().map(|failure| (point, failure)))?;
    let sound = Cuts::of(Setup::default(), &script);
    for point in 0..=point.min(sound.points() - 1) {
        sound.survive(point).unwrap_or_else(|what| panic!("without the bug, {point}: {what}"));
    }
    Some((point, failure))
}

impl<'a> Cuts<'a> {
    fn of(setup: Setup, script: &'a [Step]) -> Self {
        Self { setup, script, width: 1, tried: Tried::default() }
    }

    /// Crash points: before and during each operation, and after the last one.
    fn points(&self) -> u64 {
        let disk = SimDisk::new(SEED);
        let outcome = Run::of(&disk, self.setup, self.script).1;
        if let (Err(stop), true) = (outcome, self.setup.planted == Planted::default()) {
            panic!("the script fails: {stop:?}");
        }
        // A planted bug may show even without a crash; what comes before it is cut everywhere.
        2 * disk.operations() + 1
    }

    fn survive(&self, point: u64) -> Result<(), String> {
        let disk = SimDisk::new(SEED);
        let moment = if point.is_multiple_of(2) { Moment::Before } else { Moment::During };
        disk.cut_at(point / 2 + 1, moment);
        let (oracle, outcome) = Run::of(&disk, self.setup, self.script);
        match outcome {
            Err(Stop::Wrong(what)) if disk.is_powered() => return Err(what),
            Err(Stop::Refused(error)) if disk.is_powered() => return Err(format!("{error:?}")),
            _ => {}
        }
        let crashes = survivals(disk.undecided(), point, self.width);
        for (nth, crash) in crashes.iter().enumerate() {
            let context = |what| format!("{moment:?} of {}, {crash:?}: {what}", point / 2 + 1);
            self.tried.recoveries.fetch_add(1, Ordering::Relaxed);
            self.recover(&disk.crash(crash), oracle.clone()).map_err(context)?;
            // Crashes of the recovery itself, for some of the outcomes of each crash point.
            if (nth as u64 + point).is_multiple_of(16) {
                self.crash_recovery(&|| disk.crash(crash), &oracle).map_err(context)?;
            }
        }
        // A kill of the process at the same place: the operating system has everything, also what is
        // not durable, and the next process must not build on that.
        let killed = self.recover(&disk.kill(), oracle);
        killed.map_err(|what| format!("{moment:?} of {}, killed: {what}", point / 2 + 1))
    }

    /// Recovery and verdict; then a power cut that takes everything that is not durable, and the
    /// same again: what one recovery showed, no later one may miss.
    fn recover(&self, disk: &Arc<SimDisk>, mut oracle: Oracle) -> Result<(), String> {
        drop(judge_recovery(disk, self.setup, &mut oracle)?);
        let again = disk.crash(&Crash::LoseAll);
        let judged = judge_recovery(&again, self.setup, &mut oracle);
        judged.map(drop).map_err(|what| format!("after a second crash: {what}"))
    }

    /// The power goes at every operation of a recovery.
    fn crash_recovery(
        &self,
        crashed: &dyn Fn() -> Arc<SimDisk>,
        oracle: &Oracle,
    ) -> Result<(), String> {
        for operation in 1.. {
            let disk = crashed();
            disk.cut_at(operation, Moment::During);
            let opened = self.setup.open(&disk);
            if disk.is_powered() {
                return opened.map(drop).map_err(|e| format!("open: {e:?}"));
            }
            let random = Crash::Random { seed: operation, garbage: false };
            for crash in [Crash::LoseAll, Crash::KeepAll, random] {
                self.tried.second.fetch_add(1, Ordering::Relaxed);
                let judged = judge_recovery(&disk.crash(&crash), self.setup, &mut oracle.clone());
                judged.map_err(|what| {
                    format!("a crash at operation {operation} of the recovery, {crash:?}: {what}")
                })?;
            }
        }
        Ok(())
    }
}

/// Which of `undecided` units survive: none, all, each alone, all but each, every other, prefixes,
/// and at random. Of the many that a wide group has, each crash point takes other ones.
fn survivals(undecided: usize, point: u64, width: u64) -> Vec<Crash> {
    /// Up to this many units every subset is tried.
    const ALL_SUBSETS: usize = 6;
    let mut crashes = vec![Crash::LoseAll, Crash::KeepAll];
    let all = ALL_SUBSETS + usize::try_from(width.ilog2()).unwrap();
    if undecided <= all.min(12) {
        let subsets = 1_u64 << undecided;
        crashes.extend((1..subsets.saturating_sub(1)).map(|mask| Crash::Exact(vec![mask])));
        return crashes;
    }
    let mut rng = Rng::new(point);
    let mask = |keep: &dyn Fn(usize) -> bool| {
        let mut words = vec![0_u64; undecided.div_ceil(64)];
        (0..undecided).filter(|n| keep(*n)).for_each(|n| words[n / 64] |= 1 << (n % 64));
        Crash::Exact(words)
    };
    crashes.push(mask(&|n| n % 2 == 0));
    crashes.push(mask(&|n| n % 2 == 1));
    let each = usize::try_from(6 * width).unwrap();
    for nth in 0..each.min(undecided) {
        let chosen = (rng.below(undecided) + nth) % undecided;
        crashes.push(mask(&|n| n == chosen));
        crashes.push(mask(&|n| n != chosen));
        crashes.push(mask(&|n| n < chosen));
        crashes.push(Crash::Random { seed: rng.next(), garbage: false });
    }
    crashes
}
