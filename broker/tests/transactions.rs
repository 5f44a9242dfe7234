//! Transactions of the older protocol over a real socket: what is seen when, who is refused what, and
//! what a restart finds. A failure means that a transactional client would be told something wrong.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

#[expect(
    dead_code,
    reason = "shared with the other tests of the broker, each of which needs its part"
)]
mod common;

use bytes::Bytes;
use common::{Client, Node, fetch, produce, produced};
use oncelog::batch::BatchBuilder;
use oncelog::{
    AppendOptions, Engine, Isolation, LogName, Offset, Origin, ProducerEpoch, ProducerId, Sequence,
};
use oncelog_broker::protocol::add_partitions_to_txn::AddPartitionsToTxnTopic;
use oncelog_broker::protocol::describe_producers::TopicRequest;
use oncelog_broker::protocol::offset_fetch::OffsetFetchRequestTopic;
use oncelog_broker::protocol::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use oncelog_broker::protocol::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use oncelog_broker::protocol::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest,
    OffsetFetchRequest, Response, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};

const READ_COMMITTED: i8 = 1;
/// The newest version of the older protocol.
const PRODUCE: i16 = 11;

/// A transactional producer as far as its requests say.
#[derive(Clone, Debug)]
struct Producer {
    name: &'static str,
    id: i64,
    epoch: i16,
    /// Sequence of the next batch to the one partition that it writes in turn.
    sequence: i32,
}

impl Producer {
    async fn init(client: &mut Client, name: &'static str) -> Self {
        let (code, id, epoch) = init(client, name, 60_000, 4).await;
        assert_eq!(code, 0);
        Self { name, id, epoch, sequence: 0 }
    }

    async fn add(&self, client: &mut Client, topic: &str, partition: i32) -> i16 {
        let topic = AddPartitionsToTxnTopic { name: topic.into(), partitions: vec![partition] };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.name.into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..AddPartitionsToTxnRequest::default()
        };
        match client.call(request, 3).await {
            Response::AddPartitionsToTxn(response) => {
                let topic = &response.results_by_topic_v3_and_below[0];
                topic.results_by_partition[0].partition_error_code
            }
            other => panic!("{other:?}"),
        }
    }

    fn batch(&self, value: &str) -> Bytes {
        let (id, epoch) = (ProducerId::new(self.id), ProducerEpoch::new(self.epoch));
        let builder = BatchBuilder::new().producer(id, epoch, Sequence::new(self.sequence));
        let mut builder = builder.transactional();
        builder.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]).unwrap();
        builder.build().unwrap()
    }

    async fn produce(
        &mut self,
        client: &mut Client,
        topic: &str,
        partition: i32,
        value: &str,
    ) -> i16 {
        let mut request = produce(topic, partition, self.batch(value), -1);
        request.transactional_id = Some(self.name.into());
        let code = produced(client.call(request, PRODUCE).await).error_code;
        self.sequence += i32::from(code == 0);
        code
    }

    async fn write(&mut self, client: &mut Client, topic: &str, value: &str) {
        assert_eq!(self.add(client, topic, 0).await, 0);
        assert_eq!(self.produce(client, topic, 0, value).await, 0);
    }

    async fn end(&self, client: &mut Client, committed: bool, version: i16) -> i16 {
        let request = EndTxnRequest {
            transactional_id: self.name.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        match client.call(request, version).await {
            Response::EndTxn(response) => response.error_code,
            other => panic!("{other:?}"),
        }
    }
}

async fn init(client: &mut Client, name: &str, timeout_ms: i32, version: i16) -> (i16, i64, i16) {
    let request = InitProducerIdRequest {
        transactional_id: Some(name.into()),
        transaction_timeout_ms: timeout_ms,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    match client.call(request, version).await {
        Response::InitProducerId(r) => (r.error_code, r.producer_id, r.producer_epoch),
        other => panic!("{other:?}"),
    }
}

/// What a reader of committed records sees of a partition, without those it is told to skip.
async fn committed_values(client: &mut Client, topic: &str) -> Vec<String> {
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let mut request = fetch(&[(topic, 0, offset)]);
        request.isolation_level = READ_COMMITTED;
        let mut response = client.fetch(request, 12).await;
        let mut data = response.responses.remove(0).partitions.remove(0);
        let aborted = data.aborted_transactions.take().unwrap_or_default();
        let bytes: Vec<u8> = data.records.0.iter().flatten().copied().collect();
        if bytes.is_empty() {
            return seen;
        }
        let open = aborted.iter().map(|txn| (txn.first_offset, txn.producer_id)).collect();
        offset = take_committed(&bytes, open, &mut seen);
    }
}

/// T-18, for one answer; returns where to go on.
fn take_committed(mut rest: &[u8], mut open: Vec<(i64, i64)>, seen: &mut Vec<String>) -> i64 {
    let mut next_offset = -1;
    while !rest.is_empty() {
        let (batch, next) = oncelog::batch::Batch::parse(rest).unwrap();
        rest = next;
        next_offset = batch.next_offset().get();
        let (producer, base) = (batch.producer_id().get(), batch.base_offset().get());
        let skipped = open.iter().position(|(first, id)| *id == producer && *first <= base);
        if batch.is_control() {
            skipped.map(|at| open.remove(at));
        } else if skipped.is_none() {
            let records = batch.records(&oncelog::batch::DecodeLimits::default()).unwrap();
            seen.extend(records.iter().map(|record| {
                String::from_utf8(record.unwrap().value().unwrap_or_default().to_vec()).unwrap()
            }));
        }
    }
    next_offset
}

async fn last_stable_offset(client: &mut Client, topic: &str) -> i64 {
    client.read(topic, 0, 0).await.last_stable_offset
}

async fn state_of(client: &mut Client, name: &str) -> (i16, String) {
    let request = DescribeTransactionsRequest { transactional_ids: vec![name.into()] };
    match client.call(request, 0).await {
        Response::DescribeTransactions(response) => {
            let state = &response.transaction_states[0];
            (state.error_code, state.transaction_state.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_commit_means_that_everybody_sees_it() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "id").await;
    for round in 0..20 {
        producer.write(&mut client, "t", &format!("{round}")).await;
        let before = last_stable_offset(&mut client, "t").await;
        assert_eq!(before, 2 * round, "nobody sees an open transaction");
        assert_eq!(producer.end(&mut client, round % 2 == 0, 2).await, 0);
        assert_eq!(last_stable_offset(&mut client, "t").await, 2 * round + 2);
    }
    let even: Vec<String> = (0..20).step_by(2).map(|n| n.to_string()).collect();
    assert_eq!(committed_values(&mut client, "t").await, even);
    let complete = (0, "CompleteAbort".to_owned());
    assert_eq!(state_of(&mut client, "id").await, complete);
}

// P-20, P-24, C-21, C-22.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_part_of_the_transaction_is_not_written() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    client.create("t", 2, &[]).await;
    let mut producer = Producer::init(&mut client, "id").await;
    assert_eq!(producer.produce(&mut client, "t", 0, "too early").await, 120);
    assert_eq!(producer.add(&mut client, "t", 7).await, 3);
    assert_eq!(producer.add(&mut client, "u", 0).await, 3);
    producer.write(&mut client, "t", "in").await;
    let mut elsewhere = Producer { sequence: 0, ..producer.clone() };
    assert_eq!(elsewhere.produce(&mut client, "t", 1, "not added").await, 120);
    let mut nameless = produce("t", 0, producer.batch("nameless"), -1);
    nameless.transactional_id = None;
    assert_eq!(produced(client.call(nameless, PRODUCE).await).error_code, 53);
    assert_eq!(producer.end(&mut client, true, 4).await, 0);
    // S-18: a batch that arrives after the end opens no transaction again.
    assert_eq!(producer.produce(&mut client, "t", 0, "too late").await, 120);
    assert_eq!(committed_values(&mut client, "t").await, ["in"]);
}

// C-6, C-15, C-23.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_fences_the_first_and_aborts_what_it_left() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut zombie = Producer::init(&mut client, "id").await;
    zombie.write(&mut client, "t", "zombie").await;
    let mut second = Producer::init(&mut client, "id").await;
    assert_eq!((second.id, second.epoch), (zombie.id, zombie.epoch + 2), "fence, then begin");
    assert_eq!(last_stable_offset(&mut client, "t").await, 2, "nothing is left open");
    assert_eq!(zombie.end(&mut client, true, 1).await, 47);
    assert_eq!(zombie.end(&mut client, true, 2).await, 90);
    assert_eq!(zombie.add(&mut client, "t", 0).await, 90);
    assert_eq!(zombie.produce(&mut client, "t", 0, "late").await, 47);
    second.write(&mut client, "t", "second").await;
    assert_eq!(second.end(&mut client, true, 2).await, 0);
    assert_eq!(second.end(&mut client, true, 2).await, 0, "a repeated commit is the same commit");
    assert_eq!(second.end(&mut client, false, 2).await, 48);
    assert_eq!(committed_values(&mut client, "t").await, ["second"]);
}

// C-8, C-9, C-22, C-23, C-47.
#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_kafkas_codes() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    assert_eq!(init(&mut client, "", 1000, 4).await, (42, -1, -1));
    assert_eq!(init(&mut client, "id", 0, 4).await, (50, -1, -1));
    assert_eq!(init(&mut client, "id", 900_001, 4).await, (50, -1, -1));
    let unknown = Producer { name: "unknown", id: 7, epoch: 0, sequence: 0 };
    assert_eq!(unknown.add(&mut client, "t", 0).await, 49);
    assert_eq!(unknown.end(&mut client, true, 3).await, 49);
    let nameless = Producer { name: "", ..unknown };
    assert_eq!(nameless.end(&mut client, true, 3).await, 42);
    assert_eq!(state_of(&mut client, "unknown").await.0, 105);
    assert_eq!(state_of(&mut client, "").await.0, 42);
    let producer = Producer::init(&mut client, "id").await;
    assert_eq!(producer.end(&mut client, true, 3).await, 48, "there is nothing to commit");
    let other = Producer { id: producer.id + 1, ..producer };
    assert_eq!(other.end(&mut client, true, 3).await, 49);
}

// C-36.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let interval = "transaction.abort.timed.out.transaction.cleanup.interval.ms=10";
    let node = Node::start(&[interval]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let (_, id, epoch) = init(&mut client, "id", 1, 4).await;
    let mut producer = Producer { name: "id", id, epoch, sequence: 0 };
    assert_eq!(producer.add(&mut client, "t", 0).await, 0);
    // It may be over before the record comes.
    let produced = producer.produce(&mut client, "t", 0, "slow").await;
    assert!(matches!(produced, 0 | 19 | 47 | 120), "{produced}");
    while state_of(&mut client, "id").await.1 != "CompleteAbort" {
        tokio::task::yield_now().await;
    }
    assert_eq!(producer.end(&mut client, true, 2).await, 90);
    assert_eq!(committed_values(&mut client, "t").await, Vec::<String>::new());
}

fn offsets(topic: &str, offset: i64) -> Vec<TxnOffsetCommitRequestTopic> {
    let partition = TxnOffsetCommitRequestPartition {
        committed_offset: offset,
        ..TxnOffsetCommitRequestPartition::default()
    };
    vec![TxnOffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition] }]
}

async fn commit_offset(client: &mut Client, producer: &Producer, offset: i64) -> i16 {
    let request = TxnOffsetCommitRequest {
        transactional_id: producer.name.into(),
        group_id: "g".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        generation_id: -1,
        topics: offsets("t", offset),
        ..TxnOffsetCommitRequest::default()
    };
    match client.call(request, 3).await {
        Response::TxnOffsetCommit(response) => response.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    }
}

async fn add_offsets(client: &mut Client, producer: &Producer) -> i16 {
    let request = AddOffsetsToTxnRequest {
        transactional_id: producer.name.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: "g".into(),
    };
    match client.call(request, 3).await {
        Response::AddOffsetsToTxn(response) => response.error_code,
        other => panic!("{other:?}"),
    }
}

/// Error and offset of partition 0 of `t`, by somebody who wants what is certain.
async fn stable_offset(client: &mut Client) -> (i16, i64) {
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![topic]),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    match client.call(request, 7).await {
        Response::OffsetFetch(response) => {
            let found = &response.topics[0].partitions[0];
            (found.error_code, found.committed_offset)
        }
        other => panic!("{other:?}"),
    }
}

// G-24 to G-29.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_in_a_transaction_count_when_it_commits_and_outlive_a_restart() {
    let mut node = Node::start(&[]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "id").await;
    assert_eq!(commit_offset(&mut client, &producer, 1).await, 48, "the group was not added");
    for (offset, commit, then) in [(5, true, 5), (9, false, 5), (11, true, 11)] {
        assert_eq!(add_offsets(&mut client, &producer).await, 0);
        assert_eq!(commit_offset(&mut client, &producer, offset).await, 0);
        assert_eq!(stable_offset(&mut client).await.0, 88, "undecided");
        node = node.restart().await;
        client = node.client().await;
        assert_eq!(stable_offset(&mut client).await.0, 88, "undecided, after a restart too");
        assert_eq!(producer.end(&mut client, commit, 2).await, 0);
        assert_eq!(stable_offset(&mut client).await, (0, then));
    }
    producer.epoch -= 1;
    assert_eq!(commit_offset(&mut client, &producer, 12).await, 47);
    node = node.restart().await;
    assert_eq!(stable_offset(&mut node.client().await).await, (0, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_outlives_a_restart_and_its_producer_goes_on() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "id").await;
    producer.write(&mut client, "t", "before").await;
    let node = node.restart().await;
    let mut client = node.client().await;
    assert_eq!(state_of(&mut client, "id").await, (0, "Ongoing".to_owned()));
    assert_eq!(producer.produce(&mut client, "t", 0, "after").await, 0);
    assert_eq!(committed_values(&mut client, "t").await, Vec::<String>::new());
    assert_eq!(producer.end(&mut client, true, 2).await, 0);
    assert_eq!(committed_values(&mut client, "t").await, ["before", "after"]);
}

/// Where the stored form of a transaction has its state.
const STATE_AT: usize = 2 + 8 + 2 + 4;

/// Adds the record that a broker would have left that died right after it decided.
fn decide(engine: &Engine, state: u8) {
    let logs = engine.logs().unwrap();
    let names = logs.iter().map(|(name, _)| name).filter(|n| n.topic() == "__transaction_state");
    for name in names.cloned().collect::<Vec<LogName>>() {
        let log = engine.log(&name).unwrap();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for batch in log.batches(Offset::ZERO, Isolation::ReadUncommitted) {
            let batch = batch.unwrap();
            let records = batch.batch().records(&oncelog::batch::DecodeLimits::default()).unwrap();
            for record in &records {
                let record = record.unwrap();
                key = record.key().unwrap().to_vec();
                value = record.value().unwrap().to_vec();
            }
        }
        value[STATE_AT] = state;
        let mut builder = BatchBuilder::new();
        builder.append(1_700_000_000_000, Some(&key), Some(&value), &[]).unwrap();
        let mut options = AppendOptions::default();
        options.origin = Origin::Coordinator;
        log.append(&builder.build().unwrap(), &options).unwrap().wait().unwrap();
    }
}

// C-44.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_a_crash_is_ended_before_anybody_is_served() {
    for (state, expected, visible) in
        [(2, "CompleteCommit", vec!["decided"]), (3, "CompleteAbort", Vec::new())]
    {
        let node = Node::start(&[]).await;
        let mut client = node.client().await;
        client.create("t", 1, &[]).await;
        let mut producer = Producer::init(&mut client, "id").await;
        producer.write(&mut client, "t", "decided").await;
        let node = node.restart_after(|engine| decide(engine, state)).await;
        let mut client = node.client().await;
        assert_eq!(state_of(&mut client, "id").await, (0, expected.to_owned()));
        assert_eq!(committed_values(&mut client, "t").await, visible);
        producer.sequence = 1;
        producer.write(&mut client, "t", "next").await;
        assert_eq!(producer.end(&mut client, true, 2).await, 0, "the producer goes on");
    }
}

// C-45: a marker of an older coordinator would be refused, and so would ours if epochs went back.
#[tokio::test(flavor = "multi_thread")]
async fn every_start_has_a_higher_coordinator_epoch_than_the_one_before() {
    let mut node = Node::start(&[]).await;
    node.client().await.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut node.client().await, "id").await;
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let mut client = node.client().await;
        producer.write(&mut client, "t", "x").await;
        assert_eq!(producer.end(&mut client, true, 2).await, 0);
        let topic = TopicRequest { name: "t".into(), partition_indexes: vec![0] };
        let request = DescribeProducersRequest { topics: vec![topic] };
        match client.call(request, 0).await {
            Response::DescribeProducers(response) => {
                let seen = &response.topics[0].partitions[0].active_producers[0];
                assert_eq!((seen.producer_id, seen.current_txn_start_offset), (producer.id, -1));
                epochs.push(seen.coordinator_epoch);
            }
            other => panic!("{other:?}"),
        }
        node = node.restart().await;
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}

// Where Kafka answers the later request with 51, it waits here for the few milliseconds.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_overlap_wait_for_each_other() {
    let node = Node::start(&[]).await;
    let (mut client, mut other) = (node.client().await, node.client().await);
    client.create("t", 8, &[]).await;
    let producer = Producer::init(&mut client, "id").await;
    for round in 0..30 {
        assert_eq!(producer.add(&mut client, "t", round % 8).await, 0);
        let (ended, added) = tokio::join!(
            producer.end(&mut client, true, 2),
            producer.add(&mut other, "t", (round + 1) % 8),
        );
        assert_eq!((ended, added), (0, 0));
        let last = producer.end(&mut client, true, 2).await;
        assert_eq!(last, 0, "whichever of them was first");
    }
}

// C-48, C-51, C-52.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_finds_a_transaction_and_ends_it() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut producer = Producer::init(&mut client, "id").await;
    producer.write(&mut client, "t", "hanging").await;
    for (state, found) in [("Ongoing", 1), ("Empty", 0), ("Nonsense", 0)] {
        let request = ListTransactionsRequest {
            state_filters: vec![state.into()],
            ..ListTransactionsRequest::default()
        };
        match client.call(request, 1).await {
            Response::ListTransactions(response) => {
                assert_eq!(response.transaction_states.len(), found, "{state}");
                let unknown = usize::from(state == "Nonsense");
                assert_eq!(response.unknown_state_filters.len(), unknown);
            }
            other => panic!("{other:?}"),
        }
    }
    let topic = WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0, 5] };
    let marker = WritableTxnMarker {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        transaction_result: false,
        coordinator_epoch: 9,
        topics: vec![topic],
        ..WritableTxnMarker::default()
    };
    let request = WriteTxnMarkersRequest { markers: vec![marker] };
    match client.call(request, 1).await {
        Response::WriteTxnMarkers(response) => {
            let codes = response.markers[0].topics[0].partitions.iter().map(|p| p.error_code);
            assert_eq!(codes.collect::<Vec<_>>(), [0, 3]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(last_stable_offset(&mut client, "t").await, 2);
}
