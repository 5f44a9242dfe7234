//! Which apis are served, in which versions.

use super::wire::Version;
use super::{DecodeError, EncodeError};

/// What is served of one api.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiInfo {
    /// The number a request names it by.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The first version that can be read.
    pub min: i16,
    /// The last version that can be read.
    pub max: i16,
    /// The first version to announce: clients of one library refuse a broker whose Produce does not
    /// start at 0 (B-8), though none of them sends it.
    pub advertised_min: i16,
    /// The first version with compact lengths and tagged fields.
    pub flexible_from: i16,
}

impl ApiInfo {
    /// Whether requests and answers of `version` can be read.
    #[must_use]
    pub const fn serves(&self, version: i16) -> bool {
        version >= self.min && version <= self.max
    }

    /// Whether `version` has compact lengths and tagged fields.
    #[must_use]
    pub const fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    pub(super) const fn decodable(&self, version: i16) -> Result<Version, DecodeError> {
        if self.serves(version) {
            return Ok(Version { number: version, flexible: self.is_flexible(version) });
        }
        Err(DecodeError::UnsupportedVersion { api_key: self.key, version })
    }

    pub(super) const fn encodable(&self, version: i16) -> Result<Version, EncodeError> {
        if self.serves(version) {
            return Ok(Version { number: version, flexible: self.is_flexible(version) });
        }
        Err(EncodeError::UnsupportedVersion { api_key: self.key, version })
    }
}
