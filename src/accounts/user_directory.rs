//! Finding people by name, or by their whole e-mail address.
//!
//! Specification v1.19, client-server API, "User directory"; tchap.md 6.1 (UD) and 6.2 (RL).

use super::{Accounts, Error, Requester};
use crate::{
    policy::EmailAddress,
    store::{
        Conn, Store, StoreError, UserNid, accounts, profiles,
        user_directory::{self, Found, Search, words},
    },
};

/// The longest term, in characters.
const MAX_TERM: usize = 255;
/// The most users in one answer (UD-09).
const MAX_FOUND: usize = 50;
/// How many accounts are brought up to date at once.
const BATCH: i64 = 200;

/// How people are found.
#[derive(Clone, Copy, Debug)]
pub struct DirectorySettings {
    /// Whether people find everybody who is not hidden; otherwise those with whom they share a
    /// room, and those in public rooms.
    pub search_all: bool,
    /// How many letters a word of a search must have, one at least.
    pub min_term_length: usize,
}

/// The answer to a search.
#[derive(Clone, Debug, Default)]
pub struct FoundUsers {
    /// In the order in which they are shown.
    pub users: Vec<Found>,
    /// Whether there were more.
    pub limited: bool,
}

impl Accounts {
    /// Finds people: those all of whose words begin as those of the term, whatever their order,
    /// case and accents. An agent's whole e-mail address finds its owner also where the name does
    /// not. A user id finds by the beginning of its words.
    ///
    /// Externals find nobody (UD-07). A term without a word of the least length finds nobody, so
    /// that the directory is not read letter by letter.
    ///
    /// # Errors
    /// [`Error::InvalidParam`] for a term that is too long or has control characters.
    pub async fn search_users(
        &self,
        requester: &Requester,
        term: &str,
        limit: u64,
    ) -> Result<FoundUsers, Error> {
        if term.chars().count() > MAX_TERM {
            return Err(Error::InvalidParam("the search term is too long"));
        }
        if term.contains('\0') {
            return Err(Error::InvalidParam("the search term has a NUL"));
        }
        let policy = self.0.policy.load();
        let standing = requester.standing(&policy);
        let may_search = policy.may_search_people(standing).is_allowed();
        let by_address = policy.finds_by_address();
        drop(policy);
        if !may_search {
            return Ok(FoundUsers::default());
        }
        let limit = usize::try_from(limit)
            .unwrap_or(MAX_FOUND)
            .clamp(1, MAX_FOUND);
        let mut conn = self.0.store.conn().await?;
        let mut users = Vec::new();
        if by_address && let Ok(address) = EmailAddress::parse(term) {
            let owner = self
                .find_owner(&mut conn, &address, requester.user())
                .await?;
            users.extend(owner);
        }
        let named = self
            .find_named(&mut conn, requester.user(), term, limit)
            .await?;
        let is_new = |found: &Found| users.iter().all(|known| known.user != found.user);
        let named: Vec<_> = named.into_iter().filter(is_new).collect();
        users.extend(named);
        let limited = users.len() > limit;
        users.truncate(limit);
        Ok(FoundUsers { users, limited })
    }

    /// Whether somebody may list the public rooms (RO-09). `None`: somebody without an account.
    pub fn may_list_rooms(&self, requester: Option<&Requester>) -> bool {
        let policy = self.0.policy.load();
        let standing = requester.map(|requester| requester.standing(&policy));
        policy.rooms().may_list_published(standing).is_allowed()
    }

    /// The owner of an address: anybody whose account is open, also who is hidden or has expired.
    async fn find_owner(
        &self,
        conn: &mut Conn,
        address: &EmailAddress,
        searcher: UserNid,
    ) -> Result<Option<Found>, Error> {
        let account = accounts::find_by_address(conn, address.as_str()).await?;
        let found = account.filter(|found| !found.is_deactivated && found.user != searcher);
        let Some(account) = found else {
            return Ok(None);
        };
        let shown = profiles::list_shown(conn, &[account.user]).await?;
        let shown = shown.into_values().next().unwrap_or_default();
        Ok(Some(Found {
            user: account.user,
            user_id: account.user_id,
            display_name: shown.display_name,
            avatar_url: shown.avatar_url,
        }))
    }

    /// One more than `limit` says that there are more.
    async fn find_named(
        &self,
        conn: &mut Conn,
        searcher: UserNid,
        term: &str,
        limit: usize,
    ) -> Result<Vec<Found>, Error> {
        let settings = &self.0.settings.directory;
        let words = self.words_of_term(term);
        let is_long = |word: &String| word.chars().count() >= settings.min_term_length;
        if !words.iter().any(is_long) {
            return Ok(Vec::new());
        }
        let search = Search {
            words: &words,
            searcher,
            everybody: settings.search_all,
            limit: i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
        };
        Ok(user_directory::search(conn, &search).await?)
    }

    /// The words of a term. Those of a user id, or the beginning of one, are those of its local
    /// part; nobody of another server is known.
    fn words_of_term(&self, term: &str) -> Vec<String> {
        let Some(user_id) = term.trim().strip_prefix('@') else {
            return words(term);
        };
        match user_id.split_once(':') {
            None => words(user_id),
            Some((localpart, server)) => {
                let own = self.0.settings.server_name.as_str();
                if own.starts_with(&server.to_lowercase()) {
                    words(localpart)
                } else {
                    Vec::new()
                }
            }
        }
    }

    /// Brings the directory up to date with accounts that it does not have, after `after` and in
    /// their order: those that were made before there was a directory, or by an older folding.
    /// Gives where to go on; `None`: there are no more. What was done is done, so that a process
    /// that ends in the middle loses nothing.
    pub async fn fill_directory(&self, after: UserNid) -> Result<Option<UserNid>, StoreError> {
        let mut tx = self.0.store.begin().await?;
        let users = user_directory::list_outdated(&mut tx, after, BATCH).await?;
        user_directory::refresh(&mut tx, &users).await?;
        Store::commit(tx).await?;
        Ok(users.last().copied())
    }
}
