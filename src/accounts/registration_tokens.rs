//! Tokens that let their holders make accounts, as administrators see and change them.

use super::{Accounts, Error, Requester};
use crate::store::registration_tokens::{self as tokens, Change, RegistrationToken};

/// The longest token, in letters ("Token-authenticated registration", v1.19).
const MAX_LENGTH: usize = 64;
/// The length of tokens that the server chooses, unless it is told another.
const DEFAULT_LENGTH: usize = 16;
/// How often it is tried to find a token that is free.
const TRIES: usize = 10;

/// A token that an administrator makes.
#[derive(Debug, Default)]
pub struct NewToken {
    /// The token; the server chooses one if there is none.
    pub token: Option<String>,
    /// How long the one is that the server chooses.
    pub length: Option<usize>,
    /// How many accounts it is good for; `None`: any number.
    pub uses_allowed: Option<i64>,
    /// When it stops working, in milliseconds since the epoch; `None`: never.
    pub expires_ms: Option<i64>,
}

/// What an administrator changes of a token: in each the outer `None` leaves it as it is.
pub type TokenChange = Change;

impl Accounts {
    /// The tokens; with `is_valid`, only those that work, or only the others.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for who is no administrator, as with the others of these.
    pub async fn registration_tokens(
        &self,
        requester: &Requester,
        is_valid: Option<bool>,
    ) -> Result<Vec<RegistrationToken>, Error> {
        Self::require_admin(requester)?;
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        Ok(tokens::list(&mut conn, is_valid, now).await?)
    }

    /// One token.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn registration_token(
        &self,
        requester: &Requester,
        token: &str,
    ) -> Result<RegistrationToken, Error> {
        Self::require_admin(requester)?;
        check_known(token)?;
        let mut conn = self.0.store.conn().await?;
        let found = tokens::find(&mut conn, token).await?;
        found.ok_or(UNKNOWN)
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] for values that cannot be used, and for a token that there is.
    pub async fn add_registration_token(
        &self,
        requester: &Requester,
        new: NewToken,
    ) -> Result<RegistrationToken, Error> {
        Self::require_admin(requester)?;
        check_uses(new.uses_allowed)?;
        self.check_expiry(new.expires_ms)?;
        let length = new.length.unwrap_or(DEFAULT_LENGTH);
        if !(1..=MAX_LENGTH).contains(&length) {
            return Err(Error::InvalidParam("a token has 1 to 64 letters"));
        }
        if new.token.as_deref().is_some_and(|token| !is_token(token)) {
            return Err(Error::InvalidParam(
                "a token has 1 to 64 letters, digits, dots, dashes, tildes and underscores",
            ));
        }
        let now = self.0.clock.now_i64();
        let mut conn = self.0.store.conn().await?;
        for _ in 0..TRIES {
            let chosen = new.token.clone();
            let token = chosen.unwrap_or_else(|| self.0.random.alphanumeric(length));
            let (uses_allowed, expires_ms) = (new.uses_allowed, new.expires_ms);
            if tokens::insert(&mut conn, &token, uses_allowed, now, expires_ms).await? {
                return Ok(RegistrationToken {
                    token,
                    uses_allowed,
                    completed: 0,
                    expires_ms,
                });
            }
            if new.token.is_some() {
                break;
            }
        }
        Err(Error::InvalidParam("there is such a token"))
    }

    /// Changes a token.
    ///
    /// # Errors
    /// [`Error::InvalidParam`], [`Error::NotFound`].
    pub async fn change_registration_token(
        &self,
        requester: &Requester,
        token: &str,
        change: TokenChange,
    ) -> Result<RegistrationToken, Error> {
        Self::require_admin(requester)?;
        check_known(token)?;
        check_uses(change.uses_allowed.flatten())?;
        self.check_expiry(change.expires_ms.flatten())?;
        let mut conn = self.0.store.conn().await?;
        let changed = tokens::update(&mut conn, token, change).await?;
        changed.ok_or(UNKNOWN)
    }

    /// Removes a token.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove_registration_token(
        &self,
        requester: &Requester,
        token: &str,
    ) -> Result<(), Error> {
        Self::require_admin(requester)?;
        check_known(token)?;
        let mut conn = self.0.store.conn().await?;
        if tokens::delete(&mut conn, token).await? {
            Ok(())
        } else {
            Err(UNKNOWN)
        }
    }

    fn check_expiry(&self, expires_ms: Option<i64>) -> Result<(), Error> {
        if expires_ms.is_some_and(|at| at < self.0.clock.now_i64()) {
            return Err(Error::InvalidParam("the expiry lies in the past"));
        }
        Ok(())
    }
}

const UNKNOWN: Error = Error::NotFound("there is no such token");

fn check_uses(uses_allowed: Option<i64>) -> Result<(), Error> {
    if uses_allowed.is_some_and(|uses| uses < 0) {
        return Err(Error::InvalidParam("uses_allowed is negative"));
    }
    Ok(())
}

/// The database keeps no NUL.
fn check_known(token: &str) -> Result<(), Error> {
    if token.contains('\0') {
        return Err(UNKNOWN);
    }
    Ok(())
}

fn is_token(token: &str) -> bool {
    (1..=MAX_LENGTH).contains(&token.len())
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}
