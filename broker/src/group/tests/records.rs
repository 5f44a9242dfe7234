//! The stored bytes: as Kafka writes them, and what becomes of bytes nobody should have written.

use crate::group::records::{
    GroupValue, Key, MemberValue, OffsetValue, RecordError, TopicPartition, encode_group_key,
    encode_offset_key,
};
use bytes::Bytes;
use std::sync::Arc;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: Arc::from(topic), partition }
}

fn offset_value() -> OffsetValue {
    OffsetValue {
        offset: 42,
        leader_epoch: 7,
        metadata: Arc::from("note"),
        commit_timestamp_ms: 1_700_000_000_000,
        expire_timestamp_ms: None,
    }
}

fn group_value() -> GroupValue {
    GroupValue {
        protocol_type: Arc::from("consumer"),
        generation: 3,
        protocol: Some(Arc::from("range")),
        leader: Some(Arc::from("m1")),
        state_since_ms: Some(1_700_000_000_000),
        members: vec![MemberValue {
            id: Arc::from("m1"),
            instance_id: None,
            client_id: Arc::from("c"),
            client_host: Arc::from("/h"),
            rebalance_timeout_ms: 60_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(b"\x01"),
            assignment: Bytes::from_static(b"\x02\x03"),
        }],
    }
}

const OFFSET_V3: &str = "0003 000000000000002a 00000007 0004 6e6f7465 0000018bcfe56800";
const GROUP_V3: &str = "0003 0008 636f6e73756d6572 00000003 0005 72616e6765 0002 6d31
    0000018bcfe56800 00000001 0002 6d31 ffff 0001 63 0002 2f68 0000ea60 00002710
    00000001 01 00000002 0203";

// G-1.
#[test]
fn keys_are_byte_exact() {
    let key = encode_offset_key("g", &partition("t", 5)).unwrap();
    assert_eq!(key, hex("0001 0001 67 0001 74 00000005"));
    assert_eq!(encode_group_key("g").unwrap(), hex("0002 0001 67"));

    let offset = Key::Offset { group: Arc::from("g"), partition: partition("t", 5) };
    assert_eq!(Key::decode(&key), Ok(offset.clone()));
    assert_eq!(Key::decode(&hex("0000 0001 67 0001 74 00000005")), Ok(offset));
    assert_eq!(Key::decode(&hex("0002 0001 67")), Ok(Key::Group { group: Arc::from("g") }));
}

// G-1: keys of other protocols, and of later brokers.
#[test]
fn keys_of_other_kinds_are_recognised_as_such() {
    for kind in [-1, 3, 9, 15, 16, 300] {
        let mut key = i16::to_be_bytes(kind).to_vec();
        key.extend_from_slice(b"whatever follows");
        assert_eq!(Key::decode(&key), Ok(Key::Other(kind)));
    }
}

// G-2.
#[test]
fn offset_values_are_byte_exact() {
    let value = offset_value();
    assert_eq!(value.encode().unwrap(), hex(OFFSET_V3));
    assert_eq!(OffsetValue::decode(&hex(OFFSET_V3)), Ok(value.clone()));

    let expiring =
        OffsetValue { leader_epoch: -1, expire_timestamp_ms: Some(1_700_000_000_001), ..value };
    let v1 = "0001 000000000000002a 0004 6e6f7465 0000018bcfe56800 0000018bcfe56801";
    assert_eq!(expiring.encode().unwrap(), hex(v1));
    assert_eq!(OffsetValue::decode(&hex(v1)), Ok(expiring));
}

// G-2.
#[test]
fn every_version_of_an_offset_value_is_read() {
    let old = OffsetValue { leader_epoch: -1, ..offset_value() };
    for version in ["0000", "0002"] {
        let bytes = hex(&format!("{version} 000000000000002a 0004 6e6f7465 0000018bcfe56800"));
        assert_eq!(OffsetValue::decode(&bytes), Ok(old.clone()));
    }
    // Version 4 with one tag of two bytes.
    let flexible = hex("0004 000000000000002a 00000007 05 6e6f7465 0000018bcfe56800 01 00 02 abcd");
    assert_eq!(OffsetValue::decode(&flexible), Ok(offset_value()));
    let unknown = OffsetValue::decode(&hex("0005 00"));
    assert_eq!(unknown, Err(RecordError::UnknownVersion(5)));
    assert_eq!(OffsetValue::decode(&hex("ffff")), Err(RecordError::UnknownVersion(-1)));
}

// G-2.
#[test]
fn group_values_are_byte_exact() {
    assert_eq!(group_value().encode().unwrap(), hex(GROUP_V3));
    assert_eq!(GroupValue::decode(&hex(GROUP_V3)), Ok(group_value()));
}

// G-2.
#[test]
fn every_version_of_a_group_value_is_read() {
    let head = "0008 636f6e73756d6572 00000003 0005 72616e6765 0002 6d31";
    let member = "0002 6d31 0001 63 0002 2f68";
    let rest = "00002710 00000001 01 00000002 0203";
    let with = |version: &str, since: &str, rebalance: &str| {
        hex(&format!("{version} {head} {since} 00000001 {member} {rebalance} {rest}"))
    };
    let v2 = GroupValue::decode(&with("0002", "0000018bcfe56800", "0000ea60"));
    assert_eq!(v2, Ok(group_value()));
    let v1 = GroupValue::decode(&with("0001", "", "0000ea60")).unwrap();
    assert_eq!(v1, GroupValue { state_since_ms: None, ..group_value() });
    let v0 = GroupValue::decode(&with("0000", "", "")).unwrap();
    assert_eq!(v0.members[0].rebalance_timeout_ms, 10_000);
    let v4 = hex("0004 09 636f6e73756d6572 00000003 06 72616e6765 03 6d31 0000018bcfe56800
        02 03 6d31 00 02 63 03 2f68 0000ea60 00002710 02 01 03 0203 00 00");
    assert_eq!(GroupValue::decode(&v4), Ok(group_value()));
}

#[test]
fn bytes_cut_anywhere_are_an_error() {
    let (offset, group) = (hex(OFFSET_V3), hex(GROUP_V3));
    for cut in 0..offset.len() {
        assert!(OffsetValue::decode(&offset[..cut]).is_err(), "{cut}");
    }
    for cut in 0..group.len() {
        assert!(GroupValue::decode(&group[..cut]).is_err(), "{cut}");
    }
    let key = encode_offset_key("group", &partition("topic", 5)).unwrap();
    for cut in 0..key.len() {
        assert!(Key::decode(&key[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn lengths_and_counts_are_not_believed() {
    let count = hex("0003 0000 00000000 ffff ffff 0000000000000000 7fffffff");
    assert_eq!(GroupValue::decode(&count), Err(RecordError::Truncated));
    let negative = hex("0003 0000 00000000 ffff ffff 0000000000000000 fffffffe");
    assert_eq!(GroupValue::decode(&negative), Err(RecordError::BadLength));
    let null = hex("0003 ffff");
    assert_eq!(GroupValue::decode(&null), Err(RecordError::BadLength));
    let varint = hex("0004 ffffffffff7f");
    assert_eq!(GroupValue::decode(&varint), Err(RecordError::BadLength));
    assert_eq!(Key::decode(&hex("0002 0002 c328")), Err(RecordError::NotUtf8));
    let tags = hex("0004 000000000000002a 00000007 01 0000018bcfe56800 ffffffff0f");
    assert_eq!(OffsetValue::decode(&tags), Err(RecordError::Truncated));
}

#[test]
fn what_does_not_fit_its_length_is_not_written() {
    let long = "x".repeat(32_768);
    assert_eq!(encode_group_key(&long), Err(RecordError::TooLong));
    assert!(encode_group_key(&long[1..]).is_ok());
}

/// Random damage to good bytes is read or refused, never a panic.
#[test]
fn damaged_bytes_never_panic() {
    let mut random = super::random::Random::new(7);
    for original in [hex(OFFSET_V3), hex(GROUP_V3)] {
        for _ in 0..20_000 {
            let mut bytes = original.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
            let group = GroupValue::decode(&bytes);
            if let Ok(value) = group.as_ref() {
                assert!(value.members.len() < bytes.len());
            }
            drop((OffsetValue::decode(&bytes), Key::decode(&bytes)));
        }
    }
}
