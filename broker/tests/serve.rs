//! The broker's answers, over a real socket, to a client that checks every byte's meaning.
//!
//! A failure means that a Kafka client would have been told something wrong. Each test starts a
//! server of its own in a fresh directory.

mod common;

use bytes::{BufMut, BytesMut};
use common::{Client, Node, batch, fetch, produce, produced, sequenced, values};
use oncelog::{AppendOptions, Engine, LogConfig, LogName};
use oncelog_broker::protocol::api_versions::API as API_VERSIONS;
use oncelog_broker::protocol::create_topics::CreatableTopic;
use oncelog_broker::protocol::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use oncelog_broker::protocol::describe_configs::DescribeConfigsResource;
use oncelog_broker::protocol::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use oncelog_broker::protocol::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use oncelog_broker::protocol::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use oncelog_broker::protocol::offset_fetch::OffsetFetchRequestTopic;
use oncelog_broker::protocol::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, FetchRequest, FindCoordinatorRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, Response,
};
use std::time::Duration;
use tokio::time::Instant;

const FETCH: i16 = 1;
const PRODUCE: i16 = 0;

async fn metadata(client: &mut Client, name: &str, create: bool) -> MetadataResponseTopic {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: create,
        ..MetadataRequest::default()
    };
    match client.call(request, 12).await {
        Response::Metadata(mut response) => response.topics.remove(0),
        other => panic!("{other:?}"),
    }
}

async fn producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest { producer_epoch: -1, ..Default::default() };
    match client.call(request, 4).await {
        Response::InitProducerId(response) => {
            assert_eq!((response.error_code, response.producer_epoch), (0, 0));
            response.producer_id
        }
        other => panic!("{other:?}"),
    }
}

async fn list_offset(client: &mut Client, topic: &str, timestamp: i64) -> (i16, i64) {
    let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { topics, ..ListOffsetsRequest::default() };
    match client.call(request, 7).await {
        Response::ListOffsets(response) => {
            let found = &response.topics[0].partitions[0];
            (found.error_code, found.offset)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_produced_is_fetched_byte_for_byte() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    // B-13: a topic that is asked for is there at once.
    let topic = metadata(&mut client, "t", true).await;
    assert_eq!((topic.error_code, topic.partitions.len()), (0, 1));
    let id = producer_id(&mut client).await;
    let sent = sequenced(id, 0, &["a", "b"]);
    let first = client.produce("t", 0, sent.clone()).await;
    assert_eq!((first.error_code, first.base_offset, first.log_append_time_ms), (0, 0, -1));
    // P-5: a retry is a success with the original offset.
    let again = client.produce("t", 0, sent.clone()).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    let data = client.read("t", 0, 0).await;
    assert_eq!((data.error_code, data.high_watermark, data.log_start_offset), (0, 2, 0));
    assert_eq!(values(&data), ["a", "b"]);
    // Base offset and leader epoch are the broker's, everything behind them is the client's.
    let stored = data.records.0.concat();
    assert_eq!(stored[17..], sent[17..]);
    let (error, end) = list_offset(&mut client, "t", -1).await;
    assert_eq!((error, end), (0, 2));
    node.server.shutdown().await.unwrap();
}

// S-84, B-5.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_produces_are_answered_in_order_with_offsets_in_order() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    let id = producer_id(&mut client).await;
    let mut sent = Vec::new();
    for sequence in 0..50 {
        let request = produce("t", 0, sequenced(id, sequence, &["x"]), -1);
        sent.push(client.send(request, 9).await);
    }
    for (offset, correlation_id) in (0..).zip(sent) {
        let (answered, response) = client.receive(PRODUCE, 9).await;
        let answer = produced(response);
        assert_eq!((answered, answer.error_code), (correlation_id, 0));
        assert_eq!(answer.base_offset, offset);
    }
}

// S-85, B-2, B-3.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_of_api_versions_is_answered_and_any_other_closes() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    // From version 3 on a header ends with tagged fields: none here.
    for (version, tags) in [(99_i16, &[0_u8][..]), (-1, &[])] {
        let mut frame = BytesMut::new();
        frame.put_i32(if tags.is_empty() { 10 } else { 11 });
        frame.put_i16(18);
        frame.put_i16(version);
        frame.put_i32(7);
        frame.put_i16(-1);
        frame.put_slice(tags);
        client.raw(&frame).await;
        let answer = client.frame().await.unwrap();
        // Correlation id, error 35, one api: 18 from 0 to 4.
        let expected = [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
        assert_eq!(answer[..], expected);
    }
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
    };
    let Response::ApiVersions(response) = client.call(request, API_VERSIONS.max).await else {
        panic!("another answer")
    };
    let produce = response.api_keys.iter().find(|api| api.api_key == 0).unwrap();
    assert_eq!((response.error_code, produce.min_version, produce.max_version), (0, 0, 11));
    client.raw(&[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff]).await;
    assert!(client.is_closed().await);
}

// S-83, A-3, A-4, A-6.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_produces_are_refused_each_with_its_code() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    let answer = client.call(produce("t", 0, batch(&["x"]), 2), 9).await;
    assert_eq!(produced(answer).error_code, 21);
    let two = [batch(&["x"]), batch(&["y"])].concat();
    assert_eq!(client.produce("t", 0, two.into()).await.error_code, 87);
    let mut zstd = BytesMut::from(&batch(&["x"])[..]);
    zstd[22] |= 4;
    let answer = client.call(produce("t", 0, zstd.freeze(), -1), 6).await;
    assert_eq!(produced(answer).error_code, 76);
    let mut damaged = BytesMut::from(&batch(&["x"])[..]);
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(client.produce("t", 0, damaged.freeze()).await.error_code, 2);
    assert_eq!(client.produce("t", 9, batch(&["x"])).await.error_code, 3);
    assert_eq!(client.produce("nowhere", 0, batch(&["x"])).await.error_code, 3);
    let refused = client.produce("t", 0, bytes::Bytes::new()).await;
    assert_eq!((refused.error_code, refused.base_offset), (87, -1));
    let mut transactional = BytesMut::from(&batch(&["x"])[..]);
    transactional[22] |= 0x10;
    assert_eq!(client.produce("t", 0, transactional.freeze()).await.error_code, 53);
    let (_, end) = list_offset(&mut client, "t", -1).await;
    assert_eq!(end, 0, "nothing was stored");
}

// S-83, A-46.
#[tokio::test(flavor = "multi_thread")]
async fn acks_zero_is_silent_and_an_error_closes_the_connection() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    client.send(produce("t", 0, batch(&["x"]), 0), 9).await;
    let acknowledged = client.produce("t", 0, batch(&["y"])).await;
    assert_eq!(acknowledged.base_offset, 1, "the silent one came before");
    client.send(produce("nowhere", 0, batch(&["x"]), 0), 9).await;
    assert!(client.is_closed().await);
}

// B-24, B-27, B-30.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_data_and_no_longer_than_asked() {
    let node = Node::start(&[]).await;
    let (mut reader, mut writer) = (node.client().await, node.client().await);
    assert_eq!(writer.create("t", 1, &[]).await, 0);
    let waiting = FetchRequest { max_wait_ms: 15_000, min_bytes: 1, ..fetch(&[("t", 0, 0)]) };
    let begun = Instant::now();
    reader.send(waiting, 12).await;
    assert_eq!(writer.produce("t", 0, batch(&["x"])).await.error_code, 0);
    let (_, response) = reader.receive(FETCH, 12).await;
    let Response::Fetch(response) = response else { panic!("another answer") };
    assert_eq!(values(&response.responses[0].partitions[0]), ["x"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "woken by the data, not by the clock");
    let patient = FetchRequest { max_wait_ms: 200, min_bytes: 1, ..fetch(&[("t", 0, 1)]) };
    let begun = Instant::now();
    let empty = reader.fetch(patient, 12).await;
    assert!(empty.responses[0].partitions[0].records.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let beyond = reader.read("t", 0, 5).await;
    assert_eq!((beyond.error_code, beyond.high_watermark), (1, -1));
}

// B-25.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_partition_with_data_always_makes_progress() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 3, &[]).await, 0);
    let large = "x".repeat(5000);
    for partition in [1, 2] {
        assert_eq!(client.produce("t", partition, batch(&[&large])).await.error_code, 0);
    }
    let tight = FetchRequest { max_bytes: 1, ..fetch(&[("t", 0, 0), ("t", 2, 0), ("t", 1, 0)]) };
    let response = client.fetch(tight, 12).await;
    let partitions: Vec<_> = response.responses.iter().flat_map(|t| &t.partitions).collect();
    let sizes: Vec<_> = partitions.iter().map(|p| (p.partition_index, p.records.len())).collect();
    assert_eq!(sizes[0], (0, 0));
    assert!(sizes[1].0 == 2 && sizes[1].1 > 5000);
    assert_eq!(sizes[2], (1, 0));
}

// S-82, B-31.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_repeats_nothing_that_has_not_changed() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 2, &[]).await, 0);
    let open = FetchRequest { session_epoch: 0, ..fetch(&[("t", 0, 0), ("t", 1, 0)]) };
    let opened = client.fetch(open, 12).await;
    assert!(opened.session_id > 0);
    let go_on =
        |session_epoch| FetchRequest { session_id: opened.session_id, session_epoch, ..fetch(&[]) };
    assert!(client.fetch(go_on(1), 12).await.responses.is_empty());
    assert_eq!(client.produce("t", 1, batch(&["x"])).await.error_code, 0);
    let news = client.fetch(go_on(2), 12).await;
    assert_eq!(news.responses.len(), 1);
    assert_eq!(news.responses[0].partitions[0].partition_index, 1);
    assert_eq!(client.fetch(go_on(7), 12).await.error_code, 71);
    let stranger = FetchRequest { session_id: 12345, session_epoch: 1, ..fetch(&[]) };
    assert_eq!(client.fetch(stranger, 12).await.error_code, 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_records_and_producer_ids_survive_a_restart() {
    let node = Node::start(&["num.partitions=3"]).await;
    let mut client = node.client().await;
    let before = metadata(&mut client, "auto", true).await;
    assert_eq!(before.partitions.len(), 3);
    assert_eq!(client.create("made", 2, &[("retention.ms", "60000")]).await, 0);
    let id = producer_id(&mut client).await;
    let sent = sequenced(id, 0, &["a"]);
    assert_eq!(client.produce("made", 1, sent.clone()).await.base_offset, 0);
    let node = node.restart().await;
    let mut client = node.client().await;
    let after = metadata(&mut client, "auto", false).await;
    assert_eq!(after.topic_id, before.topic_id);
    assert_eq!(values(&client.read("made", 1, 0).await), ["a"]);
    assert_eq!(client.produce("made", 1, sent).await.base_offset, 0, "still a duplicate");
    let next = producer_id(&mut client).await;
    assert!(next > id, "{next} was handed out after {id}");
    let configs = topic_configs(&mut client, "made").await;
    assert_eq!(configs["retention.ms"], "60000");
    assert_eq!(configs["cleanup.policy"], "delete");
}

async fn topic_configs(
    client: &mut Client,
    topic: &str,
) -> std::collections::HashMap<String, String> {
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: topic.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    match client.call(request, 4).await {
        Response::DescribeConfigs(response) => {
            assert_eq!(response.results[0].error_code, 0);
            let configs = &response.results[0].configs;
            let pair =
                |c: &oncelog_broker::protocol::describe_configs::DescribeConfigsResourceResult| {
                    (c.name.to_string(), c.value.clone().unwrap_or_default().to_string())
                };
            configs.iter().map(pair).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// A log beside the registry, as a crash between two steps leaves it.
#[expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]
fn stray(engine: &Engine, topic: &str, id: [u8; 16], value: Option<&str>) {
    let name = LogName::new(topic, 0).unwrap();
    let log = engine.create_log(&name, id, LogConfig::default()).unwrap();
    if let Some(value) = value {
        log.append(&batch(&[value]), &AppendOptions::default()).unwrap().wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_creation_or_deletion_leaves_no_trace_and_other_data_is_adopted() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("deleted", 1, &[]).await, 0);
    let id = metadata(&mut client, "deleted", false).await.topic_id;
    let request = DeleteTopicsRequest { topic_names: vec!["deleted".into()], ..Default::default() };
    client.call(request, 5).await;
    let node = node
        .restart_after(|engine| {
            // Created, not committed; deleted by commit, not yet by file; and somebody's data.
            stray(engine, "uncommitted", [1; 16], None);
            stray(engine, "deleted", id.0, Some("gone"));
            stray(engine, "foreign", [2; 16], Some("kept"));
        })
        .await;
    let mut client = node.client().await;
    assert_eq!(metadata(&mut client, "uncommitted", false).await.error_code, 3);
    assert_eq!(metadata(&mut client, "deleted", false).await.error_code, 3);
    assert_eq!(metadata(&mut client, "foreign", false).await.topic_id.0, [2; 16]);
    assert_eq!(values(&client.read("foreign", 0, 0).await), ["kept"]);
    for name in ["uncommitted", "deleted"] {
        assert_eq!(client.create(name, 1, &[]).await, 0, "the name is free");
        assert!(client.read(name, 0, 0).await.records.is_empty());
    }
    // Adopted for good.
    let node = node.restart().await;
    let mut client = node.client().await;
    assert_eq!(metadata(&mut client, "foreign", false).await.topic_id.0, [2; 16]);
}

// B-16, and the codes that a Kafka 4.3 broker was seen to give.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_cannot_be_are_refused_with_kafkas_codes() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("a.b", 1, &[]).await, 0);
    assert_eq!(client.create("a.b", 1, &[]).await, 36);
    assert_eq!(client.create("a_b", 1, &[]).await, 17);
    assert_eq!(client.create("a/b", 1, &[]).await, 17);
    assert_eq!(client.create("__cluster_metadata", 1, &[]).await, 42);
    assert_eq!(client.create("p", 0, &[]).await, 37);
    assert_eq!(client.create("p", 100_000, &[]).await, 44);
    assert_eq!(client.create("p", 1, &[("no.such.key", "1")]).await, 40);
    assert_eq!(client.create("p", 1, &[("retention.ms", "soon")]).await, 40);
    let replicated = CreatableTopic {
        name: "p".into(),
        num_partitions: 1,
        replication_factor: 3,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![replicated], ..Default::default() };
    let Response::CreateTopics(response) = client.call(request, 7).await else { panic!("other") };
    assert_eq!(response.topics[0].error_code, 38);
    assert_eq!(metadata(&mut client, "p", false).await.error_code, 3);
}

/// The topic of committed offsets, as Metadata shows it.
async fn offsets_topic(client: &mut Client) -> Option<MetadataResponseTopic> {
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    match client.call(request, 12).await {
        Response::Metadata(response) => {
            let is_it = |t: &MetadataResponseTopic| t.name.as_deref() == Some("__consumer_offsets");
            response.topics.into_iter().find(is_it)
        }
        other => panic!("{other:?}"),
    }
}

// B-14: the topic is there from the first search for a coordinator on, and keeps its partitions.
#[tokio::test(flavor = "multi_thread")]
async fn the_offsets_topic_appears_with_the_first_group_and_keeps_its_partitions() {
    let node = Node::start(&["offsets.topic.num.partitions=3"]).await;
    let mut client = node.client().await;
    assert_eq!(offsets_topic(&mut client).await, None);
    let search = FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() };
    match client.call(search, 2).await {
        Response::FindCoordinator(response) => assert_eq!(response.error_code, 0),
        other => panic!("{other:?}"),
    }
    let topic = offsets_topic(&mut client).await.unwrap();
    assert!(topic.is_internal);
    assert_eq!(topic.partitions.len(), 3);
    let configs = topic_configs(&mut client, "__consumer_offsets").await;
    assert_eq!(configs["cleanup.policy"], "compact");
    commit(&mut client, "g", 7).await;
    let node = node.restart_with(&["offsets.topic.num.partitions=50"]).await;
    let mut client = node.client().await;
    let again = offsets_topic(&mut client).await.unwrap();
    assert_eq!((again.topic_id, again.partitions.len()), (topic.topic_id, 3));
    assert_eq!(committed(&mut client, "g").await, 7);
}

async fn commit(client: &mut Client, group: &str, offset: i64) {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..OffsetCommitRequestTopic::default()
    };
    assert!(matches!(client.create("t", 1, &[]).await, 0 | 36));
    let request = OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    match client.call(request, 8).await {
        Response::OffsetCommit(response) => {
            assert_eq!(response.topics[0].partitions[0].error_code, 0);
        }
        other => panic!("{other:?}"),
    }
}

async fn committed(client: &mut Client, group: &str) -> i64 {
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: group.into(),
        topics: Some(vec![topic]),
        ..OffsetFetchRequest::default()
    };
    match client.call(request, 7).await {
        Response::OffsetFetch(response) => response.topics[0].partitions[0].committed_offset,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_is_gone_and_its_name_is_free() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    assert_eq!(client.produce("t", 0, batch(&["old"])).await.error_code, 0);
    let id = metadata(&mut client, "t", false).await.topic_id;
    let delete = || DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    for expected in [0, 3] {
        let Response::DeleteTopics(response) = client.call(delete(), 5).await else {
            panic!("another answer")
        };
        assert_eq!(response.responses[0].error_code, expected);
    }
    assert_eq!(client.read("t", 0, 0).await.error_code, 3);
    assert_eq!(client.create("t", 1, &[]).await, 0);
    assert_ne!(metadata(&mut client, "t", false).await.topic_id, id);
    assert!(client.read("t", 0, 0).await.records.is_empty());
    let node = node.restart().await;
    let mut client = node.client().await;
    assert!(client.read("t", 0, 0).await.records.is_empty());
}

// B-29.
#[tokio::test(flavor = "multi_thread")]
async fn a_zstd_topic_is_not_shown_to_clients_that_cannot_read_it() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[("compression.type", "zstd")]).await, 0);
    for (version, expected) in [(9, 76), (10, 0)] {
        let response = client.fetch(fetch(&[("t", 0, 0)]), version).await;
        assert_eq!(response.responses[0].partitions[0].error_code, expected, "{version}");
    }
}

// B-5: a produce behind a waiting fetch neither overtakes it nor wakes it.
#[tokio::test(flavor = "multi_thread")]
async fn requests_behind_a_waiting_fetch_wait_their_turn() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    let patient = FetchRequest { max_wait_ms: 300, min_bytes: 1, ..fetch(&[("t", 0, 0)]) };
    let first = client.send(patient, 12).await;
    let second = client.send(produce("t", 0, batch(&["x"]), -1), 9).await;
    let (answered, response) = client.receive(FETCH, 12).await;
    let Response::Fetch(response) = response else { panic!("another answer") };
    assert_eq!(answered, first);
    assert!(response.responses[0].partitions[0].records.is_empty());
    let (answered, response) = client.receive(PRODUCE, 9).await;
    assert_eq!((answered, produced(response).base_offset), (second, 0));
}

//
#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_stay_deleted() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    for value in ["a", "b", "c"] {
        assert_eq!(client.produce("t", 0, batch(&[value])).await.error_code, 0);
    }
    for (offset, expected) in [(2, (0, 2)), (1, (0, 2)), (9, (1, -1)), (-1, (0, 3))] {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
        let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
        let request = DeleteRecordsRequest { topics, ..DeleteRecordsRequest::default() };
        let Response::DeleteRecords(response) = client.call(request, 2).await else {
            panic!("another answer")
        };
        let answer = &response.topics[0].partitions[0];
        assert_eq!((answer.error_code, answer.low_watermark), expected, "offset {offset}");
    }
    let node = node.restart().await;
    let mut client = node.client().await;
    assert_eq!(list_offset(&mut client, "t", -2).await, (0, 3));
    assert_eq!(client.read("t", 0, 0).await.error_code, 1);
}

// T-22, T-24.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_name_and_by_time() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    assert_eq!(client.produce("t", 0, batch(&["a", "b"])).await.error_code, 0);
    let cases = [
        (-2, (0, 0)),
        (-1, (0, 2)),
        (-3, (0, 0)),
        (0, (0, 0)),
        (1_700_000_000_000, (0, 0)),
        (1_700_000_000_001, (0, -1)),
        (-4, (35, -1)),
    ];
    for (timestamp, expected) in cases {
        assert_eq!(list_offset(&mut client, "t", timestamp).await, expected, "{timestamp}");
    }
    assert_eq!(list_offset(&mut client, "nowhere", -1).await, (3, -1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_this_node() {
    let node = Node::start(&["node.id=7", "advertised.listeners=PLAINTEXT://example:1234"]).await;
    let mut client = node.client().await;
    let Response::DescribeCluster(cluster) =
        client.call(DescribeClusterRequest::default(), 1).await
    else {
        panic!("another answer")
    };
    let broker = &cluster.brokers[0];
    assert_eq!((cluster.controller_id, broker.broker_id), (7, 7));
    assert_eq!((broker.host.as_str(), broker.port), ("example", 1234));
    assert_eq!(cluster.cluster_id.len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_cannot_have_one_directory() {
    let node = Node::start(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let options = oncelog_broker::ServeOptions::new(directory.path());
    let first = oncelog_broker::Server::start(options.clone()).await.unwrap();
    let refused = oncelog_broker::Server::start(options).await.unwrap_err();
    assert!(matches!(refused, oncelog_broker::ServeError::Engine(_)), "{refused}");
    first.shutdown().await.unwrap();
    let mut options = oncelog_broker::ServeOptions::new(directory.path());
    options.listen = node.address().to_string();
    let refused = oncelog_broker::Server::start(options).await.unwrap_err();
    assert!(refused.to_string().contains("cannot listen on"), "{refused}");
}
