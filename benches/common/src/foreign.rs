//! How much of the machine others use meanwhile: figures of a busy machine are no figures.
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the system it runs on")]

use std::fs;

/// Busy time of all cores and of this process since boot, in ticks of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    busy: u64,
    total: u64,
    own: u64,
}

impl Usage {
    /// Now; zero where the system does not say.
    #[must_use]
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let cores: Vec<u64> = numbers(stat.lines().next().unwrap_or_default());
        // user nice system idle iowait irq softirq steal
        let at = |index: usize| cores.get(index).copied().unwrap_or_default();
        let idle = at(3) + at(4);
        let total: u64 = cores.iter().take(8).sum();
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let own = numbers(own.rsplit(')').next().unwrap_or_default());
        // Behind the name: state (no number), then 10 fields, then user and system time.
        let own =
            own.get(10).copied().unwrap_or_default() + own.get(11).copied().unwrap_or_default();
        Self { busy: total - idle, total, own }
    }

    /// The share of the machine that others used since `self`, in percent.
    #[must_use]
    pub fn percent_of_others(&self) -> u64 {
        let now = Self::now();
        let others = (now.busy - self.busy).saturating_sub(now.own - self.own);
        others * 100 / (now.total - self.total).max(1)
    }
}

fn numbers(line: &str) -> Vec<u64> {
    // The parent of a process without one and unlimited values are negative: they count too.
    let number = |word: &str| word.parse::<i64>().ok().map(i64::cast_unsigned);
    line.split_whitespace().filter_map(number).collect()
}
