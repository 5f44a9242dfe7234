//! Every file of a data directory damaged in every way a medium can: flipped bits, files cut short,
//! emptied, removed, grown by garbage, replaced by directories.
//!
//! Whatever is damaged, opening gives a typed error or a log, nobody panics, no record is served that
//! is not the one that was appended there, nothing is left out unsaid, and nothing is deleted: once
//! the damage is undone, everything is back.

use crate::judge;
use crate::model::Model;
use crate::number;
use crate::parallel::in_parallel;
use crate::rng::Rng;
use crate::script::{DIRECTORY, Oracle, Run, Setup, Step, judge_recovery};
use oncelog::batch::DecodeLimits;
use oncelog::io::Storage;
use oncelog::io::sim::{Crash, SimDisk};
use oncelog::planted::Planted;
use oncelog::{Engine, ErrorKind, Isolation, Log, Offset};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEED: u64 = 3;

/// How the engine ended before its files were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
}

/// A data directory with every kind of file, and what must be in it.
struct Directory {
    disk: Arc<SimDisk>,
    setup: Setup,
    oracle: Oracle,
    files: Vec<PathBuf>,
}

impl Directory {
    fn new(end: End, planted: Planted) -> Self {
        let setup = Setup { segment_bytes: 4096, planted, ..Setup::default() };
        let disk = SimDisk::new(SEED);
        let mut run = Run::open(&disk, setup).unwrap();
        run.execute(&script()).unwrap();
        let disk = match end {
            End::Closed => {
                run.execute(&[Step::Close]).unwrap();
                disk.kill()
            }
            End::Killed => disk.kill(),
        };
        let files = disk.files();
        Self { disk, setup, oracle: run.oracle, files }
    }

    /// Damages a copy, opens it, and judges what comes of it.
    fn judge(&self, damage: &Damage) -> Result<(), String> {
        let disk = self.disk.crash(&Crash::KeepAll);
        damage.apply(&disk);
        match self.setup.open(&disk) {
            Err(error) => check_refusal(&error)?,
            Ok(engine) => judge_logs(&engine, &self.oracle)?,
        }
        // Undone, the damage has cost nothing, unless it was said so: see `Damage::may_cut`.
        let after = disk.crash(&Crash::KeepAll);
        damage.undo(&after, &self.disk);
        let mut oracle = self.oracle.clone();
        judge_recovery(&after, self.setup, &mut oracle)
            .map(drop)
            .map_err(|what| format!("after the damage was undone: {what}"))
    }
}
