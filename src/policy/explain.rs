//! What the policy would say, and why, for administrators who ask before somebody tries.

use serde::Serialize;

use super::{Decision, EmailAddress, Policy, Violation};
use crate::config::Profile;

/// A registration that somebody might try.
#[derive(Clone, Copy, Default)]
pub struct RegistrationQuestion<'a> {
    /// The e-mail address, as it would be typed.
    pub address: &'a str,
    /// Whether an invitation by e-mail waits for it.
    pub invited: bool,
    /// The password, if it is asked for too.
    pub password: Option<&'a str>,
    /// The display name that somebody would like to have.
    pub display_name: Option<&'a str>,
    /// The user id that somebody would like to have, or its local part.
    pub user_id: Option<&'a str>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// What was asked: `address`, `register`, `user_id`, `display_name`, `password`,
    /// `address_in_use`, `invite`, `room`, `create_room`.
    pub question: &'static str,
    /// Whether the answer is yes.
    pub allowed: bool,
    /// The row of the rules that decided, `open`, or `Matrix` where the room itself did.
    pub rule: &'static str,
    /// The word that clients get as `fr.gouv.tchap.reason`, where the answer is no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Matrix's error code, where the answer is no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errcode: Option<&'static str>,
    /// The sentence that people see, in French and in English, where the answer is no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<(String, String)>,
    /// What follows from it: the server of the address, the user id, the display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// The answer to a question: allowed if all its decisions are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The profile in force: `tchap` or `open`.
    pub profile: &'static str,
    /// Whether it would be allowed.
    pub allowed: bool,
    /// Whether the person whom it is about is, or would be, an external guest.
    pub external: bool,
    /// The entry or pattern of `[policy.addresses]` that fits the address, by its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// Each decision, in the order in which they are asked for.
    pub decisions: Vec<Explained>,
}

impl Explained {
    /// A yes or no.
    pub fn of(question: &'static str, decision: Decision) -> Self {
        match decision {
            Decision::Allow { rule } => Self::allowed(question, rule, None),
            Decision::Deny(violation) => Self::denied(question, violation),
        }
    }

    /// A yes.
    pub fn allowed(question: &'static str, rule: &'static str, result: Option<String>) -> Self {
        Self {
            question,
            allowed: true,
            rule,
            reason: None,
            errcode: None,
            message: None,
            result,
        }
    }

    /// A no.
    pub fn denied(question: &'static str, violation: Violation) -> Self {
        let message = violation.message;
        Self {
            question,
            allowed: false,
            rule: violation.rule,
            reason: Some(violation.reason),
            errcode: Some(violation.kind.errcode()),
            message: Some((message.fr.into_owned(), message.en.into_owned())),
            result: None,
        }
    }
}

impl Explanation {
    /// Adds a decision.
    pub fn push(&mut self, decision: Explained) {
        self.allowed &= decision.allowed;
        self.decisions.push(decision);
    }
}

impl Policy {
    /// An answer without decisions yet.
    pub fn explanation(&self) -> Explanation {
        Explanation {
            profile: match self.profile() {
                Profile::Tchap => "tchap",
                Profile::Open => "open",
            },
            allowed: true,
            external: false,
            matched: None,
            decisions: Vec::new(),
        }
    }

    /// Whether a registration would be allowed, and which rules decide (tchap.md 2.1, 2.2, 2.5 and
    /// 2.6). What only the database knows is not asked: whether the address, or the user id, is
    /// taken.
    pub fn explain_registration(&self, question: &RegistrationQuestion<'_>) -> Explanation {
        let mut explanation = self.explanation();
        match EmailAddress::parse(question.address) {
            Ok(address) => self.explain_address(&address, question, &mut explanation),
            Err(error) => explanation.push(Explained::denied("address", error.into())),
        }
        if let Some(password) = question.password {
            explanation.push(match self.password_problem(password) {
                Some(problem) => Explained::denied("password", problem.into()),
                None => Explained::allowed("password", "2.6", None),
            });
        }
        explanation
    }

    fn explain_address(
        &self,
        address: &EmailAddress,
        question: &RegistrationQuestion<'_>,
        explanation: &mut Explanation,
    ) {
        explanation.external = self.is_external_address(address);
        explanation.matched = self.matched_address(address);
        let canonical = Some(address.as_str().to_owned());
        explanation.push(Explained::allowed("address", "R-01", canonical));
        let info = self.address_info(address, None, None, question.invited);
        let server = info.hs.as_ref().map(ToString::to_string);
        let may = self.may_register(&info);
        let mut register = Explained::of("register", may);
        register.result = server;
        explanation.push(register);
        let wanted = question.user_id.map(localpart);
        explanation.push(self.explain_user_id(address, wanted));
        if self.username_is_derived() {
            let derived = self.display_name_for_address(address);
            let differs = question
                .display_name
                .is_some_and(|name| name.trim() != derived);
            let mut name = if differs {
                Explained::of("display_name", self.may_set_display_name(false, false))
            } else {
                Explained::allowed("display_name", "2.5", None)
            };
            name.result = Some(derived);
            explanation.push(name);
        }
    }

    /// With ids that follow from addresses, another that is wanted changes nothing (REG-15).
    fn explain_user_id(&self, address: &EmailAddress, wanted: Option<&str>) -> Explained {
        const QUESTION: &str = "user_id";
        if !self.username_is_derived() {
            return match wanted.map(|wanted| super::check_localpart(wanted, &self.server_name)) {
                Some(Err(error)) => Explained::denied(QUESTION, error.into()),
                Some(Ok(())) | None => {
                    Explained::allowed(QUESTION, super::OPEN, wanted.map(str::to_owned))
                }
            };
        }
        let first = self.localparts_for_address(address);
        match first.map(|mut localparts| localparts.next()) {
            Ok(first) => {
                let user_id = first.map(|first| format!("@{first}:{}", self.server_name));
                let rule = if wanted.is_some() { "REG-15" } else { "2.5" };
                Explained::allowed(QUESTION, rule, user_id)
            }
            Err(error) => Explained::denied(QUESTION, error.into()),
        }
    }

    fn matched_address(&self, address: &EmailAddress) -> Option<String> {
        if self.is_open() {
            return None;
        }
        self.addresses.matched(address)
    }
}

/// The local part of what may be a whole user id.
fn localpart(user_id: &str) -> &str {
    let localpart = user_id.split(':').next().unwrap_or(user_id);
    localpart.strip_prefix('@').unwrap_or(localpart)
}
