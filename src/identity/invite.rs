//! Inviting by e-mail (tchap.md 5): an address that is somebody's is an ordinary invite; any other
//! gets a mail, and its invitation waits.
//!
//! Client-server API v1.19, "Third-party invites"; identity service API v1.19, "Invitation
//! storage".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::room::create_room::v3::Request as CreateRoom,
};
use serde::Deserialize;
use serde_json::json;
use url::{Url, form_urlencoded};

use super::{Error, Holder, Identity};
use crate::{
    accounts::Requester,
    event::build,
    mail::{Invitation, MailError},
    policy::{
        AddressInvite, EmailAddress, Policy,
        rooms::{ACCESS_RULES, Rule, Standing},
    },
    rooms::{self, Actor, InvitingRoom, Says, ThirdPartyInvite},
    store::{
        accounts, identity, invitation_work,
        invitations::{self, NewInvitation},
        profiles,
    },
};

/// The length of a token (tchap.md 5.2).
const TOKEN_LENGTH: usize = 128;

/// How long whoever hands a mail over has it alone.
const MAIL_LEASE: Duration = Duration::from_mins(2);

/// What mails count in.
const DAY: Duration = Duration::from_hours(24);

/// How many mails are handed over in one round of work.
const MAILS_AT_ONCE: i64 = 64;

/// Who invites.
#[derive(Clone, Debug)]
pub struct Inviter {
    /// The user.
    pub actor: Actor,
    /// Whether the user is an external.
    pub is_external: bool,
    /// Whether the user administers the server, and stands above the rules (RO-16).
    pub is_admin: bool,
}

impl From<&Requester> for Inviter {
    fn from(requester: &Requester) -> Self {
        Self {
            actor: Actor::from(requester),
            is_external: requester.is_external(),
            is_admin: requester.is_admin(),
        }
    }
}

impl Inviter {
    fn facts<'a>(&self, policy: &Policy, access_rule: Option<&'a str>) -> AddressInvite<'a> {
        let standing = policy.standing(&self.actor.user_id, self.is_external, self.is_admin);
        AddressInvite {
            access_rule,
            inviter_is_external: standing == Standing::External,
            bypass: standing == Standing::Exempt,
        }
    }
}

/// What `store-invite` is asked.
pub struct StoreInvite<'a> {
    /// The medium; only `email` is known.
    pub medium: &'a str,
    /// Who is invited.
    pub address: &'a str,
    /// The room.
    pub room_id: &'a RoomId,
    /// Who invites.
    pub sender: &'a UserId,
}

/// What `store-invite` answers.
pub struct StoredInvite {
    /// The token, which is the state key of the event to be sent.
    pub token: String,
    /// The keys, that of the server first, each with the address that tells whether it is valid.
    pub public_keys: [(String, Url); 2],
    /// The address as rooms see it.
    pub display_name: String,
}

impl Identity {
    /// Invites an address to a room. One that is somebody's is invited like anybody else (IN-02);
    /// any other gets a mail.
    ///
    /// # Errors
    /// [`Error::UntrustedServer`]; [`Error::Rooms`] where the sender may invite nobody;
    /// [`Error::Denied`] by the rows M3. Nothing is stored then (IN-05).
    pub async fn invite(
        &self,
        inviter: &Inviter,
        room_id: &RoomId,
        id_server: &str,
        (medium, address): (&str, &str),
    ) -> Result<(), Error> {
        let policy = self.0.policy.load_full();
        self.require_own(&policy, id_server)?;
        let actor = &inviter.actor;
        let room = self.0.rooms.inviting_room(actor, room_id).await?;
        let facts = inviter.facts(&policy, room.access_rule.as_deref());
        let address = policy.invited_address(&facts, medium, address)?;
        if let Some(owner) = self.owner(&address).await? {
            self.0.rooms.invite(actor, room_id, &owner, None).await?;
            return Ok(());
        }
        policy.may_invite_address(&facts, &address).into_result()?;
        let invite = self.prepare(&policy, actor, &room, &address).await?;
        self.0.rooms.invite_address(actor, room_id, &invite).await?;
        self.mail_soon(&[invite]).await;
        Ok(())
    }

    /// Makes a room whose request has addresses in `invite_3pid`. All of them are checked before
    /// anything is made, and the room is made with all its invitations or not at all.
    ///
    /// # Errors
    /// Those of [`Self::invite`], and of [`rooms::Rooms::create`].
    pub async fn create_room(
        &self,
        inviter: &Inviter,
        mut request: CreateRoom,
        says: Says,
    ) -> Result<OwnedRoomId, Error> {
        let policy = self.0.policy.load_full();
        let rule = access_rule(&request);
        let facts = inviter.facts(&policy, rule.as_deref());
        let mut addresses = Vec::new();
        for invite in std::mem::take(&mut request.invite_3pid) {
            self.require_own(&policy, &invite.id_server)?;
            let address =
                policy.invited_address(&facts, invite.medium.as_str(), &invite.address)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let wanted: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let owners = {
            let mut conn = self.0.store.conn().await?;
            identity::list_bound(&mut conn, &wanted).await?
        };
        let owners: BTreeMap<String, OwnedUserId> = owners.into_iter().collect();
        let room = InvitingRoom {
            access_rule: rule.clone(),
            name: request.name.clone(),
        };
        let mut waiting = Vec::new();
        for address in &addresses {
            if let Some(owner) = owners.get(address.as_str()) {
                request.invite.push(owner.clone());
                continue;
            }
            policy.may_invite_address(&facts, address).into_result()?;
            waiting.push(
                self.prepare(&policy, &inviter.actor, &room, address)
                    .await?,
            );
        }
        let rooms = &self.0.rooms;
        let room_id = rooms
            .create_inviting(&inviter.actor, &request, says, &waiting)
            .await?;
        self.mail_soon(&waiting).await;
        Ok(room_id)
    }

    /// Remembers an invitation whose event its sender sends, and mails it
    /// (`POST /store-invite`). The same is asked as where this server sends the event itself: a
    /// stored invitation lets its address register.
    ///
    /// # Errors
    /// Those of [`Self::invite`]; [`Error::NotYours`] for another sender than the token's user;
    /// [`Error::UnknownMedium`]; [`Error::InUse`] (IN-09).
    pub async fn store_invite(
        &self,
        holder: &Holder,
        asked: &StoreInvite<'_>,
    ) -> Result<StoredInvite, Error> {
        if asked.sender != holder.user_id {
            return Err(Error::NotYours("the sender is not the token's user"));
        }
        if asked.medium != "email" {
            return Err(Error::UnknownMedium);
        }
        let account = {
            let mut conn = self.0.store.conn().await?;
            accounts::find_by_number(&mut conn, holder.user).await?
        };
        let account = account.ok_or(Error::Unauthorized)?;
        let inviter = Inviter {
            actor: Actor {
                user_id: account.user_id,
                user: account.user,
                device: None,
            },
            is_external: account.is_external,
            is_admin: account.is_admin,
        };
        let policy = self.0.policy.load_full();
        let actor = &inviter.actor;
        let room = self.0.rooms.inviting_room(actor, asked.room_id).await?;
        let facts = inviter.facts(&policy, room.access_rule.as_deref());
        let address = policy.invited_address(&facts, asked.medium, asked.address)?;
        if let Some(owner) = self.owner(&address).await? {
            return Err(Error::InUse { owner });
        }
        policy.may_invite_address(&facts, &address).into_result()?;
        let invite = self.prepare(&policy, actor, &room, &address).await?;
        let number = self.0.store.room_number(asked.room_id).await?;
        let number = number.ok_or(rooms::Error::UnknownRoom)?;
        {
            let mut conn = self.0.store.conn().await?;
            invitations::insert_all(&mut conn, &[(number, &invite.invitation)]).await?;
        }
        let invitation = Arc::clone(&invite.invitation);
        self.mail_soon(&[invite]).await;
        Ok(StoredInvite {
            token: invitation.token.clone(),
            public_keys: self.public_keys(&invitation.ephemeral_public_key),
            display_name: invitation.display_name.clone(),
        })
    }

    fn require_own(&self, policy: &Policy, id_server: &str) -> Result<(), Error> {
        let settings = &self.0.settings;
        if policy.is_own_identity_server(id_server, &settings.server_name, &settings.public_url) {
            Ok(())
        } else {
            Err(Error::UntrustedServer)
        }
    }

    async fn owner(&self, address: &EmailAddress) -> Result<Option<OwnedUserId>, Error> {
        let mut conn = self.0.store.conn().await?;
        Ok(identity::find_bound(&mut conn, address.as_str()).await?)
    }

    /// An invitation with its token and key, not stored yet.
    async fn prepare(
        &self,
        policy: &Policy,
        actor: &Actor,
        room: &InvitingRoom,
        address: &EmailAddress,
    ) -> Result<ThirdPartyInvite, Error> {
        let profile = {
            let mut conn = self.0.store.conn().await?;
            profiles::find(&mut conn, actor.user).await?
        };
        let (ephemeral_seed, ephemeral_public_key) = self.ephemeral_key()?;
        let display_name = policy.shown_address(address);
        let keys = self.public_keys(&ephemeral_public_key);
        let public_keys: Vec<_> = keys
            .iter()
            .map(|(key, url)| json!({ "public_key": key, "key_validity_url": url }))
            .collect();
        let [(public_key, key_validity_url), _] = &keys;
        let content = json!({
            "display_name": display_name,
            "key_validity_url": key_validity_url,
            "public_key": public_key,
            "public_keys": public_keys,
        });
        let content = build::content_from(&content).map_err(rooms::Error::from)?;
        let invitation = NewInvitation {
            token: self.0.random.alphanumeric(TOKEN_LENGTH),
            address: address.as_str().to_owned(),
            inviter: actor.user,
            display_name,
            ephemeral_seed,
            ephemeral_public_key,
            inviter_name: profile
                .display_name
                .unwrap_or_else(|| actor.user_id.to_string()),
            room_name: room.name.clone(),
            created_ms: self.0.clock.now_i64(),
            expires_ms: self.later(policy.invite_validity()),
        };
        Ok(ThirdPartyInvite {
            content,
            invitation: Arc::new(invitation),
        })
    }

    fn public_keys(&self, ephemeral: &str) -> [(String, Url); 2] {
        let (_, server) = self.0.rooms.public_key();
        let url = |path: &str| {
            let mut url = self.0.settings.public_url.clone();
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}/_matrix/identity/v2/pubkey/{path}"));
            url
        };
        [
            (server, url("isvalid")),
            (ephemeral.to_owned(), url("ephemeral/isvalid")),
        ]
    }

    /// Hands the mails of new invitations over. What fails is tried again later: the invitations
    /// stand.
    async fn mail_soon(&self, invites: &[ThirdPartyInvite]) {
        let tokens = invites.iter().map(|invite| invite.invitation.token.clone());
        let tokens: Vec<String> = tokens.collect();
        if tokens.is_empty() {
            return;
        }
        if let Err(error) = self.send_mails(Some(&tokens)).await {
            tracing::warn!(%error, "invitations were not mailed; they will be tried again");
        }
    }

    /// Hands over the mails that are due, those of `tokens` or all.
    pub(super) async fn send_mails(&self, tokens: Option<&[String]>) -> Result<(), Error> {
        let (now, lease) = (self.0.clock.now_i64(), self.later(MAIL_LEASE));
        let due = {
            let mut conn = self.0.store.conn().await?;
            invitation_work::claim_mails(&mut conn, tokens, now, lease, MAILS_AT_ONCE).await?
        };
        let mut done = Vec::new();
        for mail in due {
            let left = u64::try_from(mail.expires_ms.saturating_sub(now)).unwrap_or(0);
            let days = Duration::from_millis(left)
                .as_secs()
                .div_ceil(DAY.as_secs());
            let invitation = Invitation {
                inviter: &mail.inviter_name,
                room_name: mail.room_name.as_deref(),
                link: &self.link(&mail.address),
                valid_for: Duration::from_secs(days.saturating_mul(DAY.as_secs())),
            };
            let mailer = &self.0.mailer;
            match mailer
                .send_invitation(&mail.address, &invitation, None)
                .await
            {
                Ok(()) => done.push(mail.token),
                // No later attempt would be better.
                Err(error @ MailError::Invalid(_)) => {
                    tracing::warn!(%error, "an invitation cannot be mailed");
                    done.push(mail.token);
                }
                Err(error) => {
                    tracing::warn!(%error, "an invitation was not mailed; it will be tried again");
                }
            }
        }
        if !done.is_empty() {
            let mut conn = self.0.store.conn().await?;
            invitation_work::mails_done(&mut conn, &done).await?;
        }
        Ok(())
    }

    /// Where the mail leads: the web client's page for new accounts, with the address that the
    /// account has to be made with. It stands behind `#`, and so in no server's logs.
    fn link(&self, address: &str) -> Url {
        let settings = &self.0.settings;
        let homeserver = settings.public_url.as_str().trim_end_matches('/');
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("email", address)
            .append_pair("hs_url", homeserver)
            .finish();
        let client = settings.web_client_url.as_ref();
        let mut link = client.unwrap_or(&settings.public_url).clone();
        link.set_fragment(Some(&format!("/register?{query}")));
        link
    }
}

/// Which rule a new room will have: what its request says, or what follows from it.
fn access_rule(request: &CreateRoom) -> Option<String> {
    #[derive(Deserialize)]
    struct Initial {
        #[serde(rename = "type")]
        event_type: String,
        #[serde(default)]
        state_key: String,
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        rule: Option<String>,
    }
    let asked = request.initial_state.iter().rev().find_map(|raw| {
        let event: Initial = serde_json::from_str(raw.json().get()).ok()?;
        (event.event_type == ACCESS_RULES && event.state_key.is_empty())
            .then_some(event.content.rule)
    });
    asked.unwrap_or_else(|| Some(Rule::implied(request.is_direct).as_str().to_owned()))
}
