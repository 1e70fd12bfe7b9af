//! Two people with matrix-sdk, as Element X has it, against Chappe: the sync service and the room
//! list on sliding sync, an encrypted conversation, a file, and new devices that get the history back
//! from the backup, one verified by emoji and one with the recovery key.
//!
//! That two users verify each other is told with matrix-js-sdk: on sliding sync this SDK sends its part
//! of a verification in a room only when its other connection hears something, up to half a minute later.
//!
//! `CHAPPE_OPEN_URL` names a server at which anybody may register.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, pin_mut};
use matrix_sdk::{
    Client, Room, RoomState,
    attachment::AttachmentConfig,
    encryption::{
        BackupDownloadStrategy, EncryptionSettings, VerificationState,
        verification::{
            SasVerification, Verification, VerificationRequest, VerificationRequestState,
        },
    },
    media::{MediaFormat, MediaRequestParameters},
    ruma::{
        OwnedRoomId, RoomId,
        api::client::{
            account::register,
            room::create_room::v3::{Request as CreateRoom, RoomPreset},
            uiaa::{AuthData, Dummy, MatrixUserIdentifier, Password},
        },
        assign,
        events::{
            AnyInitialStateEvent, AnyMessageLikeEventContent,
            room::{
                MediaSource,
                encryption::{InitialRoomEncryptionEvent, RoomEncryptionEventContent},
                message::{MessageType, RoomMessageEventContent},
            },
        },
        serde::Raw,
    },
};
use matrix_sdk_ui::{
    room_list_service::{RoomListLoadingState, filters},
    sync_service::SyncService,
    timeline::{RoomExt as _, Timeline},
};

const PASSWORD: &str = "Cheval-correct-7!";
/// The longest that anything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let base = std::env::var("CHAPPE_OPEN_URL").context("CHAPPE_OPEN_URL is not set")?;
    let anna = Person::sign_up(&base, "rust_anna").await?;
    let ben = Person::sign_up(&base, "rust_ben").await?;
    println!("signed up");

    the_room_list_grows(&anna).await?;
    println!("the room list grows with each room");

    let room_id = anna.encrypted_room(&ben).await?;
    ben.accept(&room_id).await?;
    anna.says(&room_id, "Bonjour Ben").await?;
    ben.reads(&room_id, "Bonjour Ben").await?;
    ben.says(&room_id, "Bonjour Anna").await?;
    anna.reads(&room_id, "Bonjour Anna").await?;
    println!("two people talk encrypted");

    a_file_arrives(&anna, &ben, &room_id).await?;
    println!("an encrypted file arrives");

    let key = anna.enable_recovery().await?;
    println!("cross-signing, secret storage and backup are set up");

    let phone = Person::sign_in(&base, "rust_anna").await?;
    verify(&anna, &phone).await?;
    phone.reads(&room_id, "Bonjour Ben").await?;
    phone.reads(&room_id, "Bonjour Anna").await?;
    println!("a new device, verified by emoji, reads the old messages");

    let tablet = Person::sign_in(&base, "rust_anna").await?;
    tablet.client.encryption().recovery().recover(&key).await?;
    tablet.reads(&room_id, "Bonjour Ben").await?;
    tablet.reads(&room_id, "Bonjour Anna").await?;
    println!("another one, with the recovery key, does too");

    // What the first device sends now, the new one can read, and the other way round.
    phone.says(&room_id, "Depuis le nouveau téléphone").await?;
    ben.reads(&room_id, "Depuis le nouveau téléphone").await?;
    println!("the new device is heard");

    ben.sync.expire_sessions().await;
    ben.sync.start().await;
    anna.says(&room_id, "Après la reprise").await?;
    ben.reads(&room_id, "Après la reprise").await?;
    println!("a connection that begins anew misses nothing");

    for person in [anna, ben, phone, tablet] {
        person.sync.stop().await;
    }
    Ok(())
}

/// Somebody with a client that syncs.
struct Person {
    client: Client,
    sync: SyncService,
}

impl Person {
    async fn sign_up(base: &str, username: &str) -> anyhow::Result<Self> {
        let client = client(base).await?;
        let request = assign!(register::v3::Request::new(), {
            username: Some(username.to_owned()),
            password: Some(PASSWORD.to_owned()),
            auth: Some(AuthData::Dummy(Dummy::new())),
        });
        let answer = client.matrix_auth().register(request).await?;
        ensure!(answer.access_token.is_some(), "nobody was signed in");
        Self::begin(client).await
    }

    async fn sign_in(base: &str, username: &str) -> anyhow::Result<Self> {
        let client = client(base).await?;
        client
            .matrix_auth()
            .login_username(username, PASSWORD)
            .await?;
        Self::begin(client).await
    }

    async fn begin(client: Client) -> anyhow::Result<Self> {
        let sync = SyncService::builder(client.clone()).build().await?;
        sync.start().await;
        Ok(Self { client, sync })
    }

    /// Makes a room that is encrypted from the start, and invites somebody.
    async fn encrypted_room(&self, guest: &Self) -> anyhow::Result<OwnedRoomId> {
        let encryption = InitialRoomEncryptionEvent::with_empty_state_key(
            RoomEncryptionEventContent::with_recommended_defaults(),
        );
        let request = assign!(CreateRoom::new(), {
            name: Some("Salle des cartes".to_owned()),
            preset: Some(RoomPreset::PrivateChat),
            invite: vec![guest.user_id()?],
            initial_state: vec![Raw::new(&encryption)?.cast::<AnyInitialStateEvent>()],
        });
        let room = self.client.create_room(request).await?;
        Ok(room.room_id().to_owned())
    }

    fn user_id(&self) -> anyhow::Result<matrix_sdk::ruma::OwnedUserId> {
        let user_id = self.client.user_id().context("nobody is signed in")?;
        Ok(user_id.to_owned())
    }

    /// Waits for the invitation, and joins.
    async fn accept(&self, room_id: &RoomId) -> anyhow::Result<()> {
        let room = self.room(room_id).await?;
        soon("the invitation", || async {
            Ok(room.state() == RoomState::Invited)
        })
        .await?;
        room.join().await?;
        soon("the room", || async {
            Ok(room.state() == RoomState::Joined)
        })
        .await
    }

    async fn room(&self, room_id: &RoomId) -> anyhow::Result<Room> {
        soon("the room", || async {
            Ok(self.client.get_room(room_id).is_some())
        })
        .await?;
        self.client.get_room(room_id).context("the room is gone")
    }

    async fn says(&self, room_id: &RoomId, words: &str) -> anyhow::Result<()> {
        let room = self.room(room_id).await?;
        soon("the members", || async {
            Ok(room.latest_encryption_state().await?.is_encrypted())
        })
        .await?;
        room.send(AnyMessageLikeEventContent::RoomMessage(
            RoomMessageEventContent::text_plain(words),
        ))
        .await?;
        Ok(())
    }

    /// Waits until the decrypted words stand in the timeline.
    async fn reads(&self, room_id: &RoomId, words: &str) -> anyhow::Result<()> {
        self.sync
            .room_list_service()
            .subscribe_to_rooms(&[room_id])
            .await;
        let room = self.room(room_id).await?;
        let timeline = Arc::new(room.timeline().await?);
        soon(&format!("«{words}»"), || {
            let timeline = Arc::clone(&timeline);
            async move {
                if shows(&timeline, words).await {
                    return Ok(true);
                }
                timeline.paginate_backwards(20).await?;
                Ok(shows(&timeline, words).await)
            }
        })
        .await
    }

    /// Sets up cross-signing, secret storage and the backup of keys; gives the recovery key.
    async fn enable_recovery(&self) -> anyhow::Result<String> {
        self.bootstrap().await?;
        let recovery = self.client.encryption().recovery();
        let key = recovery.enable().wait_for_backups_to_upload().await?;
        ensure!(
            self.client.encryption().backups().are_enabled().await,
            "no backup"
        );
        Ok(key)
    }

    /// Makes the cross-signing keys, with the password where it is asked.
    async fn bootstrap(&self) -> anyhow::Result<()> {
        let encryption = self.client.encryption();
        encryption.wait_for_e2ee_initialization_tasks().await;
        let Err(error) = encryption.bootstrap_cross_signing_if_needed(None).await else {
            return Ok(());
        };
        let Some(response) = error.as_uiaa_response() else {
            bail!(error);
        };
        let user = self.user_id()?;
        let password = assign!(
            Password::new(MatrixUserIdentifier::new(user.localpart().to_owned()).into(), PASSWORD.to_owned()),
            { session: response.session.clone() }
        );
        let auth = AuthData::Password(password);
        encryption
            .bootstrap_cross_signing_if_needed(Some(auth))
            .await?;
        Ok(())
    }
}

async fn client(base: &str) -> anyhow::Result<Client> {
    let settings = EncryptionSettings {
        auto_enable_cross_signing: false,
        backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
        auto_enable_backups: false,
    };
    let client = Client::builder()
        .homeserver_url(base)
        .with_encryption_settings(settings)
        .build()
        .await?;
    Ok(client)
}

/// A file goes up encrypted, and comes down as it was.
async fn a_file_arrives(from: &Person, to: &Person, room_id: &RoomId) -> anyhow::Result<()> {
    let bytes: Vec<u8> = (0..200_000_u32)
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let room = from.room(room_id).await?;
    room.send_attachment(
        "relevé.bin",
        &mime::APPLICATION_OCTET_STREAM,
        bytes.clone(),
        AttachmentConfig::new(),
    )
    .await?;
    let timeline = to.room(room_id).await?.timeline().await?;
    let timeline = &timeline;
    let file = wait_for("the file", || async move {
        let items = timeline.items().await;
        items.iter().find_map(|item| {
            let message = item.as_event()?.content().as_message()?.clone();
            match message.msgtype() {
                MessageType::File(file) => Some(file.clone()),
                _ => None,
            }
        })
    })
    .await?;
    ensure!(file.filename() == "relevé.bin", "the file's name is lost");
    ensure!(
        matches!(file.source, MediaSource::Encrypted(_)),
        "the file is not encrypted"
    );
    let got = to.client.media().get_file(&file, false).await?;
    ensure!(got.as_ref() == Some(&bytes), "the file is another");
    // What the server keeps is not what was sent.
    let MediaSource::Encrypted(encrypted) = file.source else {
        bail!("the file is not encrypted");
    };
    let request = MediaRequestParameters {
        source: MediaSource::Plain(encrypted.url.clone()),
        format: MediaFormat::File,
    };
    let kept = to.client.media().get_media_content(&request, false).await?;
    ensure!(
        kept.len() == bytes.len() && kept != bytes,
        "the server has the file"
    );
    Ok(())
}

async fn shows(timeline: &Timeline, words: &str) -> bool {
    let items = timeline.items().await;
    items.iter().any(|item| {
        let message = item
            .as_event()
            .and_then(|event| event.content().as_message());
        message.is_some_and(|message| message.body() == words)
    })
}

/// The list of rooms, as a screen shows it, gets each room that is made.
async fn the_room_list_grows(person: &Person) -> anyhow::Result<()> {
    let service = person.sync.room_list_service();
    let list = service.all_rooms().await?;
    let (entries, controller) = list.entries_with_dynamic_adapters(50);
    pin_mut!(entries);
    controller.set_filter(Box::new(filters::new_filter_non_left()));
    let mut state = list.loading_state();
    for number in 0..12 {
        let request = assign!(CreateRoom::new(), { name: Some(format!("Salle {number}")) });
        person.client.create_room(request).await?;
    }
    let mut shown = eyeball_im::Vector::new();
    let grown = async {
        while let Some(changes) = entries.next().await {
            for change in changes {
                change.apply(&mut shown);
            }
            if shown.len() >= 12 {
                return Ok(());
            }
        }
        bail!("the room list has ended")
    };
    tokio::time::timeout(PATIENCE, grown)
        .await
        .context("the rooms are not in the list")??;
    let loaded = async {
        loop {
            if let RoomListLoadingState::Loaded {
                maximum_number_of_rooms: Some(12..),
            } = state.get()
            {
                return;
            }
            state.next().await;
        }
    };
    tokio::time::timeout(PATIENCE, loaded)
        .await
        .context("the list does not say how many rooms there are")
}

/// A new device is verified by one that was there: the two show the same seven pictures.
async fn verify(old: &Person, new: &Person) -> anyhow::Result<()> {
    let user = old.user_id()?;
    let device = new.client.device_id().context("nobody is signed in")?;
    let (olds, news) = (old.client.encryption(), new.client.encryption());
    soon("the new device", || async {
        Ok(olds.get_device(&user, device).await?.is_some())
    })
    .await?;
    let identity = news
        .request_user_identity(&user)
        .await?
        .context("there are no cross-signing keys")?;
    let asked = identity.request_verification().await?;
    let flow = asked.flow_id().to_owned();
    let received = wait_for("the request", || {
        olds.get_verification_request(&user, flow.clone())
    })
    .await?;
    received.accept().await?;
    soon("that the other is ready", || async { Ok(asked.is_ready()) }).await?;
    let of_new = asked.start_sas().await?.context("no emoji")?;
    let of_old = wait_for("the start", || sas_of(received.clone())).await?;
    of_old.accept().await?;
    soon("the emoji", || async {
        Ok(of_new.emoji().is_some() && of_old.emoji().is_some())
    })
    .await?;
    let symbols = |sas: &SasVerification| {
        let emoji = sas.emoji();
        emoji.map(|emoji| emoji.map(|emoji| emoji.symbol))
    };
    ensure!(
        symbols(&of_new) == symbols(&of_old),
        "they see different emoji"
    );
    of_new.confirm().await?;
    of_old.confirm().await?;
    soon("the end", || async {
        Ok(of_new.is_done() && of_old.is_done())
    })
    .await?;
    soon("that the new device is verified", || async {
        Ok(news.verification_state().get() == VerificationState::Verified)
    })
    .await?;
    soon("the key of the backup", || async {
        Ok(news.backups().are_enabled().await)
    })
    .await
}

async fn sas_of(request: VerificationRequest) -> Option<SasVerification> {
    match request.state() {
        VerificationRequestState::Transitioned {
            verification: Verification::SasV1(sas),
            ..
        } => Some(sas),
        _ => None,
    }
}

/// Waits until something is true.
async fn soon<F>(what: &str, look: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let look = &look;
    tokio::time::timeout(PATIENCE, async {
        while !look().await? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })
    .await
    .with_context(|| format!("it did not come: {what}"))?
}

/// Waits until something is there, and gives it.
async fn wait_for<T, F>(what: &str, look: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .with_context(|| format!("it did not come: {what}"))
}
