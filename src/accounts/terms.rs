//! Terms that people agree to, and agree to again when their text has a new version.
//!
//! The agreement of a registration is its stage `m.login.terms`. Where acceptance is required, a
//! session whose user has not agreed to all versions in force gets the address of a page, which is
//! signed so that it works without a session. Client-server API r0.6, "Server notices and terms",
//! `M_CONSENT_NOT_GIVEN`; tchap.md 10.4.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use ruma::OwnedUserId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;
use zeroize::Zeroizing;

use super::{Accounts, Error, Terms};
use crate::{
    audit::{Actor, action},
    language::Language,
    store::{
        Conn, Store, UserNid, accepted_terms,
        access_tokens::{self, Session},
        server_secrets,
    },
};

/// Where the page is.
const PAGE: &str = "/_matrix/consent";

/// What a link to the page carries.
#[derive(Clone, Debug)]
pub struct ConsentLink {
    /// The local part of the user.
    pub user: String,
    /// The signature.
    pub signature: String,
}

/// What the page shows.
#[derive(Clone, Debug)]
pub struct Consent {
    /// The name, version and address of each document.
    pub documents: Vec<(String, String, Url)>,
    /// Names the versions that are shown: what people agree to is what they saw.
    pub digest: String,
}

impl Accounts {
    /// The page on which the user of a session agrees to what is new; `None`: nothing is.
    pub(super) async fn missing_consent(
        &self,
        conn: &mut Conn,
        session: &Session,
    ) -> Result<Option<Url>, Error> {
        let settings = &self.0.settings.registration;
        if !settings.require_acceptance || settings.terms.is_empty() {
            return Ok(None);
        }
        let (names, versions) = in_force(&settings.terms);
        if accepted_terms::has_all(conn, session.user, &names, &versions).await? {
            return Ok(None);
        }
        let key = self.consent_key(conn).await?;
        let user = session.user_id.localpart();
        let mut page = self.0.settings.public_url.clone();
        let base = page.path().trim_end_matches('/').to_owned();
        page.set_path(&format!("{base}{PAGE}"));
        page.query_pairs_mut()
            .append_pair("u", user)
            .append_pair("h", &sign(&key, user));
        Ok(Some(page))
    }

    /// Notes that a new user agreed to all that is in force: the stage was passed.
    pub(super) async fn accept_at_registration(
        &self,
        conn: &mut Conn,
        user: UserNid,
    ) -> Result<(), Error> {
        let terms = &self.0.settings.registration.terms;
        if terms.is_empty() {
            return Ok(());
        }
        let (names, versions) = in_force(terms);
        let now = self.0.clock.now_i64();
        Ok(accepted_terms::insert(conn, user, &names, &versions, now).await?)
    }

    /// What a link to the page shows; `None`: the link is not good.
    pub async fn consent(
        &self,
        link: &ConsentLink,
        language: Language,
    ) -> Result<Option<Consent>, Error> {
        if self.signed_user(link).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Consent {
            documents: self.documents(language),
            digest: digest(&self.0.settings.registration.terms),
        }))
    }

    /// The documents in force, each with its name, version and address.
    pub(super) fn documents(&self, language: Language) -> Vec<(String, String, Url)> {
        let terms = self.0.settings.registration.terms.iter();
        let documents = terms.map(|terms| {
            let url = match language {
                Language::French => &terms.url_fr,
                Language::English => &terms.url_en,
            };
            (terms.name.clone(), terms.version.clone(), url.clone())
        });
        documents.collect()
    }

    /// Notes that the user of a link agrees to the versions that the digest names. Their sessions
    /// go on at once, on every process. `false`: the link is not good, or shows other versions.
    pub async fn accept_terms(&self, link: &ConsentLink, shown: &str) -> Result<bool, Error> {
        let Some(user_id) = self.signed_user(link).await? else {
            return Ok(false);
        };
        let terms = &self.0.settings.registration.terms;
        if shown != digest(terms) {
            return Ok(false);
        }
        let account = match self.open_account(&user_id).await {
            Ok(account) => account,
            Err(Error::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let (names, versions) = in_force(terms);
        let now = self.0.clock.now_i64();
        let mut tx = self.0.store.begin().await?;
        accepted_terms::insert(&mut tx, account.user, &names, &versions, now).await?;
        access_tokens::notify_changed(&mut tx, account.user).await?;
        Store::commit(tx).await?;
        self.forget_sessions(account.user);
        let actor = Actor::User(user_id.clone());
        self.note(action::TERMS_ACCEPTED, actor, &user_id);
        Ok(true)
    }

    async fn signed_user(&self, link: &ConsentLink) -> Result<Option<OwnedUserId>, Error> {
        let key = self.consent_key(&mut *self.0.store.conn().await?).await?;
        let expected = sign(&key, &link.user);
        let fits: bool = expected.as_bytes().ct_eq(link.signature.as_bytes()).into();
        Ok(self.local_user_id(&link.user).filter(|_| fits))
    }

    /// All processes have the same, so that the page can be any of theirs.
    async fn consent_key(&self, conn: &mut Conn) -> Result<Zeroizing<Vec<u8>>, Error> {
        let key = self.0.consent_key.get_or_try_init(|| async {
            let new = Zeroizing::new(self.0.random.bytes::<32>());
            let now = self.0.clock.now_i64();
            let key = server_secrets::find_or_insert(conn, "consent", &*new, now).await?;
            Ok::<_, Error>(Zeroizing::new(key))
        });
        Ok(key.await?.clone())
    }
}

fn in_force(terms: &[Terms]) -> (Vec<String>, Vec<String>) {
    let pairs = terms.iter();
    pairs
        .map(|terms| (terms.name.clone(), terms.version.clone()))
        .unzip()
}

fn sign(key: &[u8], user: &str) -> String {
    // A key may have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(user.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn digest(terms: &[Terms]) -> String {
    let mut hash = Sha256::new();
    for part in terms.iter().flat_map(|terms| [&terms.name, &terms.version]) {
        // With their lengths, so that no two lists of parts look the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
