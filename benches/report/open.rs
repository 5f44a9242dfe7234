//! Opening a log after a clean close, and after its process was killed.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and copies files")]

use crate::Run;
use crate::read::fill;
use oncelog::{Engine, LogName};
use oncelog_bench::Outcome;
use oncelog_bench::load::{create_log, engine_options};
use oncelog_bench::stats::{median, range};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What the child does: fills a log and dies without closing it.
pub(crate) fn fill_and_die(run: &Run) -> Outcome {
    let dir = run.word("dir").ok_or("dir=… is missing")?;
    let mib = run.numbers("mib", &[1024])?.first().copied().unwrap_or(1024);
    let engine = Engine::open(engine_options(dir.as_ref()))?;
    fill(&create_log(&engine, "open", 0)?, 16 << 10, mib)?;
    if run.word("end") == Some("clean") {
        engine.close()?;
    }
    std::process::abort()
}

/// Both ends, with the page cache as the end left it and dropped.
pub(crate) fn open(run: &Run) -> Outcome {
    let mib = run.numbers("mib", &[1024])?.first().copied().unwrap_or(1024);
    println!("{:<28} {:>9} {:>19}  seconds, {mib} MiB", "", "median", "[min max]");
    for end in ["clean", "killed"] {
        for cold in [false, true] {
            let mut times = Vec::new();
            for nth in 0..run.pairs.min(5) {
                let dir = run.place.join(&format!("open-{end}-{cold}-{nth}"));
                let status = Command::new(std::env::current_exe()?)
                    .arg("fill")
                    .args([
                        format!("dir={}", dir.display()),
                        format!("mib={mib}"),
                        format!("end={end}"),
                    ])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()?;
                if status.success() || !dir.exists() {
                    return Err("the child did not die as it should".into());
                }
                if cold {
                    for entry in std::fs::read_dir(dir.join("open-0"))? {
                        let file = std::fs::File::open(entry?.path())?;
                        file.sync_all()?;
                        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
                    }
                }
                let before = Instant::now();
                let engine = Engine::open(engine_options(&dir))?;
                let log = engine.log(&LogName::new("open", 0)?)?;
                times.push(before.elapsed().as_secs_f64());
                if log.offsets().log_end_offset.get() == 0 {
                    return Err("nothing was found".into());
                }
                drop((log, engine));
                std::fs::remove_dir_all(&dir)?;
            }
            let (low, high) = range(&times);
            let cache = if cold { "cold" } else { "warm" };
            println!(
                "{:<28} {:>9.4} {:>19}",
                format!("{end}, {cache}"),
                median(&times),
                format!("[{low:.4} {high:.4}]")
            );
        }
    }
    Ok(())
}
