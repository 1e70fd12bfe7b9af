//! Registration by programs that know a secret, as Synapse's tools do it.
//!
//! A nonce proves itself: it carries its time and a code made with the secret. Any process can
//! check it, and only used ones are remembered.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{
    Accounts, Error, NewSession, Session, has_control_characters, register::Draft, sessions::later,
    settings::SharedSecret,
};
use crate::{
    audit::{Actor, action},
    policy::PasswordProblem,
    store::{Store, access_tokens::TokenHash, registration_tokens},
};

/// How long a nonce is good.
const NONCE_LIFETIME: Duration = Duration::from_mins(1);

/// The length of a nonce's time and of its random part, in bytes.
const TIME_LENGTH: usize = 8;
const RANDOM_LENGTH: usize = 16;

/// The longest password, in characters.
const MAX_PASSWORD: usize = 512;

/// A registration by a program that knows the secret.
pub struct SharedSecretRegistration {
    /// A nonce from [`Accounts::registration_nonce`].
    pub nonce: String,
    /// The local part.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// Whether the account may administer the server.
    pub is_admin: bool,
    /// What kind of account it is.
    pub user_type: Option<String>,
    /// The name that people see; the local part if there is none.
    pub display_name: Option<String>,
    /// HMAC-SHA1 of nonce, user name, password, `admin` or `notadmin`, and the kind if there is
    /// one, with NUL between them, in hexadecimal.
    pub mac: String,
}

impl Accounts {
    /// A nonce for [`register_shared_secret`](Self::register_shared_secret), good for a minute and
    /// for one use.
    pub fn registration_nonce(&self) -> Result<String, Error> {
        let secret = self.shared_secret()?;
        let mut nonce = self.0.clock.now_ms().to_be_bytes().to_vec();
        nonce.extend(self.0.random.bytes::<RANDOM_LENGTH>());
        let code = nonce_code(secret, &nonce)?;
        nonce.extend(code);
        Ok(URL_SAFE_NO_PAD.encode(nonce))
    }

    /// Makes an account for a program that knows the secret. No address and no terms are asked
    /// for, and the policy's rules for passwords do not apply: what the program sets is its own
    /// matter.
    pub async fn register_shared_secret(
        &self,
        request: SharedSecretRegistration,
    ) -> Result<Session, Error> {
        let secret = self.shared_secret()?;
        if !self.is_nonce_good(secret, &request.nonce)? {
            return Err(Error::InvalidParam("unrecognised nonce"));
        }
        if request.password.is_empty() {
            return Err(PasswordProblem::Empty.into());
        }
        if request.password.chars().count() > MAX_PASSWORD {
            return Err(PasswordProblem::TooLong.into());
        }
        // A NUL inside a field would let two requests have the same code.
        let texts = [
            Some(&request.username),
            request.user_type.as_ref(),
            request.display_name.as_ref(),
        ];
        if request.password.contains('\0')
            || texts
                .into_iter()
                .flatten()
                .any(|text| has_control_characters(text))
        {
            return Err(Error::InvalidParam("a field has control characters"));
        }
        let expected = registration_code(secret, &request)?;
        let given = request.mac.to_ascii_lowercase();
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
            return Err(Error::Forbidden("HMAC incorrect"));
        }

        let password_hash = self.0.hasher.hash(&request.password).await?;
        let draft = Draft {
            password_hash: Some(&password_hash),
            is_admin: request.is_admin,
            is_external: false,
            is_guest: false,
            user_type: request.user_type.as_deref(),
            display_name: request.display_name.as_deref(),
        };
        let mut tx = self.0.store.begin().await?;
        let end = later(self.0.clock.now_i64(), NONCE_LIFETIME);
        let nonce = TokenHash::of(&request.nonce);
        if !registration_tokens::insert_nonce(&mut tx, nonce, end).await? {
            return Err(Error::InvalidParam("unrecognised nonce"));
        }
        let (user, user_id) = self
            .insert_account(&mut tx, &request.username.to_lowercase(), &draft)
            .await?
            .ok_or(Error::UserInUse)?;
        let session = self
            .start_session(&mut tx, user, &user_id, NewSession::default())
            .await?;
        Store::commit(tx).await?;
        tracing::info!(user.id = %user_id, "an account was made with the shared secret");
        self.note(action::ACCOUNT_CREATED, Actor::Operator, &user_id);
        Ok(session)
    }

    fn shared_secret(&self) -> Result<&SharedSecret, Error> {
        let secret = self.0.settings.registration.shared_secret.as_ref();
        secret.ok_or(Error::InvalidParam(
            "shared secret registration is not enabled",
        ))
    }

    fn is_nonce_good(&self, secret: &SharedSecret, nonce: &str) -> Result<bool, Error> {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else {
            return Ok(false);
        };
        let Some((signed, code)) = bytes.split_at_checked(TIME_LENGTH + RANDOM_LENGTH) else {
            return Ok(false);
        };
        if !bool::from(nonce_code(secret, signed)?.ct_eq(code)) {
            return Ok(false);
        }
        let Some(made) = signed.first_chunk::<TIME_LENGTH>() else {
            return Ok(false);
        };
        let age = self
            .0
            .clock
            .now_ms()
            .saturating_sub(u64::from_be_bytes(*made));
        Ok(u128::from(age) < NONCE_LIFETIME.as_millis())
    }
}

/// The code that makes a nonce one of ours.
fn nonce_code(secret: &SharedSecret, signed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut code = Hmac::<Sha256>::new_from_slice(secret.0.as_bytes())
        .map_err(|error| Error::Hashing(error.to_string()))?;
    code.update(b"chappe registration nonce\0");
    code.update(signed);
    Ok(code.finalize().into_bytes().to_vec())
}

/// The code that proves that a request knows the secret, in hexadecimal.
fn registration_code(
    secret: &SharedSecret,
    request: &SharedSecretRegistration,
) -> Result<String, Error> {
    let mut code = Hmac::<Sha1>::new_from_slice(secret.0.as_bytes())
        .map_err(|error| Error::Hashing(error.to_string()))?;
    let role = if request.is_admin {
        "admin"
    } else {
        "notadmin"
    };
    let fields = [
        request.nonce.as_str(),
        request.username.as_str(),
        request.password.as_str(),
        role,
    ];
    code.update(fields.join("\0").as_bytes());
    if let Some(user_type) = &request.user_type {
        code.update(b"\0");
        code.update(user_type.as_bytes());
    }
    Ok(format!("{:x}", code.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(is_admin: bool, user_type: Option<&str>) -> SharedSecretRegistration {
        SharedSecretRegistration {
            nonce: "abcd".to_owned(),
            username: "bob".to_owned(),
            password: Zeroizing::new("abc123".to_owned()),
            is_admin,
            user_type: user_type.map(str::to_owned),
            display_name: None,
            mac: String::new(),
        }
    }

    /// The codes were computed with Python's `hmac`, as Synapse's documentation does.
    #[test]
    fn the_code_is_that_of_synapse() {
        let secret = SharedSecret::new("shared");
        let code = |is_admin, user_type| {
            registration_code(&secret, &request(is_admin, user_type)).unwrap()
        };
        assert_eq!(
            code(false, None),
            "18e7c570a29fc1f7f71a32c9e468f5fb7e0e6bba"
        );
        assert_eq!(
            code(true, Some("support")),
            "cedfc6e7cada5e1611460bbe13bb2a0964495e83"
        );
    }
}
