//! What this service signs, and the keys of invitations (identity service API v1.19, "Key
//! management" and "Ephemeral invitation signing").

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, ServerName, UserId, canonical_json::to_canonical_value,
};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Error, Identity};
use crate::{
    event::SigningKey,
    store::{invitation_work::Due, invitations},
};

/// The name of an invitation's own key, after `ed25519:`.
const EPHEMERAL: &str = "invitation";

impl Identity {
    /// The key with this id, such as `ed25519:a_key`, in unpadded base64. There is one.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn public_key(&self, key_id: &str) -> Result<String, Error> {
        let (id, key) = self.0.rooms.public_key();
        if id.as_str() == key_id {
            Ok(key)
        } else {
            Err(Error::NotFound("the public key"))
        }
    }

    /// Whether this is the server's key.
    pub fn is_key_valid(&self, public_key: &str) -> bool {
        let (_, key) = self.0.rooms.public_key();
        standard(public_key) == key
    }

    /// Whether this is the key of an open invitation.
    pub async fn is_ephemeral_key_valid(&self, public_key: &str) -> Result<bool, Error> {
        let key = standard(public_key);
        if key.len() > 64 {
            return Ok(false);
        }
        let mut conn = self.0.store.conn().await?;
        let now = self.0.clock.now_i64();
        Ok(invitations::is_key_valid(&mut conn, &key, now).await?)
    }

    /// Signs, with a key that the client shows, that a user accepts an invitation.
    ///
    /// # Errors
    /// [`Error::UnknownInvitation`]; [`Error::InvalidParam`] for what is no key.
    pub async fn sign_invitation(
        &self,
        user_id: &UserId,
        token: &str,
        private_key: &str,
    ) -> Result<CanonicalJsonObject, Error> {
        let seed = Zeroizing::new(standard(private_key));
        let seed = STANDARD_NO_PAD.decode(&*seed).map(Zeroizing::new);
        let seed = seed.map_err(|_| Error::InvalidParam("private_key is no base64"))?;
        let key = key(&seed)?;
        let inviter = if token.len() > 255 || token.contains('\0') {
            None
        } else {
            let mut conn = self.0.store.conn().await?;
            invitations::find_inviter(&mut conn, token).await?
        };
        let inviter = inviter.ok_or(Error::UnknownInvitation)?;
        let mut signed = object(&json!({ "mxid": user_id, "sender": inviter, "token": token }))?;
        sign(&key, &self.0.settings.server_name, &mut signed)?;
        Ok(signed)
    }

    /// Signs an object with the server's key.
    pub(super) fn sign(&self, value: &impl Serialize) -> Result<CanonicalJsonObject, Error> {
        let mut signed = object(value)?;
        self.0
            .rooms
            .sign_object(&mut signed)
            .map_err(|error| Error::Signing(error.to_string()))?;
        Ok(signed)
    }

    /// The field `third_party_invite` of an invite, signed by the server and by the invitation's
    /// own key: the room may know an older key of the server.
    pub(super) fn signed_invite(&self, due: &Due) -> Result<CanonicalJsonObject, Error> {
        let mut signed = self.sign(&json!({ "mxid": due.user_id, "token": due.token }))?;
        sign(
            &key(&due.ephemeral_seed)?,
            &self.0.settings.server_name,
            &mut signed,
        )?;
        let name = CanonicalJsonValue::String(due.display_name.clone());
        Ok(CanonicalJsonObject::from([
            ("display_name".to_owned(), name),
            ("signed".to_owned(), CanonicalJsonValue::Object(signed)),
        ]))
    }

    /// A key for one invitation: the private half, and the public half in unpadded base64.
    pub(super) fn ephemeral_key(&self) -> Result<(Zeroizing<[u8; 32]>, String), Error> {
        let seed = Zeroizing::new(self.0.random.bytes::<32>());
        let public = key(&*seed)?.public_key_base64();
        Ok((seed, public))
    }
}

fn key(seed: &[u8]) -> Result<SigningKey, Error> {
    let wrong = || Error::InvalidParam("private_key is no private key");
    let seed: [u8; 32] = seed.try_into().map_err(|_| wrong())?;
    SigningKey::from_seed(EPHEMERAL, Zeroizing::new(seed)).map_err(|_| wrong())
}

fn sign(
    key: &SigningKey,
    server_name: &ServerName,
    object: &mut CanonicalJsonObject,
) -> Result<(), Error> {
    key.sign_object(server_name, object)
        .map_err(|error| Error::Signing(error.to_string()))
}

fn object(value: &impl Serialize) -> Result<CanonicalJsonObject, Error> {
    match to_canonical_value(value) {
        Ok(CanonicalJsonValue::Object(object)) => Ok(object),
        Ok(_) => Err(Error::Signing("not an object".to_owned())),
        Err(error) => Err(Error::Signing(error.to_string())),
    }
}

/// Base64 of either alphabet, padded or not, in the standard alphabet without padding.
fn standard(text: &str) -> String {
    text.trim_end_matches('=')
        .chars()
        .map(|letter| match letter {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect()
}
