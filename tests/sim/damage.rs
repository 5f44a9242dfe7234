//! Every file of a data directory, damaged in every way a medium can: flipped bits, files cut short,
//! emptied, removed, grown by garbage, replaced by directories.
//!
//! Whatever is damaged, opening gives a typed error or a log, and nobody panics. No record is served
//! that is not the one that was appended there, none is left out unsaid, and none is deleted: once the
//! damage is undone, everything is back. What no reader of these files can know is in [`Doubt`].

use crate::model::Staged;
use crate::number;
use crate::parallel::in_parallel;
use crate::rng::Rng;
use crate::script::{DIRECTORY, Oracle, Run, Setup, Step, judge_recovery, name};
use oncelog::batch::DecodeLimits;
use oncelog::io::Storage;
use oncelog::io::sim::{Crash, SimDisk};
use oncelog::planted::Planted;
use oncelog::{AppendOptions, Engine, Error, ErrorKind, Isolation, Log, Offset, ReadOptions};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEED: u64 = 3;

/// How the engine ended before its files were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
}

/// What happened to one file.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        position: usize,
        bit: u32,
    },
    CutTo(usize),
    Grown(Vec<u8>),
    Removed,
    /// A directory stands in its place.
    Directory,
}

/// What damage may cost, because nobody can tell it from something harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// The last group of a killed process looks like a torn write, and a shorter active file like one
    /// that was never longer: what was acknowledged with it may be cut, and is reported.
    Tail,
    /// Kafka's text files have no checksum: another digit is another number.
    Number,
}

/// A data directory with every kind of file, and what must be in it.
struct Directory {
    disk: Arc<SimDisk>,
    setup: Setup,
    oracle: Oracle,
    end: End,
}

fn is_index(file: &Path) -> bool {
    let kind = file.extension().and_then(|kind| kind.to_str());
    matches!(kind, Some("index" | "timeindex" | "txnindex"))
}

/// A `.state` without what version 2 added: retention behind the header, the checksums of transaction
/// indexes behind the unreplicated transactions.
fn state_of_version_1(bytes: &[u8]) -> Vec<u8> {
    let count = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let sums = 44 + 4 + 16 * count(44);
    let mut old = b"oncelogP\x00\x01\x00\x00".to_vec();
    old.extend(crc32c::crc32c(&old).to_be_bytes());
    old.extend(&bytes[36..sums]);
    old.extend(&bytes[sums + 4 + 16 * count(sums)..bytes.len() - 4]);
    old.extend(crc32c::crc32c(&old).to_be_bytes());
    old
}

/// Enough for three segments and every kind of file.
fn script() -> Vec<Step> {
    use Step::{Create, Epoch, Tick, Trim, WaitAll};
    let data = |log, pid, count, bytes| Step::Data { log, pid, count, bytes };
    let end = |log, pid, commit| Step::End { log, pid, commit };
    let mut script = vec![Create(0), Create(1), data(1, 1, 2, 100), WaitAll, Epoch(0, 3)];
    for round in 0_i64..5 {
        script.extend([data(0, 1, 1, 300), data(0, 3, 2, 150), data(0, 4, 1, 200), WaitAll]);
        script.extend([end(0, 3, round % 2 == 0), data(0, 2, 3, 120), WaitAll]);
        script.extend([end(0, 4, round % 2 == 1), WaitAll]);
        if round == 3 {
            script.extend([Tick, Trim(0, 10)]);
        }
    }
    script.extend([data(0, 4, 1, 90), WaitAll, data(0, 1, 1, 90), WaitAll, Trim(1, 50)]);
    script
}

impl Directory {
    fn new(end: End, planted: Planted) -> Self {
        let setup = Setup { segment_bytes: 4096, planted, ..Setup::default() };
        let disk = SimDisk::new(SEED);
        let mut run = Run::open(&disk, setup).unwrap();
        run.execute(&script()).unwrap();
        if end == End::Closed {
            run.close().unwrap();
        }
        let disk = disk.kill().crash(&Crash::KeepAll);
        Self { disk, setup, oracle: run.oracle, end }
    }

    /// The same as an engine left it that kept no checksums of transaction indexes: its `.state` files
    /// are of version 1. Nothing but the batches can say what was aborted.
    fn without_sums(end: End) -> Self {
        let directory = Self::new(end, Planted::default());
        for file in directory.disk.files() {
            if file.extension().is_some_and(|kind| kind == "state") {
                let bytes = directory.disk.visible(&file).unwrap();
                directory.disk.overwrite(&file, state_of_version_1(&bytes)).unwrap();
            }
        }
        directory
    }

    /// The files of the engine whose bytes can be told right from wrong.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = self.disk.files();
        files.retain(|file| !is_index(file));
        files
    }

    fn indexes(&self) -> Vec<PathBuf> {
        let mut files = self.disk.files();
        files.retain(|file| is_index(file));
        files
    }

    /// Damages a copy, opens it, and judges what comes of it.
    fn survives(&self, path: &Path, damage: &Damage) -> Result<(), String> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.judge(path, damage)));
        let outcome = outcome.unwrap_or_else(|_| Err("a panic".to_owned()));
        let short = format!("{damage:?}").chars().take(60).collect::<String>();
        outcome.map_err(|what| format!("{:?}, {}, {short}: {what}", self.end, path.display()))
    }

    fn judge(&self, path: &Path, damage: &Damage) -> Result<(), String> {
        let doubt = self.doubt(path, damage);
        let disk = self.disk.crash(&Crash::KeepAll);
        damage.apply(&disk, path);
        match self.setup.open(&disk) {
            Err(error) => check_refusal(&error)?,
            Ok(engine) => self.judge_logs(&engine, doubt)?,
        }
        if doubt != Doubt::None {
            return Ok(());
        }
        // Undone, the damage has cost nothing.
        let after = disk.crash(&Crash::KeepAll);
        self.undo(&after, path);
        let mut oracle = self.oracle.clone();
        judge_recovery(&after, self.setup, &mut oracle)
            .map(drop)
            .map_err(|what| format!("after the damage was undone: {what}"))
    }

    /// Puts the file's bytes back, unless the engine has replaced it by a sound one of its own.
    fn undo(&self, disk: &Arc<SimDisk>, path: &Path) {
        let sound = self.disk.visible(path).unwrap();
        if disk.list_dir(path).is_ok() {
            disk.remove_dir(path).unwrap();
        }
        let is_log = path.extension().is_some_and(|kind| kind == "log");
        match disk.visible(path) {
            Err(_) => write(disk, path, sound),
            // Padding may have been cut; data must not.
            Ok(now) if is_log => {
                let mut restored = sound;
                restored.truncate(now.len().max(self.data_bytes(path)));
                disk.overwrite(path, restored).unwrap();
            }
            Ok(_) => disk.overwrite(path, sound).unwrap(),
        }
    }

    /// Bytes of batches in a data file: everything up to the padding.
    fn data_bytes(&self, path: &Path) -> usize {
        let bytes = self.disk.visible(path).unwrap();
        let mut rest = bytes.as_slice();
        while let Ok((_, after)) = oncelog::batch::Batch::parse(rest) {
            rest = after;
        }
        bytes.len() - rest.len()
    }

    fn doubt(&self, path: &Path, damage: &Damage) -> Doubt {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap();
        if file.ends_with("-checkpoint") || file.ends_with(".metadata") {
            return Doubt::Number;
        }
        let is_active = |log: usize| {
            let dir = Path::new(DIRECTORY).join(name(log).to_string());
            let mut logs = self.disk.files().into_iter().filter(|file| file.starts_with(&dir));
            logs.rfind(|file| file.extension().is_some_and(|kind| kind == "log"))
                == Some(path.to_owned())
        };
        let tail = self.end == End::Killed && (0..2).any(is_active);
        let last = self.last_batch_position(path);
        match damage {
            Damage::Flip { position, .. } if tail && *position >= last => Doubt::Tail,
            Damage::CutTo(_) | Damage::Removed if tail => Doubt::Tail,
            _ => Doubt::None,
        }
    }

    /// Where the last batch of a data file begins.
    fn last_batch_position(&self, path: &Path) -> usize {
        let Ok(bytes) = self.disk.visible(path) else { return 0 };
        let (mut rest, mut last) = (bytes.as_slice(), 0);
        while let Ok((_, after)) = oncelog::batch::Batch::parse(rest) {
            last = bytes.len() - rest.len();
            rest = after;
        }
        last
    }

    fn judge_logs(&self, engine: &Engine, doubt: Doubt) -> Result<(), String> {
        for index in 0..2 {
            let log = match engine.log(&name(index)) {
                Ok(log) => log,
                Err(error) => {
                    check_refusal(&error)?;
                    continue;
                }
            };
            self.judge_log(engine, index, &log, doubt)
                .map_err(|what| format!("log {index}: {what}"))?;
        }
        Ok(())
    }

    fn judge_log(
        &self,
        engine: &Engine,
        index: usize,
        log: &Log,
        doubt: Doubt,
    ) -> Result<(), String> {
        let cut: u64 = engine.recovery_reports().iter().map(|report| report.cut_bytes).sum();
        let model = &self.oracle.models[index];
        let offsets = log.offsets();
        let (start, end) = (offsets.log_start_offset.get(), offsets.log_end_offset.get());
        if doubt != Doubt::Number && start != model.start {
            return Err(format!("the log starts at {start}, not at {}", model.start));
        }
        if end > model.end() || (end < model.end() && doubt == Doubt::None) {
            return Err(format!("the log ends at {end}, not at {}; {cut} bytes cut", model.end()));
        }
        // A marker that is damaged ends nothing, a first batch that is damaged begins nothing.
        let last_stable = offsets.last_stable_offset.get();
        let is_told = engine.recovery_reports().iter().any(|report| !report.damaged.is_empty());
        let expected = model.last_stable(end, start);
        if last_stable != expected && !is_told && doubt == Doubt::None {
            return Err(format!("the last stable offset is {last_stable}, not {expected}"));
        }
        let from = start.max(model.start);
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let committed = isolation == Isolation::ReadCommitted;
            let bound = if committed { offsets.last_stable_offset.get() } else { end };
            let expected: BTreeMap<i64, String> =
                model.values(from, model.end(), committed).into_iter().collect();
            let (found, damaged) = read(log, from, isolation)?;
            for (offset, value) in &found {
                if *offset >= model.start && expected.get(offset) != Some(value) {
                    return Err(format!("{isolation:?}: {offset} was served, and is wrong"));
                }
            }
            for offset in expected.keys().filter(|offset| (from..bound).contains(offset)) {
                let told = damaged.iter().any(|(first, next)| (first..next).contains(&offset));
                if !found.contains_key(offset) && !told {
                    return Err(format!("{isolation:?}: {offset} is left out and nobody says so"));
                }
            }
        }
        Ok(())
    }
}

/// Values by offset, and damaged ranges: first and next offset.
type Read = (BTreeMap<i64, String>, Vec<(i64, i64)>);

/// What a reader gets, and the ranges it is told are damaged. An error without a range ends it.
fn read(log: &Log, from: i64, isolation: Isolation) -> Result<Read, String> {
    let (mut found, mut damaged) = (BTreeMap::new(), Vec::new());
    for stored in log.batches(Offset::new(from), isolation) {
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                check_refusal(&error)?;
                match *error.kind() {
                    ErrorKind::Corrupt { first, next } => damaged.push((first.get(), next.get())),
                    // The rest cannot be read, and the reader knows it.
                    _ => damaged.push((i64::MIN, i64::MAX)),
                }
                continue;
            }
        };
        let batch = stored.batch();
        let records = batch.records(&DecodeLimits::default()).map_err(|e| format!("{e:?}"))?;
        for record in records.iter() {
            let record = record.map_err(|e| format!("{e:?}"))?;
            let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
            found.insert(record.offset().get(), value);
        }
    }
    Ok((found, damaged))
}

/// A refusal tells what to do.
fn check_refusal(error: &Error) -> Result<(), String> {
    match error.kind() {
        ErrorKind::Corrupt { .. }
        | ErrorKind::NewerFormat
        | ErrorKind::Invalid
        | ErrorKind::Io
        | ErrorKind::OutOfRange { .. } => Ok(()),
        _ => Err(format!("refused with {error:?}")),
    }
}

fn write(disk: &Arc<SimDisk>, path: &Path, bytes: Vec<u8>) {
    disk.open(path, oncelog::io::OpenMode::CreateNew, false).unwrap();
    disk.overwrite(path, bytes).unwrap();
}

impl Damage {
    fn apply(&self, disk: &Arc<SimDisk>, path: &Path) {
        match self {
            Self::Flip { position, bit } => disk.flip_bit(path, *position, *bit).unwrap(),
            Self::CutTo(len) => disk.truncate(path, *len).unwrap(),
            Self::Grown(garbage) => {
                let mut bytes = disk.visible(path).unwrap();
                bytes.extend_from_slice(garbage);
                disk.overwrite(path, bytes).unwrap();
            }
            Self::Removed => disk.remove_file(path).unwrap(),
            Self::Directory => {
                disk.remove_file(path).unwrap();
                disk.create_dir(path).unwrap();
            }
        }
    }
}

/// Runs every damage of a list, in parallel.
fn survives_all(directory: &Directory, damages: &[(PathBuf, Damage)]) {
    in_parallel(damages.len(), |nth| {
        let (path, damage) = &damages[nth];
        directory.survives(path, damage)
    });
}

/// A flip in every byte of some files.
fn flips(directory: &Directory, files: Vec<PathBuf>) -> Vec<(PathBuf, Damage)> {
    let width = u32::try_from(number("ONCELOG_SIM_WIDTH").unwrap_or(1).clamp(1, 8)).unwrap();
    let mut rng = Rng::new(SEED);
    let mut damages = Vec::new();
    for path in files {
        let len = directory.disk.visible(&path).unwrap().len();
        for position in 0..len {
            let first = u32::try_from(rng.below(8)).unwrap();
            for bit in (first..first + width).map(|bit| bit % 8) {
                damages.push((path.clone(), Damage::Flip { position, bit }));
            }
        }
    }
    damages
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_closed_directory_is_survived() {
    let directory = Directory::new(End::Closed, Planted::default());
    survives_all(&directory, &flips(&directory, directory.files()));
}

#[test]
fn a_flipped_bit_in_any_byte_after_a_kill_is_survived() {
    let directory = Directory::new(End::Killed, Planted::default());
    survives_all(&directory, &flips(&directory, directory.files()));
}

/// Cut anywhere, grown by anything, gone, or a directory.
fn other_damage(directory: &Directory, files: Vec<PathBuf>) -> Vec<(PathBuf, Damage)> {
    let mut rng = Rng::new(SEED);
    let mut damages = Vec::new();
    for path in files {
        let len = directory.disk.visible(&path).unwrap().len();
        let mut add = |damage| damages.push((path.clone(), damage));
        add(Damage::Removed);
        add(Damage::Directory);
        for cut in (0..len).filter(|cut| len < 200 || cut % 37 == 0 || len - cut < 20) {
            add(Damage::CutTo(cut));
        }
        for garbage in [vec![0; 1], vec![0; 5000], vec![0xff; 70]] {
            add(Damage::Grown(garbage));
        }
        add(Damage::Grown((0..600).map(|_| rng.next().to_be_bytes()[3]).collect()));
        // A piece of itself: batches that are right, and in the wrong place.
        add(Damage::Grown(directory.disk.visible(&path).unwrap()));
    }
    damages
}

#[test]
fn a_file_that_is_cut_grown_removed_or_a_directory_is_survived() {
    for end in [End::Closed, End::Killed] {
        let directory = Directory::new(end, Planted::default());
        survives_all(&directory, &other_damage(&directory, directory.files()));
    }
}

#[test]
fn a_damaged_index_file_changes_no_answer() {
    for end in [End::Closed, End::Killed] {
        let directory = Directory::new(end, Planted::default());
        survives_all(&directory, &flips(&directory, directory.indexes()));
        survives_all(&directory, &other_damage(&directory, directory.indexes()));
    }
}

/// What Kafka left has no checksums, and neither has what a version of ours left that had none.
#[test]
fn a_damaged_index_file_changes_no_answer_where_nothing_vouches_for_it() {
    for end in [End::Closed, End::Killed] {
        let directory = Directory::without_sums(end);
        survives_all(&directory, &flips(&directory, directory.indexes()));
        survives_all(&directory, &other_damage(&directory, directory.indexes()));
    }
}

/// The data files of log 0, oldest first.
fn data_files(directory: &Directory) -> Vec<PathBuf> {
    let dir = Path::new(DIRECTORY).join(name(0).to_string());
    let files = directory.disk.files().into_iter().filter(|file| file.starts_with(dir.as_path()));
    files.filter(|file| file.extension().is_some_and(|kind| kind == "log")).collect()
}

/// Where the batches of a data file begin.
fn batches(directory: &Directory, path: &Path) -> Vec<usize> {
    let bytes = directory.disk.visible(path).unwrap();
    let (mut rest, mut positions) = (bytes.as_slice(), Vec::new());
    while let Ok((_, after)) = oncelog::batch::Batch::parse(rest) {
        positions.push(bytes.len() - rest.len());
        rest = after;
    }
    positions
}

/// The base offset lies outside of what a batch's checksum covers. A wrong one in the tail made the
/// log end far away, and everything behind it was cut as torn.
#[test]
fn a_wrong_base_offset_neither_moves_the_end_nor_cuts_what_follows() {
    for end in [End::Closed, End::Killed] {
        let directory = Directory::new(end, Planted::default());
        let active = data_files(&directory).pop().unwrap();
        for position in batches(&directory, &active) {
            for byte in 0..8 {
                for bit in 0..8 {
                    let damage = Damage::Flip { position: position + byte, bit };
                    directory.survives(&active, &damage).unwrap();
                }
            }
        }
    }
}

/// A reader that met damage in a sealed segment was told to go on inside the same batch, and never
/// came past it.
#[test]
fn damage_in_a_sealed_segment_costs_one_batch_and_no_other() {
    let directory = Directory::new(End::Closed, Planted::default());
    let sealed = data_files(&directory).swap_remove(0);
    let positions = batches(&directory, &sealed);
    let model = &directory.oracle.models[0];
    for (nth, position) in positions.iter().enumerate().skip(2) {
        let disk = directory.disk.crash(&Crash::KeepAll);
        disk.flip_bit(&sealed, position + 70, 3).unwrap();
        let engine = directory.setup.open(&disk).unwrap();
        let log = engine.log(&name(0)).unwrap();
        let (found, damaged) = read(&log, model.start, Isolation::ReadUncommitted).unwrap();
        let hit = &model.batches[nth];
        assert_eq!(damaged, [(hit.base, hit.last + 1)], "{hit:?}");
        let mut expected: BTreeMap<i64, String> =
            model.values(model.start, model.end(), false).into_iter().collect();
        expected.retain(|offset, _| !(hit.base..=hit.last).contains(offset));
        assert_eq!(found, expected, "{hit:?}");
    }
}

/// Files that the medium made shorter, or lost, were taken for logs that had never been longer: the
/// offsets were handed out again.
#[test]
fn a_closed_log_that_lost_its_end_says_so_and_reuses_no_offset() {
    let directory = Directory::new(End::Closed, Planted::default());
    let active = data_files(&directory).pop().unwrap();
    let disk = directory.disk.crash(&Crash::KeepAll);
    disk.truncate(&active, 0).unwrap();
    for life in 0..3 {
        let engine = directory.setup.open(&disk).unwrap();
        let log = engine.log(&name(0)).unwrap();
        let model = &directory.oracle.models[0];
        let is_told = engine.recovery_reports().iter().any(|report| !report.damaged.is_empty());
        assert!(is_told || life > 0);
        assert_eq!(log.offsets().log_end_offset.get(), model.end() + life, "life {life}");
        let more = Staged::data(model.end() + life, -1, -1, vec!["more".to_owned()]);
        log.append(&more.bytes, &AppendOptions::default()).unwrap().wait().unwrap();
        engine.close().unwrap();
    }
}

/// The marker in the lost file was lost with it, and the records that it aborted were served.
#[test]
fn a_closed_log_that_lost_its_last_file_is_refused() {
    let directory = Directory::new(End::Closed, Planted::default());
    let disk = directory.disk.crash(&Crash::KeepAll);
    disk.remove_file(&data_files(&directory).pop().unwrap()).unwrap();
    let opened = directory.setup.open(&disk).and_then(|engine| engine.log(&name(0)));
    assert!(matches!(*opened.unwrap_err().kind(), ErrorKind::Corrupt { .. }));
}

/// Nor does the first open make an empty log of it, which the second one would refuse.
#[test]
fn a_closed_log_that_lost_all_its_files_is_refused_by_every_open() {
    let directory = Directory::new(End::Closed, Planted::default());
    let mut disk = directory.disk.crash(&Crash::KeepAll);
    for file in data_files(&directory) {
        disk.remove_file(&file).unwrap();
    }
    for _ in 0..3 {
        let opened = directory.setup.open(&disk).and_then(|engine| engine.log(&name(0)));
        assert!(matches!(*opened.unwrap_err().kind(), ErrorKind::Corrupt { .. }));
        disk = disk.kill();
    }
}

/// Without its first segment a log simply began later.
#[test]
fn a_log_that_lost_its_first_segment_says_so() {
    let directory = Directory::new(End::Closed, Planted::default());
    let disk = directory.disk.crash(&Crash::KeepAll);
    let files = data_files(&directory);
    disk.remove_file(&files[0]).unwrap();
    let engine = directory.setup.open(&disk).unwrap();
    let log = engine.log(&name(0)).unwrap();
    let start = directory.oracle.models[0].start;
    assert_eq!(log.offsets().log_start_offset.get(), start);
    let lost = log.read(Offset::new(start), &ReadOptions::default()).unwrap_err();
    assert!(
        matches!(*lost.kind(), ErrorKind::Corrupt { next, .. } if next.get() > start),
        "{lost:?}"
    );
}

/// One wrong digit, and the log was emptied, because it began behind its end.
#[test]
fn a_log_start_beyond_the_end_is_refused_and_nothing_is_removed() {
    let directory = Directory::new(End::Closed, Planted::default());
    let checkpoint = Path::new(DIRECTORY).join("log-start-offset-checkpoint");
    let disk = directory.disk.crash(&Crash::KeepAll);
    let text = String::from_utf8(disk.visible(&checkpoint).unwrap()).unwrap();
    let line =
        format!("{} {}", name(0).to_string().replace('-', " "), directory.oracle.models[0].start);
    assert!(text.contains(&line), "{text}");
    disk.overwrite(&checkpoint, text.replace(&line, &format!("{line}000")).into_bytes()).unwrap();
    let opened = directory.setup.open(&disk).and_then(|engine| engine.log(&name(0)));
    assert!(matches!(*opened.unwrap_err().kind(), ErrorKind::Corrupt { .. }));
    let after = disk.crash(&Crash::KeepAll);
    after.overwrite(&checkpoint, text.into_bytes()).unwrap();
    let Directory { setup, mut oracle, .. } = directory;
    judge_recovery(&after, setup, &mut oracle).unwrap();
}
