//! `/pushrules`: what notifies people.
//!
//! Specification v1.19, client-server API, "Push Rules: API".

use axum::{Router, extract::State};
use ruma::{
    api::client::push::{
        delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled,
        get_pushrules_all, get_pushrules_global_scope, set_pushrule, set_pushrule_actions,
        set_pushrule_enabled,
    },
    push::{AnyPushRule, RuleKind},
};

use crate::{
    http::{ApiError, AppState, RouterExt as _, Ruma},
    rooms::{Actor, Rooms},
};

/// Every endpoint of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .endpoint(all)
        .endpoint(global)
        .endpoint(get)
        .endpoint(set)
        .endpoint(delete)
        .endpoint(get_enabled)
        .endpoint(set_enabled)
        .endpoint(get_actions)
        .endpoint(set_actions)
}

/// `GET /_matrix/client/v3/pushrules/`.
async fn all(
    State(rooms): State<Rooms>,
    request: Ruma<get_pushrules_all::v3::Request>,
) -> Result<get_pushrules_all::v3::Response, ApiError> {
    let rules = rooms.push_rules(&Actor::from(&*request.sender)).await?;
    Ok(get_pushrules_all::v3::Response::new(rules))
}

/// `GET /_matrix/client/v3/pushrules/global/`.
async fn global(
    State(rooms): State<Rooms>,
    request: Ruma<get_pushrules_global_scope::v3::Request>,
) -> Result<get_pushrules_global_scope::v3::Response, ApiError> {
    let rules = rooms.push_rules(&Actor::from(&*request.sender)).await?;
    Ok(get_pushrules_global_scope::v3::Response::new(rules))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`.
async fn get(
    State(rooms): State<Rooms>,
    request: Ruma<get_pushrule::v3::Request>,
) -> Result<get_pushrule::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    let rule = rooms
        .push_rule(&actor, kind_of(body.kind), &body.rule_id)
        .await?;
    // ruma's own conversion does not know the rules of threads.
    let rule = match rule {
        AnyPushRule::PostContent(rule) => rule.into(),
        rule => rule.into(),
    };
    Ok(get_pushrule::v3::Response::new(rule))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`.
async fn set(
    State(rooms): State<Rooms>,
    request: Ruma<set_pushrule::v3::Request>,
) -> Result<set_pushrule::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    let (after, before) = (body.after.as_deref(), body.before.as_deref());
    rooms
        .set_push_rule(&actor, body.rule, after, before)
        .await?;
    Ok(set_pushrule::v3::Response::new())
}

/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`.
async fn delete(
    State(rooms): State<Rooms>,
    request: Ruma<delete_pushrule::v3::Request>,
) -> Result<delete_pushrule::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    rooms
        .delete_push_rule(&actor, kind_of(body.kind), &body.rule_id)
        .await?;
    Ok(delete_pushrule::v3::Response::new())
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`.
async fn get_enabled(
    State(rooms): State<Rooms>,
    request: Ruma<get_pushrule_enabled::v3::Request>,
) -> Result<get_pushrule_enabled::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    let rule = rooms
        .push_rule(&actor, kind_of(body.kind), &body.rule_id)
        .await?;
    Ok(get_pushrule_enabled::v3::Response::new(rule.enabled()))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`.
async fn set_enabled(
    State(rooms): State<Rooms>,
    request: Ruma<set_pushrule_enabled::v3::Request>,
) -> Result<set_pushrule_enabled::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    rooms
        .enable_push_rule(&actor, kind_of(body.kind), &body.rule_id, body.enabled)
        .await?;
    Ok(set_pushrule_enabled::v3::Response::new())
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`.
async fn get_actions(
    State(rooms): State<Rooms>,
    request: Ruma<get_pushrule_actions::v3::Request>,
) -> Result<get_pushrule_actions::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    let rule = rooms
        .push_rule(&actor, kind_of(body.kind), &body.rule_id)
        .await?;
    let actions = rule.actions().to_vec();
    Ok(get_pushrule_actions::v3::Response::new(actions))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`.
async fn set_actions(
    State(rooms): State<Rooms>,
    request: Ruma<set_pushrule_actions::v3::Request>,
) -> Result<set_pushrule_actions::v3::Response, ApiError> {
    let body = request.body;
    let actor = Actor::from(&*request.sender);
    rooms
        .set_push_rule_actions(&actor, kind_of(body.kind), &body.rule_id, body.actions)
        .await?;
    Ok(set_pushrule_actions::v3::Response::new())
}

/// The kind that a path means: the rules of threads (MSC4306) are of the kind that they have in a
/// set of rules, or of the one that ruma's clients write.
fn kind_of(kind: RuleKind) -> RuleKind {
    if kind.as_str() == "postcontent" {
        RuleKind::PostContent
    } else {
        kind
    }
}
