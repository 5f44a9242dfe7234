//! The wire codec against two codecs nobody here wrote.
//!
//! Method: `codec_vectors/codec.vectors` holds every api and version in the bytes of Kafka's own Java
//! client (see `Vectors.java` beside it), each message once with every field set to a value of its
//! own and once as empty as it can be, and beside the bytes what they mean. We must read that
//! meaning and write those bytes. The crate `kafka-protocol` must agree wherever it knows the version.
//! A failure means that a table is wrong: a field's place, type, versions or tag.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its own data has failed")]

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use oncelog_broker::protocol::{
    APIS, ApiInfo, ApiVersionsResponse, DecodeError, EncodeError, FetchResponse, HeartbeatRequest,
    MetadataRequest, ProduceRequest, Reader, Records, Request, RequestHeader, Response,
    ResponseHeader, Str, Uuid, Writer, api_info, fetch, metadata, produce,
};
use std::collections::HashMap;
use std::fmt::{Debug, Display};

const VECTORS: &str = include_str!("codec_vectors/codec.vectors");

/// OffsetCommit 10 and OffsetFetch 10: its list of versions has them, its messages do not.
const REFUSED_BY_KAFKA_PROTOCOL: [(i16, i16); 2] = [(8, 10), (9, 10)];

struct Vector {
    api: &'static ApiInfo,
    version: i16,
    is_request: bool,
    bytes: Bytes,
    text: &'static str,
}

fn vectors() -> impl Iterator<Item = Vector> {
    VECTORS.lines().map(|line| {
        let mut parts = line.splitn(5, ' ');
        let mut next = || parts.next().unwrap();
        Vector {
            api: api_info(next().parse().unwrap()).unwrap(),
            version: next().parse().unwrap(),
            is_request: next() == "request",
            bytes: unhex(next()),
            text: next(),
        }
    })
}

fn unhex(hex: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

impl Vector {
    fn name(&self) -> String {
        let kind = if self.is_request { "request" } else { "response" };
        format!("{} {kind} version {}: {}", self.api.name, self.version, self.text)
    }

    /// Reads `bytes` as a message of this kind; gives its meaning and what we write for it.
    fn read(&self, bytes: Bytes) -> Result<(String, Bytes), DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut writer = Writer::new();
        let text = if self.is_request {
            let header = header(self.api.key, self.version);
            let request = Request::decode(&header, &mut reader)?;
            request.encode(&mut writer, self.version);
            meaning(&request)
        } else {
            let response = Response::decode(self.api.key, self.version, &mut reader)?;
            response.encode(&mut writer, self.version);
            meaning(&response)
        };
        Ok((text, writer.into_buffers().unwrap().concat().into()))
    }
}

/// Names the vector at which something failed.
trait OrFail<T> {
    fn or_fail(self, vector: &Vector) -> T;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, vector: &Vector) -> T {
        self.unwrap_or_else(|error| panic!("{error} in {}", vector.name()))
    }
}

fn header(api_key: i16, api_version: i16) -> RequestHeader {
    RequestHeader { api_key, api_version, ..Default::default() }
}

/// A message as `Vectors.java` prints it: names and values, without the names of the types.
fn meaning(message: &impl Debug) -> String {
    let text = format!("{message:?}").replace("Some(", "").replace(['(', ')'], "");
    let mut structs = text.split('{');
    let last = structs.next_back().unwrap();
    let before = structs.map(|part| {
        part.trim_end().trim_end_matches(|c: char| c.is_alphanumeric()).to_owned() + "{"
    });
    before.collect::<String>() + last
}

#[test]
fn every_message_of_kafkas_own_client_is_read_with_its_meaning_and_written_back_byte_for_byte() {
    for vector in vectors() {
        let (text, written) = vector.read(vector.bytes.clone()).or_fail(&vector);
        assert_eq!(text, vector.text, "{}", vector.name());
        assert_eq!(written, vector.bytes, "{}", vector.name());
    }
}

#[test]
fn the_vectors_hold_every_version_of_every_api_served() {
    let mut counts: HashMap<(i16, i16), usize> = HashMap::new();
    vectors().for_each(|vector| *counts.entry((vector.api.key, vector.version)).or_default() += 1);
    for api in APIS {
        for version in api.min..=api.max {
            assert_eq!(counts.remove(&(api.key, version)), Some(4), "{} {version}", api.name);
        }
    }
    assert!(counts.is_empty(), "{counts:?}");
}

#[test]
fn kafka_protocol_reads_and_writes_the_same_bytes_where_it_knows_the_version() {
    let mut agreed = 0;
    for vector in vectors() {
        let key = ApiKey::try_from(vector.api.key).unwrap();
        let known = key.valid_versions();
        let refused = REFUSED_BY_KAFKA_PROTOCOL.contains(&(vector.api.key, vector.version));
        if refused || !(known.min..=known.max).contains(&vector.version) {
            continue;
        }
        let mut theirs = vector.bytes.clone();
        let mut written = BytesMut::new();
        if vector.is_request {
            let request = RequestKind::decode(key, &mut theirs, vector.version);
            request.or_fail(&vector).encode(&mut written, vector.version).unwrap();
        } else {
            let response = ResponseKind::decode(key, &mut theirs, vector.version);
            response.or_fail(&vector).encode(&mut written, vector.version).unwrap();
        }
        assert!(theirs.is_empty(), "{}", vector.name());
        let (_, ours) = vector.read(written.freeze()).or_fail(&vector);
        assert_eq!(ours, vector.bytes, "{}", vector.name());
        agreed += 1;
    }
    assert!(agreed > 700, "only {agreed} vectors were compared");
}

// B-4.
#[test]
fn unknown_tagged_fields_are_skipped() {
    let mut tried = 0;
    // The empty one of each pair has no tagged field, so its last byte says that there are none.
    for vector in vectors().skip(1).step_by(2) {
        if !vector.api.is_flexible(vector.version) {
            continue;
        }
        let body = vector.bytes.strip_suffix(&[0]).unwrap();
        // Two fields nobody has defined, of two and of no bytes.
        let bytes = [body, &[2, 99, 2, 0xde, 0xad, 0xe3, 0x07, 0]].concat();
        let (text, written) = vector.read(bytes.into()).or_fail(&vector);
        assert_eq!(text, vector.text);
        assert_eq!(written, vector.bytes);
        tried += 1;
    }
    assert!(tried > 150, "only {tried} vectors were tried");
}

// librdkafka 2.16 sends three spare bytes behind Metadata 13, and Kafka takes no notice.
#[test]
fn bytes_after_a_request_are_left_unread() {
    for vector in vectors() {
        let bytes = [&vector.bytes[..], &[0]].concat();
        let outcome = vector.read(bytes.into());
        if outcome != Err(DecodeError::TrailingBytes(1)) {
            let (text, _written) = outcome.or_fail(&vector);
            assert_eq!(text, vector.text);
        }
    }
}

// B-8: the first versions announced and the first that can be read differ for Produce only.
#[test]
fn produce_is_announced_from_version_0_but_read_from_3() {
    let differing: Vec<_> = APIS.iter().filter(|api| api.advertised_min != api.min).collect();
    assert_eq!(differing, [&produce::API]);
    assert_eq!((produce::API.advertised_min, produce::API.min), (0, 3));
    let old = Request::decode(&header(0, 2), &mut Reader::new(Bytes::new()));
    assert_eq!(old, Err(DecodeError::UnsupportedVersion { api_key: 0, version: 2 }));
}

// B-1.
#[test]
fn the_client_id_keeps_its_two_byte_length_in_the_flexible_header() {
    let heartbeat = Request::from(HeartbeatRequest::default());
    for (version, header_len) in [(3, 12), (4, 13)] {
        let header = RequestHeader {
            api_key: 12,
            api_version: version,
            correlation_id: 7,
            client_id: Some(Str::from("me")),
        };
        let frame = heartbeat.to_frame(&header).unwrap().concat();
        let size = u32::try_from(frame.len() - 4).unwrap();
        assert_eq!(frame[..4], size.to_be_bytes());
        assert_eq!(
            frame[4..16],
            [0, 12, 0, version.to_be_bytes()[1], 0, 0, 0, 7, 0, 2, b'm', b'e']
        );
        let mut reader = Reader::new(Bytes::from(frame).slice(4..));
        let before = reader.remaining();
        assert_eq!(RequestHeader::decode(&mut reader), Ok(header.clone()));
        assert_eq!(before - reader.remaining(), header_len);
        assert_eq!(Request::decode(&header, &mut reader), Ok(heartbeat.clone()));
    }
}

// B-2.
#[test]
fn the_answer_to_api_versions_keeps_the_old_header() {
    let response = Response::from(ApiVersionsResponse::default());
    for version in 0..=4 {
        let frame = Bytes::from(response.to_frame(0x0102_0304, version).unwrap().concat());
        let mut reader = Reader::new(frame.slice(4..));
        let mut body = Writer::new();
        response.encode(&mut body, version);
        assert_eq!(frame[8..], body.into_buffers().unwrap().concat());
        let header = ResponseHeader::decode(&mut reader, 18, version);
        assert_eq!(header, Ok(ResponseHeader { correlation_id: 0x0102_0304 }));
        assert_eq!(Response::decode(18, version, &mut reader), Ok(response.clone()));
    }
}

#[test]
fn records_leave_in_the_buffers_they_lie_in() {
    let slices = [Bytes::from(vec![1; 4096]), Bytes::from(vec![2; 700])];
    let partition =
        fetch::PartitionData { records: Records(slices.to_vec()), ..Default::default() };
    let topic = fetch::FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    let response = Response::from(FetchResponse { responses: vec![topic], ..Default::default() });
    for version in [4, 12, 18] {
        let frame = response.to_frame(1, version).unwrap();
        let shared: Vec<_> =
            slices.iter().map(|slice| frame.iter().any(|b| b.as_ptr() == slice.as_ptr())).collect();
        assert_eq!(shared, [true, true]);
        let whole = Bytes::from(frame.concat());
        assert_eq!(whole[..4], u32::try_from(whole.len() - 4).unwrap().to_be_bytes());
        let mut reader = Reader::new(whole.slice(4..));
        ResponseHeader::decode(&mut reader, 1, version).unwrap();
        let Ok(Response::Fetch(back)) = Response::decode(1, version, &mut reader) else { panic!() };
        assert_eq!(back.responses[0].partitions[0].records.0, [slices.concat()]);
    }
}

#[test]
fn records_arrive_as_slices_of_the_frame() {
    let records = Some(Bytes::from(vec![7; 2000]));
    let partition = produce::PartitionProduceData { index: 0, records };
    let topic = produce::TopicProduceData { partition_data: vec![partition], ..Default::default() };
    let sent = ProduceRequest { topic_data: vec![topic], ..Default::default() };
    let mut writer = Writer::new();
    sent.encode(&mut writer, 9);
    let frame = Bytes::from(writer.into_buffers().unwrap().concat());
    let read = ProduceRequest::decode(&mut Reader::new(frame.clone()), 9).unwrap();
    let slice = read.topic_data[0].partition_data[0].records.as_ref().unwrap();
    assert!(frame.as_ptr_range().contains(&slice.as_ptr()));
    assert_eq!(read, sent);
}

#[test]
fn arrays_keep_their_order_and_null_stays_different_from_empty() {
    let topic = |name: &str| metadata::MetadataRequestTopic {
        name: Some(Str::from(name)),
        ..Default::default()
    };
    for topics in [None, Some(vec![]), Some(vec![topic("b"), topic("a"), topic("ü")])] {
        for version in 1..=13 {
            let sent = MetadataRequest { topics: topics.clone(), ..Default::default() };
            let mut writer = Writer::new();
            sent.encode(&mut writer, version);
            let bytes = Bytes::from(writer.into_buffers().unwrap().concat());
            let read = MetadataRequest::decode(&mut Reader::new(bytes), version).unwrap();
            assert_eq!(read.topics, sent.topics, "version {version}");
        }
    }
}

#[test]
fn null_is_written_as_empty_where_the_version_has_no_null() {
    let mut writer = Writer::new();
    MetadataRequest { topics: None, ..Default::default() }.encode(&mut writer, 0);
    assert_eq!(writer.into_buffers().unwrap().concat(), [0, 0, 0, 0]);
}

#[test]
fn what_does_not_fit_its_field_is_reported_once_the_frame_is_asked_for() {
    let long = HeartbeatRequest { group_id: Str::from("x".repeat(32768)), ..Default::default() };
    for version in [0, 4] {
        let frame = Request::from(long.clone()).to_frame(&header(12, version));
        assert_eq!(frame, Err(EncodeError::TooLong(32768)));
    }
    let wrong = Request::from(HeartbeatRequest::default()).to_frame(&header(12, 5));
    assert_eq!(wrong, Err(EncodeError::UnsupportedVersion { api_key: 12, version: 5 }));
}

#[test]
fn a_string_is_looked_up_in_a_map_by_its_text() {
    let map = HashMap::from([(Str::from("group"), 1)]);
    assert_eq!(map.get("group"), Some(&1));
    assert_eq!(Str::from("a").detached(), *"a");
}

#[test]
fn an_identity_prints_as_kafkas_tools_print_it() {
    let bytes = 0x0708_090a_0b0c_0004_0000_0000_0000_0004_u128.to_be_bytes();
    assert_eq!(Uuid(bytes).to_string(), "BwgJCgsMAAQAAAAAAAAABA");
    assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
}
