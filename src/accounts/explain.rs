//! What would become of a registration on this server, for administrators who ask.

use super::{Accounts, Error};
use crate::{
    policy::{
        EmailAddress, Explained, Explanation, Message, RegistrationQuestion, Violation,
        ViolationKind,
    },
    store::accounts,
};

/// How many user ids are looked at until one is free.
const CANDIDATES: usize = 64;

impl Accounts {
    /// What the policy says of a registration, and what the database adds to it: whether the
    /// address has an account, and which user id is free.
    pub async fn explain_registration(
        &self,
        question: &RegistrationQuestion<'_>,
    ) -> Result<Explanation, Error> {
        let policy = self.0.policy.load_full();
        let mut explanation = policy.explain_registration(question);
        let Ok(address) = EmailAddress::parse(question.address) else {
            return Ok(explanation);
        };
        let mut conn = self.0.store.conn().await?;
        let owner = accounts::find_by_address(&mut conn, address.as_str()).await?;
        explanation.push(match owner {
            Some(_) => Explained::denied("address_in_use", in_use()),
            None => Explained::allowed("address_in_use", "REG-05", None),
        });
        if policy.username_is_derived()
            && let Ok(candidates) = policy.localparts_for_address(&address)
        {
            let ids = candidates.take(CANDIDATES);
            let ids: Vec<_> = ids.filter_map(|name| self.local_user_id(&name)).collect();
            let taken = accounts::list_existing(&mut conn, &ids).await?;
            let free = ids.into_iter().find(|id| !taken.contains(id));
            let named = explanation.decisions.iter_mut();
            let user_id = named
                .into_iter()
                .find(|decision| decision.question == "user_id");
            if let (Some(user_id), Some(free)) = (user_id, free) {
                user_id.result = Some(free.to_string());
            }
        }
        Ok(explanation)
    }
}

fn in_use() -> Violation {
    let message = Message::fixed(
        "Cette adresse a déjà un compte.",
        "This address has an account already.",
    );
    Violation::new(
        "REG-05",
        ViolationKind::ThreepidDenied,
        "address_in_use",
        message,
    )
}
