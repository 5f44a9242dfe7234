//! CreateTopics and DeleteTopics.

use super::{Broker, Code};
use crate::config::{Overrides, TOPIC_KEYS};
use crate::protocol::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
};
use crate::protocol::delete_topics::{DeletableTopicResult, DeleteTopicState};
use crate::protocol::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, Str, Uuid,
};
use crate::topics::{NewTopic, PARTITIONS_MAX, Refusal, Topic};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A code and the sentence that goes with it.
type Denial = (Code, String);

impl Broker {
    pub(super) async fn create_topics(
        &self,
        version: i16,
        request: CreateTopicsRequest,
    ) -> CreateTopicsResponse {
        let mut times: HashMap<Str, usize> = HashMap::new();
        for topic in &request.topics {
            *times.entry(topic.name.clone()).or_default() += 1;
        }
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let outcome = if times.get(&topic.name).is_some_and(|times| *times > 1) {
                Err((Code::InvalidRequest, "the topic is named twice".to_owned()))
            } else {
                self.create_topic(version, &topic, request.validate_only).await
            };
            topics.push(outcome.unwrap_or_else(|(code, message)| CreatableTopicResult {
                name: topic.name,
                error_code: code.get(),
                error_message: Some(message.into()),
                ..CreatableTopicResult::default()
            }));
        }
        // A name that came twice is answered once.
        let mut answered = HashSet::new();
        topics.retain(|topic| answered.insert(topic.name.clone()));
        CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }
    }

    async fn create_topic(
        &self,
        version: i16,
        topic: &CreatableTopic,
        validate_only: bool,
    ) -> Result<CreatableTopicResult, Denial> {
        let new = NewTopic {
            name: topic.name.as_str().to_owned(),
            partitions: self.partitions(version, topic)?,
            overrides: overrides(topic)?,
        };
        let (partitions, overrides) = (new.partitions, new.overrides.clone());
        self.topics.check(&new).map_err(denial)?;
        self.check_replication(topic)?;
        let topic_id = if validate_only {
            Uuid::ZERO
        } else {
            Uuid(self.topics.create(new).await.map_err(denial)?.id)
        };
        Ok(CreatableTopicResult {
            name: topic.name.clone(),
            topic_id,
            num_partitions: partitions,
            replication_factor: 1,
            configs: Some(self.created_configs(&overrides)),
            ..CreatableTopicResult::default()
        })
    }

    fn partitions(&self, version: i16, topic: &CreatableTopic) -> Result<i32, Denial> {
        if !topic.assignments.is_empty() {
            if topic.num_partitions != -1 || topic.replication_factor != -1 {
                let message = "a topic takes either assignments or a number of partitions";
                return Err((Code::InvalidRequest, message.into()));
            }
            return self.assigned(&topic.assignments);
        }
        match topic.num_partitions {
            -1 if version >= 4 => Ok(self.config.settings.num_partitions),
            number => Ok(number),
        }
    }

    /// The number of partitions of a manual assignment: 0, 1, 2 … each on this node.
    fn assigned(&self, assignments: &[CreatableReplicaAssignment]) -> Result<i32, Denial> {
        let denied = |message: &str| Err((Code::InvalidReplicaAssignment, message.to_owned()));
        let indexes: HashSet<i32> = assignments.iter().map(|a| a.partition_index).collect();
        let count = i32::try_from(assignments.len()).unwrap_or(i32::MAX);
        if indexes.len() != assignments.len() || !indexes.iter().all(|i| (0..count).contains(i)) {
            return denied("partitions must be numbered from 0 without gaps");
        }
        if assignments.iter().any(|a| a.broker_ids != [self.node_id()]) {
            return denied("every partition must have this node as its one replica");
        }
        Ok(count)
    }

    fn check_replication(&self, topic: &CreatableTopic) -> Result<(), Denial> {
        let wanted = match topic.replication_factor {
            _ if !topic.assignments.is_empty() => 1,
            -1 => self.config.settings.default_replication_factor,
            number => i32::from(number),
        };
        let any = self.config.settings.replication_factor_accept_any;
        match wanted {
            1 => Ok(()),
            2.. if any => Ok(()),
            _ => {
                let message = format!(
                    "Unable to replicate the partition {wanted} time(s): only 1 broker is registered."
                );
                Err((Code::InvalidReplicationFactor, message))
            }
        }
    }

    fn created_configs(&self, overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
        let entry = |key: &crate::config::TopicKey| {
            let own = overrides.get(key.name).cloned();
            let source = self.topic_config_source(key, own.is_some());
            CreatableTopicConfigs {
                name: Str::from_static(key.name),
                value: Some(own.unwrap_or_else(|| key.inherited(&self.config.settings)).into()),
                config_source: source,
                ..CreatableTopicConfigs::default()
            }
        };
        TOPIC_KEYS.iter().map(entry).collect()
    }

    pub(super) async fn delete_topics(
        &self,
        version: i16,
        request: DeleteTopicsRequest,
    ) -> DeleteTopicsResponse {
        let by_name = request
            .topic_names
            .into_iter()
            .map(|name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO });
        let mut responses = Vec::new();
        for topic in request.topics.into_iter().chain(by_name) {
            responses.push(self.delete_topic(version, topic).await);
        }
        DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
    }

    async fn delete_topic(&self, version: i16, asked: DeleteTopicState) -> DeletableTopicResult {
        let found = match &asked.name {
            Some(_) if !asked.topic_id.is_zero() => Err(Code::InvalidRequest),
            Some(name) => self.topics.find(name).ok_or(Code::UnknownTopicOrPartition),
            None => self.topics.find_id(asked.topic_id.0).ok_or(Code::UnknownTopicId),
        };
        let mut result = DeletableTopicResult {
            // Before version 6 the name cannot be null.
            name: asked.name.or_else(|| (version < 6).then_some(Str::EMPTY)),
            topic_id: asked.topic_id,
            ..DeletableTopicResult::default()
        };
        let code = match found {
            Err(code) => code,
            Ok(_) if !self.config.settings.delete_topic_enable => Code::TopicDeletionDisabled,
            Ok(topic) if topic.internal => Code::InvalidTopic,
            Ok(topic) => {
                result.name = Some(Str::from(&*topic.name));
                result.topic_id = Uuid(topic.id);
                self.delete_with_offsets(topic).await.err().unwrap_or(Code::None)
            }
        };
        result.error_code = code.get();
        result
    }

    /// Deletes a topic and then what groups have committed for it (G-34). Offsets that cannot be
    /// removed now expire with their group.
    async fn delete_with_offsets(&self, topic: Arc<Topic>) -> Result<(), Code> {
        let name = Arc::clone(&topic.name);
        self.topics.delete(topic).await.map_err(|e| Code::from(&e))?;
        self.groups.forget_topic(&name).await.or(Ok(()))
    }
}

fn overrides(topic: &CreatableTopic) -> Result<Overrides, Denial> {
    let mut overrides = Overrides::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!("Null value not supported for topic config: {}", config.name);
            return Err((Code::InvalidConfig, message));
        };
        overrides.insert(config.name.as_str().to_owned(), value.as_str().to_owned());
    }
    Ok(overrides)
}

/// The code and sentence Kafka answers with.
fn denial(refusal: Refusal) -> Denial {
    match refusal {
        Refusal::Exists => (Code::TopicAlreadyExists, "Topic already exists.".into()),
        Refusal::InvalidName(message) => (Code::InvalidTopic, message),
        Refusal::Reserved => {
            (Code::InvalidRequest, "Creation of internal topic is prohibited.".into())
        }
        Refusal::Partitions => (
            Code::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.".into(),
        ),
        Refusal::TooManyPartitions(number) => (
            Code::PolicyViolation,
            format!("{number} partitions are more than the {PARTITIONS_MAX} a topic may have"),
        ),
        Refusal::Config(message) => (Code::InvalidConfig, message),
        Refusal::Engine(error) => (Code::from(&error), error.to_string()),
    }
}
