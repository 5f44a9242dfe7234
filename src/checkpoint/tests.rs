//! The text files, byte for byte, and what a damaged one gives.

use super::*;
use crate::io::{DirEntry, DirLock, File, StorageInfo, WriteOp};
use crate::options::LogName;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

fn offsets(entries: &[(&str, i32, i64)]) -> OffsetCheckpoint {
    let offsets = entries
        .iter()
        .map(|(topic, partition, offset)| {
            (LogName::new(topic, *partition).unwrap(), Offset::new(*offset))
        })
        .collect();
    OffsetCheckpoint { offsets }
}

// D-45, D-46.
#[test]
fn an_offset_checkpoint_is_three_words_for_each_log() {
    let checkpoint = offsets(&[("orders", 1, 17), ("orders", 0, 1042), ("a.b", 12, i64::MAX)]);
    let text = b"0\n3\na.b 12 9223372036854775807\norders 0 1042\norders 1 17\n";
    assert_eq!(checkpoint.encode(), text);
    assert_eq!(OffsetCheckpoint::decode(text), Ok(checkpoint));
    assert_eq!(OffsetCheckpoint::default().encode(), b"0\n0\n");
}

#[test]
fn an_offset_checkpoint_may_be_empty_or_lack_its_last_line_end() {
    assert_eq!(OffsetCheckpoint::decode(b""), Ok(OffsetCheckpoint::default()));
    assert_eq!(OffsetCheckpoint::decode(b"0\n0\n"), Ok(OffsetCheckpoint::default()));
    let one = offsets(&[("t", 0, 5)]);
    assert_eq!(OffsetCheckpoint::decode(b"0\n1\nt 0 5"), Ok(one.clone()));
    assert_eq!(OffsetCheckpoint::decode(b"0\r\n1\r\nt  0\t5\r\n"), Ok(one));
}

// D-45: version and count must match exactly.
#[test]
fn a_malformed_checkpoint_names_its_line() {
    for (text, line) in [
        (&b"x\n0\n"[..], 1),
        (b"-1\n0\n", 1),
        (b"\n", 1),
        (b"0\n", 2),
        (b"0\n-1\n", 2),
        (b"0\n1\n", 2),
        (b"0\n1\nt 0 5\nt 1 5\n", 2),
        (b"0\n1\nt 0 5\n\n", 2),
        (b"0\n99999999999999999999\n", 2),
        (b"0\n4294967296\nt 0 5\n", 2),
        (b"0\n2\nt 0 5\nt 1\n", 4),
        (b"0\n2\nt 0 5\nt 1 5 6\n", 4),
        (b"0\n1\nt 0 -5\n", 3),
        (b"0\n1\nt -1 5\n", 3),
        (b"0\n1\n../t 0 5\n", 3),
        (b"0\n2\nt 0 5\nt 0 6\n", 4),
        (b"0\n1\nt\xff 0 5\n", 3),
    ] {
        match OffsetCheckpoint::decode(text) {
            Err(TextDamage::Malformed { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
            other => panic!("{text:?} gave {other:?}"),
        }
    }
}

#[test]
fn a_newer_file_is_refused_by_its_version_alone() {
    let newer = OffsetCheckpoint::decode(b"7\nwhatever it is by then\n").unwrap_err();
    assert_eq!(newer, TextDamage::Newer { version: 7 });
    let error = newer.into_error(Path::new("data/some-checkpoint"));
    assert_eq!(*error.kind(), ErrorKind::NewerFormat);
    assert!(error.to_string().contains("some-checkpoint"), "{error}");

    let id = PartitionMetadata::decode(b"version: 1\nid: x");
    assert_eq!(id, Err(TextDamage::Newer { version: 1 }));
    let owner = MetaProperties::decode(b"version=2\n");
    assert_eq!(owner, Err(TextDamage::Newer { version: 2 }));
}

// D-50.
#[test]
fn partition_metadata_is_a_version_and_an_id() {
    let bytes: Vec<u8> = (0xf0..=0xff).collect();
    let metadata = PartitionMetadata { topic_id: bytes.try_into().unwrap() };
    let text = b"version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-_w";
    assert_eq!(metadata.encode(), text);
    assert_eq!(PartitionMetadata::decode(text), Ok(metadata));
    assert_eq!(
        PartitionMetadata::decode(b"version:0\ntopic_id :8PHy8_T19vf4-fr7_P3-_w\n"),
        Ok(metadata)
    );
}

#[test]
fn partition_metadata_of_another_shape_is_malformed() {
    for text in [
        "",
        "version: 0",
        "version: x\ntopic_id: 8PHy8_T19vf4-fr7_P3-_w",
        "version: 0\ntopic: 8PHy8_T19vf4-fr7_P3-_w",
        "version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-_",
        "version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-_wA",
        "version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-_x",
        "version: 0\ntopic_id: 8PHy8/T19vf4+fr7/P3+/w",
        "version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-\u{e9}",
        "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
        "version: 0\ntopic_id: 8PHy8_T19vf4-fr7_P3-_w\n\n",
    ] {
        let damage = PartitionMetadata::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(damage, TextDamage::Malformed { .. }), "{text:?}: {damage:?}");
    }
}

#[test]
fn every_bit_of_an_id_comes_back_from_its_text() {
    for bit in 0..128 {
        let id = (1_u128 << bit).to_be_bytes();
        let text = base64::encode(id);
        assert_eq!(text.len(), 22);
        assert_eq!(base64::decode(&text), Some(id), "{text}");
    }
    assert_eq!(base64::encode([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(base64::encode([0xff; 16]), "_____________________w");
}

// D-52.
#[test]
fn meta_properties_name_cluster_node_and_directory() {
    let mut owner = MetaProperties {
        cluster_id: Some("MkU3OEVBNTcwNTJENDM2Qg".into()),
        node_id: 1,
        directory_id: Some([0xff; 16]),
    };
    let text = "cluster.id=MkU3OEVBNTcwNTJENDM2Qg\ndirectory.id=_____________________w\n\
                node.id=1\nversion=1\n";
    assert_eq!(owner.encode(), text.as_bytes());
    assert_eq!(MetaProperties::decode(text.as_bytes()), Ok(owner.clone()));

    owner.cluster_id = Some(" a=b:c#!\\\t\n\r\x0c\u{e9}\u{1f600} d".into());
    let escaped = owner.encode();
    assert!(escaped.is_ascii());
    assert!(str::from_utf8(&escaped).unwrap().contains("\\u00E9\\uD83D\\uDE00 d\n"));
    // Blanks around an identity are not part of it; the others come back.
    owner.cluster_id = owner.cluster_id.map(|id| id.trim().to_owned());
    assert_eq!(MetaProperties::decode(&escaped), Ok(owner));
}

// D-52: what Kafka wrote, over the years.
#[test]
fn meta_properties_of_every_age_are_read() {
    let kafka = b"#\n#Sat Nov 21 03:00:00 UTC 2026\ncluster.id=abc\ndirectory.id=_____________________w\nnode.id=3\nversion=1\n";
    assert_eq!(
        MetaProperties::decode(kafka),
        Ok(MetaProperties {
            cluster_id: Some("abc".into()),
            node_id: 3,
            directory_id: Some([0xff; 16])
        })
    );
    assert_eq!(
        MetaProperties::decode(b"broker.id=2\r\nversion=0\r\n"),
        Ok(MetaProperties { cluster_id: None, node_id: 2, directory_id: None })
    );
}

#[test]
fn properties_are_read_as_java_reads_them() {
    let text = b"  ! comment = 1\n\n# no \\\nkey\\ 1 : a\\\n   b\\\\\nk2=\nk3\nk4   v4\nk5\\==\\u0041\\q\\\r\nk6\t=\te\xe9\\";
    let pairs = properties::decode(text).unwrap();
    let pairs: BTreeMap<_, _> = pairs.iter().map(|(k, p)| (k.as_str(), p.value.as_str())).collect();
    let expected =
        [("key 1", "ab\\"), ("k2", ""), ("k3", ""), ("k4", "v4"), ("k5=", "Aq"), ("k6", "e\u{e9}")];
    assert_eq!(pairs, BTreeMap::from(expected));
}

#[test]
fn meta_properties_of_another_shape_are_malformed() {
    for text in [
        "",
        "node.id=1\ncluster.id=c\n",
        "version=x\nnode.id=1\ncluster.id=c\n",
        "version=-1\nnode.id=1\ncluster.id=c\n",
        "version=1\ncluster.id=c\n",
        "version=1\nbroker.id=1\ncluster.id=c\n",
        "version=1\nnode.id=-1\ncluster.id=c\n",
        "version=1\nnode.id=1\n",
        "version=1\nnode.id=1\ncluster.id=c\ndirectory.id=short\n",
        "version=1\nnode.id=1\ncluster.id=\\u12\n",
        "version=1\nnode.id=1\ncluster.id=\\u+123\n",
        "version=1\nnode.id=1\ncluster.id=\\uD83D\n",
    ] {
        let damage = MetaProperties::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(damage, TextDamage::Malformed { .. }), "{text:?}: {damage:?}");
    }
}

#[test]
fn only_temporary_names_of_our_files_are_swept() {
    for ours in [
        "recovery-point-offset-checkpoint.tmp",
        ".kafka_cleanshutdown.tmp",
        "partition.metadata.tmp",
        "leader-epoch-checkpoint.tmp",
        "00000000000000000042.snapshot.tmp",
    ] {
        assert!(is_temporary(ours), "{ours}");
    }
    for other in ["notes.tmp", ".tmp", "meta.properties", "meta.properties.tmp.tmp", "42.log.tmp"] {
        assert!(!is_temporary(other), "{other}");
    }
}

/// Files in memory, and what was done to them in which order. A call can be made to fail.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    files: BTreeMap<PathBuf, Vec<u8>>,
    calls: Vec<String>,
    failing: Option<&'static str>,
}

#[derive(Debug)]
struct RecordedFile(Recorder, PathBuf);

impl Recorder {
    fn call(&self, name: &str, path: &Path) -> io::Result<()> {
        let mut recorded = self.0.lock();
        recorded.calls.push(format!("{name} {}", path.display()));
        if recorded.failing == Some(name) { Err(io::Error::other("planted")) } else { Ok(()) }
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().calls)
    }

    fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().files.get(Path::new(path)).cloned()
    }
}

impl Storage for Recorder {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("recorder", "a test")
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("create_dir", path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.call("list_dir", path)?;
        let recorded = self.0.lock();
        let names = recorded.files.keys().filter_map(|file| file.strip_prefix(path).ok()?.to_str());
        Ok(names.map(|name| DirEntry::new(name, false)).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync_dir", path)
    }

    fn open(&self, path: &Path, mode: OpenMode, _direct: bool) -> io::Result<Arc<dyn File>> {
        self.call("open", path)?;
        let mut recorded = self.0.lock();
        match mode {
            OpenMode::CreateNew if recorded.files.contains_key(path) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            OpenMode::CreateNew | OpenMode::Truncate => {
                recorded.files.insert(path.into(), Vec::new());
            }
            _ if recorded.files.contains_key(path) => {}
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(Arc::new(RecordedFile(self.clone(), path.into())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", to)?;
        let mut recorded = self.0.lock();
        let bytes = recorded.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        recorded.files.insert(to.into(), bytes);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call("remove_file", path)?;
        self.0.lock().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call("remove_dir", path)
    }

    fn lock_dir(&self, _path: &Path) -> io::Result<Box<dyn DirLock>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn write_all(&self, _group: Vec<WriteOp>) -> Vec<io::Result<()>> {
        Vec::new()
    }
}

impl File for RecordedFile {
    fn is_direct(&self) -> bool {
        false
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.0.0.lock().files[&self.1].len()).unwrap())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    // At most three bytes at a time, so that a reader that stops after one call is found out.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.call("read", &self.1)?;
        let recorded = self.0.0.lock();
        let rest = &recorded.files[&self.1][usize::try_from(position).unwrap()..];
        let count = buf.len().min(rest.len()).min(3);
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        self.0.call("write", &self.1)?;
        assert_eq!(position, 0);
        self.0.0.lock().files.insert(self.1.clone(), buf.into());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.call("sync", &self.1)
    }

    fn map(&self, _len: usize) -> io::Result<Option<bytes::Bytes>> {
        Ok(None)
    }
}

// D-45, D-51.
#[test]
fn a_replacement_is_flushed_before_it_takes_the_name() {
    let storage = Recorder::default();
    replace_file(&storage, Path::new("d"), CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_BODY).unwrap();
    assert_eq!(
        storage.calls(),
        [
            "open d/.kafka_cleanshutdown.tmp",
            "write d/.kafka_cleanshutdown.tmp",
            "sync d/.kafka_cleanshutdown.tmp",
            "rename d/.kafka_cleanshutdown",
            "sync_dir d",
        ]
    );
    let body = storage.file("d/.kafka_cleanshutdown").unwrap();
    assert_eq!(body, b"{\"version\":0,\"brokerEpoch\":-1}");
}

/// What made the last attempt fail may have left its file, of which nothing is known.
#[test]
fn files_that_are_replaced_together_share_the_flush_of_the_directory() {
    let storage = Recorder::default();
    let (full, empty) = (("a", &b"x"[..]), ("b", &b""[..]));
    replace_files(&storage, Path::new("d"), &[full, empty]).unwrap();
    let whole = ["rename d/a", "rename d/b", "sync_dir d"];
    let first = ["open d/a.tmp", "write d/a.tmp", "open d/b.tmp", "sync d/a.tmp"];
    assert_eq!(storage.calls(), [&first[..], &whole[..]].concat());
    for (name, left) in [("a.tmp", b"left over"), ("b.tmp", b"of before")] {
        storage.0.lock().files.insert(Path::new("d").join(name), left.to_vec());
    }
    replace_files(&storage, Path::new("d"), &[full, empty]).unwrap();
    let calls = storage.calls();
    assert!(calls.contains(&"sync d/b.tmp".to_owned()), "{calls:?}");
    let found = ["d/a", "d/b"].map(|path| storage.file(path));
    assert_eq!(found, [Some(b"x".to_vec()), Some(Vec::new())]);
}

#[test]
fn a_replacement_that_fails_leaves_the_old_file() {
    let dir = Path::new("d");
    let path = "d/meta.properties";
    for failing in ["open", "write", "sync", "rename"] {
        let storage = Recorder::default();
        replace_file(&storage, dir, META_PROPERTIES, b"old").unwrap();
        storage.0.lock().failing = Some(failing);
        replace_file(&storage, dir, META_PROPERTIES, b"new").unwrap_err();
        assert_eq!(storage.file(path).as_deref(), Some(&b"old"[..]), "{failing}");

        storage.0.lock().failing = None;
        // Whoever loads the directory knows by the name that it may go.
        let entries = storage.list_dir(dir).unwrap();
        let left = entries.iter().filter(|entry| is_temporary(&entry.name)).count();
        assert_eq!(left, usize::from(failing != "open"), "{failing}");
        assert_eq!(entries.len(), 1 + left);
    }
    let storage = Recorder::default();
    storage.0.lock().failing = Some("sync_dir");
    replace_file(&storage, dir, META_PROPERTIES, b"new").unwrap_err();
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let storage = Recorder::default();
    let path = Path::new("d/meta.properties");
    assert_eq!(read_file(&storage, path, 100).unwrap(), None);
    replace_file(&storage, Path::new("d"), META_PROPERTIES, b"0123456789").unwrap();
    assert_eq!(read_file(&storage, path, 10).unwrap().as_deref(), Some(&b"0123456789"[..]));
    storage.calls();
    let error = read_file(&storage, path, 9).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(storage.calls(), ["open d/meta.properties"]);
    storage.0.lock().failing = Some("read");
    assert_eq!(read_file(&storage, path, 10).unwrap_err().kind(), io::ErrorKind::Other);
}
