//! Who a log and a data directory are: `partition.metadata` and `meta.properties`; which directories
//! belong together.

use super::{
    TextDamage, VERSION, base64, check_version, checkpoint_lines, encode_checkpoint, properties,
    utf8,
};
use std::collections::{BTreeMap, BTreeSet};

/// The id of a log's topic (D-50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMetadata {
    /// The id; never all zeroes.
    pub(crate) topic_id: [u8; 16],
}

impl PartitionMetadata {
    /// The whole file: two lines, the last one without its end, as Kafka writes them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        format!("version: {VERSION}\ntopic_id: {}", base64::encode(self.topic_id)).into_bytes()
    }

    /// Reads a file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TextDamage> {
        let mut lines = utf8(bytes)?.lines();
        let version = lines.next().and_then(|line| value_of(line, "version"));
        check_version(1, version.unwrap_or_default(), VERSION)?;
        let topic_id = lines
            .next()
            .and_then(|line| value_of(line, "topic_id"))
            .and_then(base64::decode)
            .filter(|id| *id != [0; 16])
            .ok_or_else(|| TextDamage::malformed(2, "topic_id: and 22 characters"))?;
        match lines.next() {
            None => Ok(Self { topic_id }),
            Some(_) => Err(TextDamage::malformed(3, "the end of the file")),
        }
    }
}

/// The value of a `name: value` line.
fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    (found.trim() == name).then(|| value.trim())
}

/// The ids of data directories that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirectoryIds {
    /// The ids, the directory's own among them.
    pub(crate) ids: BTreeSet<[u8; 16]>,
}

impl DirectoryIds {
    /// The whole file: a checkpoint with one id per line, in order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_checkpoint(self.ids.iter().map(|id| base64::encode(*id)))
    }

    /// Reads a file.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TextDamage> {
        let entry = |(number, line): (usize, &str)| {
            let damage = || TextDamage::malformed(number, "an id of 22 characters");
            base64::decode(line.trim()).ok_or_else(damage)
        };
        let ids = checkpoint_lines(bytes)?.map(entry).collect::<Result<_, _>>()?;
        Ok(Self { ids })
    }
}

/// The owner of a data directory (D-52).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetaProperties {
    /// The cluster; the oldest files name none.
    pub(crate) cluster_id: Option<String>,
    /// The node.
    pub(crate) node_id: i32,
    /// The directory itself; older files name none.
    pub(crate) directory_id: Option<[u8; 16]>,
}

impl MetaProperties {
    /// The newest version, which is also the one that is written.
    const VERSION: i32 = 1;

    /// The whole file, of version 1, in key order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut pairs = BTreeMap::from([
            ("version", Self::VERSION.to_string()),
            ("node.id", self.node_id.to_string()),
        ]);
        if let Some(cluster) = &self.cluster_id {
            pairs.insert("cluster.id", cluster.clone());
        }
        if let Some(directory) = self.directory_id {
            pairs.insert("directory.id", base64::encode(directory));
        }
        properties::encode(&pairs).into_bytes()
    }

    /// Reads a file of version 0 or 1; keys it does not know are passed over.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TextDamage> {
        let pairs = properties::decode(bytes)?;
        let property = |key: &str| pairs.get(key).map(|p| (p.line, p.value.trim()));
        let missing = |expected| TextDamage::malformed(1, expected);
        let (line, version) = property("version").ok_or_else(|| missing("a file with version="))?;
        let version = check_version(line, version, Self::VERSION)?;

        let node_key = if version == 0 { "broker.id" } else { "node.id" };
        let (line, node) =
            property(node_key).ok_or_else(|| missing("a file that names its node"))?;
        let node_id = node.parse().ok().filter(|id| *id >= 0);
        let node_id = node_id.ok_or_else(|| TextDamage::malformed(line, "the number of a node"))?;

        let cluster_id = property("cluster.id").map(|(_, id)| id.to_owned());
        if version > 0 && cluster_id.is_none() {
            return Err(missing("a file that names its cluster"));
        }
        let directory_id = property("directory.id")
            .map(|(line, id)| {
                base64::decode(id)
                    .ok_or_else(|| TextDamage::malformed(line, "an id of 22 characters"))
            })
            .transpose()?;
        Ok(Self { cluster_id, node_id, directory_id })
    }
}
