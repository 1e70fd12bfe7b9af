//! Push rules: the predefined ones, and what users make of them.
//!
//! They are kept as account data of type `m.push_rules` from the first change on; until then
//! everybody has the predefined rules. Client-server API v1.19, "Push Rules".

use ruma::{
    UserId,
    push::{
        Action, AnyPushRule, AnyPushRuleRef, InsertPushRuleError, NewPushRule, RemovePushRuleError,
        RuleKind, Ruleset,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{Actor, Error, Rooms};
use crate::{
    event::push,
    store::{account_data, live::PUSH_RULES},
};

/// The longest id of a rule, in bytes.
const MAX_RULE_ID: usize = 255;

#[derive(Serialize, Deserialize)]
struct Content {
    global: Ruleset,
}

fn content(global: Ruleset) -> Result<Box<RawValue>, Error> {
    to_raw_value(&Content { global }).map_err(|error| Error::Invalid(error.to_string()))
}

impl Rooms {
    /// The rules of somebody who has changed none, as the content of account data. A sync shows it
    /// where nothing is stored.
    ///
    /// # Errors
    /// None, as long as rules have a JSON form.
    pub fn default_push_rules(&self, user_id: &UserId) -> Result<Box<RawValue>, Error> {
        content(self.predefined_rules(user_id))
    }

    /// The predefined rules of a user.
    fn predefined_rules(&self, user_id: &UserId) -> Ruleset {
        push::predefined(user_id, self.0.settings.push_rules)
    }

    /// The push rules of a user (`GET /pushrules/`).
    pub async fn push_rules(&self, actor: &Actor) -> Result<Ruleset, Error> {
        let mut conn = self.0.store.conn().await?;
        let found = account_data::find(&mut conn, actor.user, None, PUSH_RULES).await?;
        let stored = found.and_then(|found| serde_json::from_str::<Content>(found.get()).ok());
        let defaults = self.predefined_rules(&actor.user_id);
        let Some(Content { global }) = stored else {
            return Ok(defaults);
        };
        // Rules that were predefined later are added, with what the user says of the others.
        Ok(push::merged(global, defaults))
    }

    /// The same as the content of account data.
    pub(super) async fn push_rules_content(&self, actor: &Actor) -> Result<Box<RawValue>, Error> {
        content(self.push_rules(actor).await?)
    }

    /// Adds or replaces a rule (`PUT /pushrules/global/{kind}/{ruleId}`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for an id or a place that rules of users cannot have, and
    /// [`Error::NotFound`] for a neighbor that is not there.
    pub async fn set_push_rule(
        &self,
        actor: &Actor,
        rule: NewPushRule,
        after: Option<&str>,
        before: Option<&str>,
    ) -> Result<(), Error> {
        if rule.rule_id().is_empty() || rule.rule_id().len() > MAX_RULE_ID {
            return Err(Error::Invalid("the id of the rule cannot be used".into()));
        }
        let change = |rules: &mut Ruleset| {
            rules
                .insert(rule, after, before)
                .map_err(|error| match error {
                    InsertPushRuleError::UnknownRuleId => Error::NotFound("push rule"),
                    error => Error::Invalid(error.to_string()),
                })
        };
        self.change_push_rules(actor, change).await
    }

    /// Removes a rule (`DELETE /pushrules/global/{kind}/{ruleId}`).
    ///
    /// # Errors
    /// [`Error::NotFound`], and [`Error::Invalid`] for a predefined rule.
    pub async fn delete_push_rule(
        &self,
        actor: &Actor,
        kind: RuleKind,
        rule_id: &str,
    ) -> Result<(), Error> {
        let change = |rules: &mut Ruleset| {
            rules.remove(kind, rule_id).map_err(|error| match error {
                RemovePushRuleError::NotFound => Error::NotFound("push rule"),
                error => Error::Invalid(error.to_string()),
            })
        };
        self.change_push_rules(actor, change).await
    }

    /// Turns a rule on or off (`PUT …/enabled`).
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn enable_push_rule(
        &self,
        actor: &Actor,
        kind: RuleKind,
        rule_id: &str,
        enabled: bool,
    ) -> Result<(), Error> {
        let change = |rules: &mut Ruleset| {
            let changed = rules.set_enabled(kind, rule_id, enabled);
            changed.map_err(|_| Error::NotFound("push rule"))
        };
        self.change_push_rules(actor, change).await
    }

    /// Says what a rule does (`PUT …/actions`).
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn set_push_rule_actions(
        &self,
        actor: &Actor,
        kind: RuleKind,
        rule_id: &str,
        actions: Vec<Action>,
    ) -> Result<(), Error> {
        let change = |rules: &mut Ruleset| {
            let changed = rules.set_actions(kind, rule_id, actions);
            changed.map_err(|_| Error::NotFound("push rule"))
        };
        self.change_push_rules(actor, change).await
    }

    /// One rule (`GET /pushrules/global/{kind}/{ruleId}`).
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn push_rule(
        &self,
        actor: &Actor,
        kind: RuleKind,
        rule_id: &str,
    ) -> Result<AnyPushRule, Error> {
        let rules = self.push_rules(actor).await?;
        let rule = rules.get(kind, rule_id).map(AnyPushRuleRef::to_owned);
        rule.ok_or(Error::NotFound("push rule"))
    }

    async fn change_push_rules(
        &self,
        actor: &Actor,
        change: impl FnOnce(&mut Ruleset) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let _turn = self.0.locks.turn(actor.user, None).await;
        let mut rules = self.push_rules(actor).await?;
        change(&mut rules)?;
        let content = content(rules)?;
        self.write_account_data(actor, None, PUSH_RULES, content)
            .await
    }
}
