//! Kafka's wire protocol: every message the broker serves, as tables, and the bounded codec over them.
//!
//! A frame is a [`RequestHeader`] and a [`Request`], or a [`ResponseHeader`] and a [`Response`]. One
//! module per api holds the table its structs, readers and writers are made from. Reading never
//! panics and never takes more memory than `DECODE_MEMORY_FACTOR` bytes per byte received; records
//! are slices of the frame on the way in and slices of the log on the way out.
//!
//! What a message means is not known here.

#[macro_use]
mod table;

mod api;
mod error;
mod header;
mod reader;
mod records;
mod text;
mod uuid;
mod wire;
mod writer;

pub use api::ApiInfo;
pub use error::{DecodeError, EncodeError};
pub use header::{RequestHeader, ResponseHeader};
pub use reader::{DECODE_MEMORY_BASE, DECODE_MEMORY_FACTOR, Reader};
pub use records::Records;
pub use text::Str;
pub use uuid::Uuid;
pub use writer::Writer;

use bytes::Bytes;

/// Declares the modules of all apis, and the two enums over them.
macro_rules! apis {
    ($($name:ident($module:ident: $request:ident, $response:ident))*) => {
        $(
            pub mod $module;
            pub use $module::{$request, $response};
        )*

        /// Every api served, by ascending key.
        pub static APIS: &[ApiInfo] = &[$($module::API),*];

        /// Any request.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Request {
            $(#[doc = concat!("See [`", stringify!($request), "`].")] $name($request),)*
        }

        /// Any answer.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Response {
            $(#[doc = concat!("See [`", stringify!($response), "`].")] $name($response),)*
        }

        $(
            impl From<$request> for Request {
                fn from(message: $request) -> Self {
                    Self::$name(message)
                }
            }

            impl From<$response> for Response {
                fn from(message: $response) -> Self {
                    Self::$name(message)
                }
            }
        )*

        impl Request {
            /// The api this is a request of.
            #[must_use]
            pub const fn api(&self) -> &'static ApiInfo {
                match self {
                    $(Self::$name(_) => &$module::API,)*
                }
            }

            fn decode_body(header: &RequestHeader, reader: &mut Reader) -> Result<Self, DecodeError> {
                $(if header.api_key == $module::API.key {
                    return $request::decode(reader, header.api_version).map(Self::$name);
                })*
                Err(DecodeError::UnknownApi(header.api_key))
            }

            /// Writes the message without its header.
            pub fn encode(&self, writer: &mut Writer, version: i16) {
                match self {
                    $(Self::$name(message) => message.encode(writer, version),)*
                }
            }
        }

        impl Response {
            /// The api this is an answer of.
            #[must_use]
            pub const fn api(&self) -> &'static ApiInfo {
                match self {
                    $(Self::$name(_) => &$module::API,)*
                }
            }

            fn decode_body(
                api_key: i16,
                version: i16,
                reader: &mut Reader,
            ) -> Result<Self, DecodeError> {
                $(if api_key == $module::API.key {
                    return $response::decode(reader, version).map(Self::$name);
                })*
                Err(DecodeError::UnknownApi(api_key))
            }

            /// Writes the message without its header.
            pub fn encode(&self, writer: &mut Writer, version: i16) {
                match self {
                    $(Self::$name(message) => message.encode(writer, version),)*
                }
            }
        }
    };
}

apis! {
    Produce(produce: ProduceRequest, ProduceResponse)
    Fetch(fetch: FetchRequest, FetchResponse)
    ListOffsets(list_offsets: ListOffsetsRequest, ListOffsetsResponse)
    Metadata(metadata: MetadataRequest, MetadataResponse)
    OffsetCommit(offset_commit: OffsetCommitRequest, OffsetCommitResponse)
    OffsetFetch(offset_fetch: OffsetFetchRequest, OffsetFetchResponse)
    FindCoordinator(find_coordinator: FindCoordinatorRequest, FindCoordinatorResponse)
    JoinGroup(join_group: JoinGroupRequest, JoinGroupResponse)
    Heartbeat(heartbeat: HeartbeatRequest, HeartbeatResponse)
    LeaveGroup(leave_group: LeaveGroupRequest, LeaveGroupResponse)
    SyncGroup(sync_group: SyncGroupRequest, SyncGroupResponse)
    DescribeGroups(describe_groups: DescribeGroupsRequest, DescribeGroupsResponse)
    ListGroups(list_groups: ListGroupsRequest, ListGroupsResponse)
    ApiVersions(api_versions: ApiVersionsRequest, ApiVersionsResponse)
    CreateTopics(create_topics: CreateTopicsRequest, CreateTopicsResponse)
    DeleteTopics(delete_topics: DeleteTopicsRequest, DeleteTopicsResponse)
    DeleteRecords(delete_records: DeleteRecordsRequest, DeleteRecordsResponse)
    InitProducerId(init_producer_id: InitProducerIdRequest, InitProducerIdResponse)
    OffsetForLeaderEpoch(offset_for_leader_epoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse)
    AddPartitionsToTxn(add_partitions_to_txn: AddPartitionsToTxnRequest, AddPartitionsToTxnResponse)
    AddOffsetsToTxn(add_offsets_to_txn: AddOffsetsToTxnRequest, AddOffsetsToTxnResponse)
    EndTxn(end_txn: EndTxnRequest, EndTxnResponse)
    WriteTxnMarkers(write_txn_markers: WriteTxnMarkersRequest, WriteTxnMarkersResponse)
    TxnOffsetCommit(txn_offset_commit: TxnOffsetCommitRequest, TxnOffsetCommitResponse)
    DescribeConfigs(describe_configs: DescribeConfigsRequest, DescribeConfigsResponse)
    CreatePartitions(create_partitions: CreatePartitionsRequest, CreatePartitionsResponse)
    DeleteGroups(delete_groups: DeleteGroupsRequest, DeleteGroupsResponse)
    IncrementalAlterConfigs(incremental_alter_configs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse)
    OffsetDelete(offset_delete: OffsetDeleteRequest, OffsetDeleteResponse)
    DescribeCluster(describe_cluster: DescribeClusterRequest, DescribeClusterResponse)
    DescribeProducers(describe_producers: DescribeProducersRequest, DescribeProducersResponse)
    DescribeTransactions(describe_transactions: DescribeTransactionsRequest, DescribeTransactionsResponse)
    ListTransactions(list_transactions: ListTransactionsRequest, ListTransactionsResponse)
    DescribeTopicPartitions(describe_topic_partitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse)
}

/// What is served of the api with this key.
#[must_use]
pub fn api_info(key: i16) -> Option<&'static ApiInfo> {
    APIS.iter().find(|api| api.key == key)
}

impl Request {
    /// Reads the request that follows `header`. Bytes behind it are left unread: librdkafka 2.16
    /// sends some after a Metadata request, and Kafka takes no notice of them.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the api or version is not served, or the bytes are not this request.
    pub fn decode(header: &RequestHeader, reader: &mut Reader) -> Result<Self, DecodeError> {
        Self::decode_body(header, reader)
    }

    /// The whole frame of this request, size first, for a client.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a value does not fit its field or the version does not exist.
    pub fn to_frame(&self, header: &RequestHeader) -> Result<Vec<Bytes>, EncodeError> {
        let mut writer = Writer::new();
        header.encode(&mut writer);
        self.encode(&mut writer, header.api_version);
        writer.into_frame()
    }
}

impl Response {
    /// Reads the answer to a request of `api_key` in `version`, after its header.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the api or version is not served, or the bytes are not this answer and
    /// nothing else.
    pub fn decode(api_key: i16, version: i16, reader: &mut Reader) -> Result<Self, DecodeError> {
        let response = Self::decode_body(api_key, version, reader)?;
        reader.finish()?;
        Ok(response)
    }

    /// The whole frame that answers request `correlation_id`, size first: buffers to be written in
    /// order, of which those with records are shared with the log.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a value does not fit its field or the version does not exist.
    pub fn to_frame(&self, correlation_id: i32, version: i16) -> Result<Vec<Bytes>, EncodeError> {
        let mut writer = Writer::new();
        ResponseHeader { correlation_id }.encode(&mut writer, self.api().key, version);
        self.encode(&mut writer, version);
        writer.into_frame()
    }
}
