//! What application services know of other networks.
//!
//! Specification v1.19, application service API, "Third-party networks"; client-server API,
//! "Third-party Networks".

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    Bridges,
    client::{Ask, UNSTABLE},
};
use crate::appservice::Service;

/// The most results of one look-up.
const MAX_RESULTS: usize = 1_000;

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThirdParty {
    /// Places, such as channels.
    Location,
    /// People.
    User,
}

impl ThirdParty {
    fn as_str(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::User => "user",
        }
    }
}

impl Bridges {
    /// All networks with what is known of them.
    pub async fn protocols(&self) -> Map<String, Value> {
        let services = self.0.parts.services.load_full();
        let names = services
            .services()
            .iter()
            .flat_map(|service| service.protocols());
        let names: std::collections::BTreeSet<&String> = names.collect();
        let known = names.into_iter().map(async |name| {
            let protocol = self.protocol(name).await?;
            Some((name.clone(), protocol))
        });
        join_all(known).await.into_iter().flatten().collect()
    }

    /// What is known of a network. Several services may connect to it: their instances come
    /// together.
    pub async fn protocol(&self, name: &str) -> Option<Value> {
        let services = self.0.parts.services.load_full();
        let theirs = services
            .services()
            .iter()
            .filter(|service| service.protocols().iter().any(|own| own == name));
        let known = theirs.map(|service| self.protocol_of(service, name));
        let mut known = join_all(known).await.into_iter().flatten();
        let mut protocol = (*known.next()?).clone();
        for other in known {
            let more = other.get("instances").and_then(Value::as_array).cloned();
            if let Some(Value::Array(instances)) = protocol.get_mut("instances") {
                instances.extend(more.unwrap_or_default());
            }
        }
        Some(protocol)
    }

    async fn protocol_of(&self, service: &Arc<Service>, name: &str) -> Option<Arc<Value>> {
        let key = (service.id().to_owned(), name.to_owned());
        if let Some(known) = self.0.protocols.get(&key) {
            return Some(known);
        }
        let path = ["thirdparty", "protocol", name];
        let mut found = self.look_up(service, &path, &[]).await?;
        let protocol = found.as_object_mut()?;
        let instances = protocol.entry("instances").or_insert_with(|| json!([]));
        for instance in instances.as_array_mut()? {
            let network = instance.get("network_id").and_then(Value::as_str);
            let id = format!("{}|{}", service.id(), network.unwrap_or_default());
            if let Some(instance) = instance.as_object_mut() {
                instance.insert("instance_id".to_owned(), id.into());
            }
        }
        let found = Arc::new(found);
        self.0.protocols.insert(key, Arc::clone(&found));
        Some(found)
    }

    /// What a network has under these fields. `None`: there is no such network.
    pub async fn look_up_in(
        &self,
        kind: ThirdParty,
        protocol: &str,
        fields: &BTreeMap<String, String>,
    ) -> Option<Vec<Value>> {
        let services = self.0.parts.services.load_full();
        let has = |service: &&Arc<Service>| service.protocols().iter().any(|own| own == protocol);
        let theirs: Vec<_> = services.services().iter().filter(has).collect();
        if theirs.is_empty() {
            return None;
        }
        let query: Vec<(&str, &str)> = fields
            .iter()
            // The sender's own.
            .filter(|(name, _)| *name != "access_token" && *name != "user_id")
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let path = ["thirdparty", kind.as_str(), protocol];
        let found = theirs
            .into_iter()
            .map(|service| self.look_up(service, &path, &query));
        Some(flatten(join_all(found).await))
    }

    /// What a Matrix id is in other networks: an alias, or a user.
    pub async fn look_up_matrix_id(&self, kind: ThirdParty, id: &str) -> Vec<Value> {
        let name = match kind {
            ThirdParty::Location => "alias",
            ThirdParty::User => "userid",
        };
        let services = self.0.parts.services.load_full();
        let theirs = services.services().iter();
        let theirs = theirs.filter(|service| !service.protocols().is_empty());
        let path = ["thirdparty", kind.as_str()];
        let query = [(name, id)];
        let found = theirs.map(|service| self.look_up(service, &path, &query));
        flatten(join_all(found).await)
    }

    async fn look_up(
        &self,
        service: &Service,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Option<Value> {
        let ask = Ask {
            method: Method::GET,
            path,
            query,
            body: None,
            older: Some(UNSTABLE),
        };
        match self.ask(service, &ask).await? {
            Ok(answer) if answer.status.is_success() => serde_json::from_slice(&answer.body).ok(),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(service = service.id(), %error, "an application service was asked in vain");
                None
            }
        }
    }
}

/// The results of all services; those that make no sense are left out.
fn flatten(answers: Vec<Option<Value>>) -> Vec<Value> {
    let answers = answers.into_iter().flatten();
    let results = answers.filter_map(|answer| match answer {
        Value::Array(results) => Some(results),
        _ => None,
    });
    results
        .flatten()
        .filter(Value::is_object)
        .take(MAX_RESULTS)
        .collect()
}
