//! A server in a directory of its own, and a client that speaks the broker's codec.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

use bytes::Bytes;
use oncelog::batch::BatchBuilder;
use oncelog::{Engine, EngineOptions, ProducerEpoch, ProducerId, Sequence};
use oncelog_broker::protocol::create_topics::{CreatableTopic, CreatableTopicConfig};
use oncelog_broker::protocol::fetch::{FetchPartition, FetchTopic, PartitionData};
use oncelog_broker::protocol::produce::{
    PartitionProduceData, PartitionProduceResponse, TopicProduceData,
};
use oncelog_broker::protocol::{
    CreateTopicsRequest, FetchRequest, FetchResponse, ProduceRequest, Reader, Request,
    RequestHeader, Response, ResponseHeader,
};
use oncelog_broker::{Config, ServeOptions, Server};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything here should take, shorter than a test runner's patience.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server and its directory.
pub(crate) struct Node {
    pub(crate) server: Server,
    directory: tempfile::TempDir,
    settings: Vec<String>,
}

impl Node {
    /// Starts on a fresh directory.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        let server = serve(&directory, &settings).await;
        Self { server, directory, settings }
    }

    /// Closes cleanly and starts again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.server.shutdown().await.unwrap();
        let server = serve(&self.directory, &self.settings).await;
        Self { server, ..self }
    }

    /// Closes cleanly and starts again with other settings.
    pub(crate) async fn restart_with(self, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|s| (*s).to_owned()).collect();
        Self { settings, ..self }.restart().await
    }

    /// Closes cleanly, changes the directory behind the server's back, and starts again.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&Engine)) -> Self {
        self.server.shutdown().await.unwrap();
        let engine = Engine::open(EngineOptions::new(self.directory.path())).unwrap();
        change(&engine);
        engine.close().unwrap();
        drop(engine);
        let server = serve(&self.directory, &self.settings).await;
        Self { server, ..self }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }
}

async fn serve(directory: &tempfile::TempDir, settings: &[String]) -> Server {
    let mut options = ServeOptions::new(directory.path());
    options.config = Config::load(None, settings, true).unwrap();
    Server::start(options).await.unwrap()
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request and leaves its answer on the way; returns its number.
    pub(crate) async fn send(&mut self, request: impl Into<Request>, version: i16) -> i32 {
        let request = request.into();
        self.correlation_id += 1;
        let header = RequestHeader {
            api_key: request.api().key,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("test".into()),
        };
        for buffer in request.to_frame(&header).unwrap() {
            self.stream.write_all(&buffer).await.unwrap();
        }
        self.correlation_id
    }

    /// The next answer.
    pub(crate) async fn receive(&mut self, api_key: i16, version: i16) -> (i32, Response) {
        let frame = self.frame().await.expect("an answer, not the end of the connection");
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, api_key, version).unwrap();
        let response = Response::decode(api_key, version, &mut reader).unwrap();
        (header.correlation_id, response)
    }

    pub(crate) async fn call(&mut self, request: impl Into<Request>, version: i16) -> Response {
        let request = request.into();
        let key = request.api().key;
        let sent = self.send(request, version).await;
        let (correlation_id, response) = self.receive(key, version).await;
        assert_eq!(correlation_id, sent);
        response
    }

    /// The bytes of the next frame; `None` if the server closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let size = self.stream.read_i32().await.ok()?;
            let mut frame = vec![0; usize::try_from(size).unwrap()];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        timeout(PATIENCE, read).await.expect("the server answers or closes")
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        // The server may have closed already; what it did is seen when reading.
        drop(self.stream.write_all(bytes).await);
    }

    /// Whether the server closes the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.frame().await.is_none()
    }

    pub(crate) async fn create(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> i16 {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        match self.call(request, 7).await {
            Response::CreateTopics(response) => response.topics[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> Produced {
        let response = self.call(produce(topic, partition, records, -1), 9).await;
        produced(response)
    }

    pub(crate) async fn fetch(&mut self, request: FetchRequest, version: i16) -> FetchResponse {
        match self.call(request, version).await {
            Response::Fetch(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Reads one partition of one topic.
    pub(crate) async fn read(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let request = fetch(&[(topic, partition, offset)]);
        let mut response = self.fetch(request, 12).await;
        response.responses.remove(0).partitions.remove(0)
    }
}

pub(crate) type Produced = PartitionProduceResponse;

pub(crate) fn produced(response: Response) -> Produced {
    match response {
        Response::Produce(mut response) => {
            response.responses.remove(0).partition_responses.remove(0)
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn produce(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index: partition, records: Some(records) }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

/// A sessionless fetch that waits for nothing.
pub(crate) fn fetch(partitions: &[(&str, i32, i64)]) -> FetchRequest {
    let topics = partitions.iter().map(|(topic, partition, offset)| FetchTopic {
        topic: (*topic).into(),
        partitions: vec![FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        }],
        ..FetchTopic::default()
    });
    FetchRequest { max_bytes: 1 << 24, topics: topics.collect(), ..FetchRequest::default() }
}

/// A batch without a producer.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    filled(BatchBuilder::new(), values)
}

/// A batch of an idempotent producer.
pub(crate) fn sequenced(producer_id: i64, sequence: i32, values: &[&str]) -> Bytes {
    let (id, epoch) = (ProducerId::new(producer_id), ProducerEpoch::new(0));
    filled(BatchBuilder::new().producer(id, epoch, Sequence::new(sequence)), values)
}

fn filled(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for value in values {
        builder.append(1_700_000_000_000, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// The values of all records in an answer.
pub(crate) fn values(data: &PartitionData) -> Vec<String> {
    let bytes: Vec<u8> = data.records.0.iter().flatten().copied().collect();
    let mut rest = &bytes[..];
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (batch, next) = oncelog::batch::Batch::parse(rest).unwrap();
        for record in batch.records(&oncelog::batch::DecodeLimits::default()).unwrap().iter() {
            let value = record.unwrap().value().unwrap_or_default().to_vec();
            values.push(String::from_utf8(value).unwrap());
        }
        rest = next;
    }
    values
}
