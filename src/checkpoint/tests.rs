//! The text files, byte for byte, and what a damaged one gives.

use super::*;
use crate::options::LogName;
use std::collections::BTreeMap;

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
    let newer = Err(TextDamage::Newer { version: 7 });
    assert_eq!(OffsetCheckpoint::decode(b"7\nwhatever it is by then\n"), newer);
    let error = newer.unwrap_err().into_error(Path::new("data/some-checkpoint"));
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
