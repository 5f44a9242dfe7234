//! Settings of the group coordinator, under Kafka's names with `_` for `.`.

use super::state::Limits;

/// Settings of the group coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a plain record the server fills in field by field")]
pub struct Config {
    /// How long the first round of an empty group waits for more members, in ms. Default 0: a lone
    /// member starts at once. Raising it delays every fresh group, and saves it rebalances.
    pub initial_rebalance_delay_ms: i32,
    /// Shortest session timeout a member may ask for, in ms. Default 6000.
    pub min_session_timeout_ms: i32,
    /// Longest session timeout a member may ask for, in ms. Default 1,800,000.
    pub max_session_timeout_ms: i32,
    /// Most members of one group. Default unlimited.
    pub group_max_size: i32,
    /// Longest metadata of a committed offset, in UTF-16 units as Kafka counts. Default 4096; what
    /// is stored can be at most 32,767 bytes long, whatever this says.
    pub offset_metadata_max_bytes: i32,
    /// How long committed offsets outlive the last member of their group, in minutes. Default
    /// 10,080 (seven days).
    pub offsets_retention_minutes: i32,
    /// How often expired offsets are looked for, in ms. Default 600,000.
    pub offsets_retention_check_interval_ms: i64,
    /// Partitions of `__consumer_offsets`. Default 50. Changing it makes the coordinator look for
    /// groups where they are not.
    pub offsets_partitions: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 0,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 1_800_000,
            group_max_size: i32::MAX,
            offset_metadata_max_bytes: 4096,
            offsets_retention_minutes: 10_080,
            offsets_retention_check_interval_ms: 600_000,
            offsets_partitions: 50,
        }
    }
}

impl Config {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            initial_rebalance_delay_ms: i64::from(self.initial_rebalance_delay_ms),
            members_max: usize::try_from(self.group_max_size).unwrap_or(0),
        }
    }

    pub(super) fn retention_ms(&self) -> i64 {
        i64::from(self.offsets_retention_minutes).saturating_mul(60_000)
    }
}
