//! From a frame to its answer: one file per family of requests.
//!
//! What is served is the table [`api_versions::SERVED`]; a request outside it, or one that is not
//! what its header says, closes the connection (B-3). Every other request is answered.

mod api_versions;
mod cluster;
mod code;
mod configs;
mod fetch;
mod fetch_sweep;
mod groups;
mod identity;
mod metadata;
mod offsets;
mod produce;
mod recompress;
mod record_errors;
mod records;
mod topics;
mod transactions;
mod txn_admin;

pub(crate) use code::Code;
pub(crate) use recompress::codec_named;

use crate::answer_budget::{AnswerBudget, Claim};
use crate::config::Config;
use crate::fetch_session::FetchSessions;
use crate::group;
use crate::producer_ids::ProducerIds;
use crate::protocol::{Reader, Request, RequestHeader, Response, Uuid};
use crate::topics::{OFFSETS_TOPIC, Registry, TXN_STATE_TOPIC};
use crate::txn;
use bytes::Bytes;
use groups::{GroupHost, group_config};
use oncelog::{Engine, LeaderEpoch, Log};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The peer of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) peer: SocketAddr,
    /// Whether it waits for each answer before it sends the next request, as far as can be told.
    pub(crate) takes_turns: bool,
}

/// Where clients are told to connect.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What becomes of a request.
pub(crate) enum Verdict {
    /// It is answered.
    Reply(Reply),
    /// It asked for no answer.
    Silent,
    /// The connection cannot go on.
    Close,
}

/// An answer: slices to be written one after the other.
pub(crate) enum Reply {
    /// It is there.
    Ready(Answer),
    /// It will be: the request has taken its place in the order, and is not cancelled by dropping
    /// this.
    Later(Pin<Box<dyn Future<Output = Verdict> + Send>>),
}

/// The bytes of an answer, and the room they take until they are written.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) slices: Vec<Bytes>,
    pub(crate) claim: Claim,
}

/// What all connections serve.
#[derive(Debug)]
pub(crate) struct Broker {
    config: Config,
    address: Address,
    cluster_id: String,
    topics: Registry,
    producer_ids: Arc<ProducerIds>,
    sessions: FetchSessions,
    answers: AnswerBudget,
    groups: group::Coordinator,
    transactions: txn::Coordinator,
    /// Whether a connection's thread may do a short write to the disk itself: only where others
    /// serve the rest meanwhile.
    may_lead: bool,
}

/// A request's version and number, needed to write its answer.
#[derive(Clone, Copy, Debug)]
struct Call {
    correlation_id: i32,
    version: i16,
}

impl Call {
    /// The frame of an answer. One that cannot be written is a defect of ours; the client learns
    /// of it by losing its connection rather than by waiting for ever.
    fn answer(self, response: impl Into<Response>) -> Verdict {
        match response.into().to_frame(self.correlation_id, self.version) {
            Ok(slices) => Verdict::Reply(Reply::Ready(Answer { slices, claim: Claim::default() })),
            Err(_) => Verdict::Close,
        }
    }

    /// The frame of an answer that holds room in memory.
    fn answer_holding(self, claim: Claim, response: impl Into<Response>) -> Verdict {
        match self.answer(response) {
            Verdict::Reply(Reply::Ready(answer)) => {
                Verdict::Reply(Reply::Ready(Answer { claim, ..answer }))
            }
            other => other,
        }
    }
}

impl Broker {
    /// Rebuilds everything the broker knows from the engine's logs. Blocks.
    pub(crate) fn open(engine: Engine, config: Config, address: Address) -> oncelog::Result<Self> {
        let settings = &config.settings;
        let (topics, metadata, next_producer_id) = Registry::open(&engine, settings)?;
        let slots = settings.max_incremental_fetch_session_cache_slots;
        let cluster_id = Uuid(metadata.cluster_id()).to_string();
        let host = Arc::new(GroupHost { topics: topics.clone() });
        let partitions = topics.find(OFFSETS_TOPIC).map(|topic| topic.partition_count());
        let groups = group_config(settings, partitions);
        let groups = group::Coordinator::open(groups, &engine, host)?;
        let producer_ids = ProducerIds::new(metadata, settings.node_id, next_producer_id);
        let producer_ids = Arc::new(producer_ids);
        let neighbours = txn::Neighbours {
            topics: topics.clone(),
            producer_ids: producer_ids.clone(),
            groups: groups.clone(),
        };
        let partitions = topics.find(TXN_STATE_TOPIC).map(|topic| topic.partition_count());
        let transactions = transactions::config(settings, partitions);
        Ok(Self {
            transactions: txn::Coordinator::open(transactions, &engine, neighbours)?,
            groups,
            address,
            cluster_id,
            producer_ids,
            sessions: FetchSessions::new(usize::try_from(slots).unwrap_or(0)),
            answers: AnswerBudget::new(settings.answer_budget_bytes()),
            topics,
            config,
            may_lead: Handle::current().metrics().num_workers() > 1,
        })
    }

    /// What the operator should hear about the state that was found.
    pub(crate) fn notices(&self) -> Vec<String> {
        let (groups, transactions) = (self.groups.load_report(), self.transactions.load_report());
        let damage = groups.damage.iter().map(|damage| {
            format!("a part of {OFFSETS_TOPIC} cannot be read, commits in it are lost: {damage}")
        });
        let mut notices: Vec<String> = damage.collect();
        notices.extend(transactions.damage.iter().map(|damage| {
            format!("a part of {TXN_STATE_TOPIC} cannot be read, ids in it are unknown: {damage}")
        }));
        let undecodable = [
            (OFFSETS_TOPIC, groups.undecodable_records),
            (TXN_STATE_TOPIC, transactions.undecodable_records),
        ];
        for (topic, count) in undecodable.into_iter().filter(|(_, count)| *count > 0) {
            notices.push(format!(
                "{topic} holds {count} records that this version cannot read; they are kept"
            ));
        }
        notices
    }

    /// Serves one frame.
    pub(crate) async fn handle(&self, client: &Client, frame: Bytes) -> Verdict {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else { return Verdict::Close };
        let call = Call { correlation_id: header.correlation_id, version: header.api_version };
        if let Some(unsupported) = api_versions::unsupported(&header) {
            return Call { version: 0, ..call }.answer(unsupported);
        }
        if !api_versions::serves(header.api_key, header.api_version) {
            return Verdict::Close;
        }
        match Request::decode(&header, &mut reader) {
            Ok(request) => {
                drop(reader);
                self.dispatch(client, &header, call, request).await
            }
            Err(_) => Verdict::Close,
        }
    }

    async fn dispatch(
        &self,
        client: &Client,
        header: &RequestHeader,
        call: Call,
        request: Request,
    ) -> Verdict {
        let version = call.version;
        match request {
            Request::Produce(request) => self.produce(client, call, request).await,
            Request::Fetch(request) => {
                let (response, claim) = self.fetch(version, request).await;
                call.answer_holding(claim, response)
            }
            Request::ListOffsets(r) => call.answer(self.list_offsets(version, r).await),
            Request::Metadata(r) => call.answer(self.metadata(version, r).await),
            Request::ApiVersions(r) => call.answer(api_versions::answer(version, &r)),
            Request::CreateTopics(r) => call.answer(self.create_topics(version, r).await),
            Request::DeleteTopics(r) => call.answer(self.delete_topics(version, r).await),
            Request::DeleteRecords(r) => call.answer(self.delete_records(r).await),
            Request::InitProducerId(r) => call.answer(self.init_producer_id(version, r).await),
            Request::OffsetForLeaderEpoch(r) => call.answer(self.offset_for_leader_epoch(r).await),
            Request::FindCoordinator(r) => call.answer(self.find_coordinator(version, r).await),
            Request::DescribeConfigs(r) => call.answer(self.describe_configs(r)),
            Request::DescribeCluster(r) => call.answer(self.describe_cluster(&r)),
            Request::AddPartitionsToTxn(r) => call.answer(self.add_partitions(version, r).await),
            Request::AddOffsetsToTxn(r) => call.answer(self.add_offsets(version, &r).await),
            Request::EndTxn(r) => call.answer(self.end_txn(version, &r).await),
            Request::TxnOffsetCommit(r) => call.answer(self.txn_offset_commit(version, r).await),
            Request::WriteTxnMarkers(r) => call.answer(self.write_txn_markers(r).await),
            Request::DescribeProducers(r) => call.answer(self.describe_producers(r).await),
            Request::DescribeTransactions(r) => call.answer(self.describe_transactions(r)),
            Request::ListTransactions(r) => call.answer(self.list_transactions(r)),
            other => self.dispatch_group(client.peer.ip(), header, call, other).await,
        }
    }
}

/// The leader epoch to report: a log that was never appended to has the first one.
fn leader_epoch(log: &Log) -> LeaderEpoch {
    log.leader_epoch().max(LeaderEpoch::new(0))
}

/// Checks the leader epoch a client believes in.
fn check_leader_epoch(log: &Log, believed: i32) -> Result<(), Code> {
    let current = leader_epoch(log).get();
    match believed {
        -1 => Ok(()),
        older if older < current => Err(Code::FencedLeaderEpoch),
        newer if newer > current => Err(Code::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}
