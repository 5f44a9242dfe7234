//! DescribeConfigs: topics and this broker, with where each value comes from (B-17).

use super::{Broker, Code};
use crate::config::{FIXED, Fixed, KEYS, Kind, TOPIC_KEYS, TopicKey};
use crate::protocol::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use crate::protocol::{DescribeConfigsRequest, DescribeConfigsResponse, Str};
use crate::topics::Topic;
use oncelog::LogName;

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

/// Where a value comes from, in Kafka's numbers.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

impl Broker {
    pub(super) fn describe_configs(
        &self,
        request: DescribeConfigsRequest,
    ) -> DescribeConfigsResponse {
        let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
        let describe = |resource: DescribeConfigsResource| {
            let mut result = self.describe_resource(&resource);
            let wanted = resource.configuration_keys;
            result
                .configs
                .retain(|config| wanted.as_ref().is_none_or(|keys| keys.contains(&config.name)));
            for config in &mut result.configs {
                if !synonyms {
                    config.synonyms.clear();
                }
                if !documentation {
                    config.documentation = None;
                }
            }
            result.resource_type = resource.resource_type;
            result.resource_name = resource.resource_name;
            result
        };
        DescribeConfigsResponse {
            results: request.resources.into_iter().map(describe).collect(),
            ..DescribeConfigsResponse::default()
        }
    }

    fn describe_resource(&self, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
        let name = resource.resource_name.as_str();
        match resource.resource_type {
            RESOURCE_TOPIC => match self.topics.find(name) {
                Some(topic) => listed(self.topic_configs(&topic)),
                None if LogName::new(name, 0).is_err() => failed(Code::InvalidTopic, name),
                None => failed(Code::UnknownTopicOrPartition, name),
            },
            RESOURCE_BROKER if name.is_empty() => listed(Vec::new()),
            RESOURCE_BROKER if name == self.node_id().to_string() => listed(self.broker_configs()),
            RESOURCE_BROKER => failed(Code::InvalidRequest, name),
            _ => failed(Code::InvalidRequest, name),
        }
    }

    fn topic_configs(&self, topic: &Topic) -> Vec<DescribeConfigsResourceResult> {
        TOPIC_KEYS.iter().map(|key| self.topic_config(topic, key)).collect()
    }

    fn topic_config(&self, topic: &Topic, key: &TopicKey) -> DescribeConfigsResourceResult {
        let own = topic.overrides.get(key.name);
        let inherited = key.inherited(&self.config.settings);
        let mut synonyms = Vec::new();
        if let Some(value) = own {
            synonyms.push(synonym(key.name, value, SOURCE_TOPIC));
        }
        let inherited_from = key.broker_key.unwrap_or(key.name);
        let inherited_source = self.topic_config_source(key, false);
        synonyms.push(synonym(inherited_from, &inherited, inherited_source));
        DescribeConfigsResourceResult {
            name: Str::from_static(key.name),
            value: Some(Str::from(own.unwrap_or(&inherited).as_str())),
            config_source: self.topic_config_source(key, own.is_some()),
            synonyms,
            config_type: key.kind.wire_type(),
            ..DescribeConfigsResourceResult::default()
        }
    }

    /// Where a topic's value of a key comes from.
    pub(super) fn topic_config_source(&self, key: &TopicKey, own: bool) -> i8 {
        let given = || key.broker_key.is_some_and(|name| self.config.is_given(name));
        match own {
            true => SOURCE_TOPIC,
            false if given() => SOURCE_BROKER,
            false => SOURCE_DEFAULT,
        }
    }

    fn broker_configs(&self) -> Vec<DescribeConfigsResourceResult> {
        let describe = |key: &crate::config::Key| {
            let value = self.config.settings.value(key.name);
            let given = self.config.is_given(key.name);
            let own = value.as_deref().filter(|_| given);
            let own = own.map(|value| synonym(key.name, value, SOURCE_BROKER));
            let default = key.default.map(|value| synonym(key.name, value, SOURCE_DEFAULT));
            DescribeConfigsResourceResult {
                name: Str::from_static(key.name),
                value: value.map(Str::from),
                read_only: true,
                config_source: if given { SOURCE_BROKER } else { SOURCE_DEFAULT },
                synonyms: own.into_iter().chain(default).collect(),
                config_type: key.kind.wire_type(),
                documentation: Some(Str::from_static(key.doc)),
                ..DescribeConfigsResourceResult::default()
            }
        };
        KEYS.iter().map(describe).chain(FIXED.iter().map(fixed_config)).collect()
    }
}

/// A key of Kafka's that this broker lets nobody choose.
fn fixed_config(fixed: &Fixed) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: Str::from_static(fixed.name),
        value: Some(Str::from_static(fixed.value)),
        read_only: true,
        config_source: SOURCE_DEFAULT,
        synonyms: vec![synonym(fixed.name, fixed.value, SOURCE_DEFAULT)],
        config_type: Kind::Text.wire_type(),
        documentation: Some(Str::from_static(fixed.doc)),
        ..DescribeConfigsResourceResult::default()
    }
}

fn synonym(name: &'static str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym { name: Str::from_static(name), value: Some(Str::from(value)), source }
}

fn listed(configs: Vec<DescribeConfigsResourceResult>) -> DescribeConfigsResult {
    DescribeConfigsResult { configs, ..DescribeConfigsResult::default() }
}

fn failed(code: Code, name: &str) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_code: code.get(),
        error_message: Some(format!("there is no configuration of {name:?}").into()),
        ..DescribeConfigsResult::default()
    }
}
