//! An accounts service on a database of its own, with a clock that stands still and mails in a
//! folder.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chappe::{
    accounts::{Accounts, HashCost, RegistrationSettings, SessionSettings, Settings, SharedSecret},
    audit::Audit,
    clock::ManualClock,
    config::{Profile, policy::Policy as PolicySettings},
    event::SigningKey,
    language::Language,
    mail::{Carrier, Encryption, MailSettings, Mailer, Writer},
    policy::Policy,
    random::Random,
    rooms::Rooms,
    store::{
        Database, Store, StoreOptions,
        access_tokens::{self, NewToken, TokenHash},
        accounts::{self, NewAccount},
        devices,
        live::LiveOptions,
        users,
    },
};
use ruma::{RoomVersionId, UserId, server_name};
use tempfile::TempDir;

use zeroize::Zeroizing;

use super::postgres::{self, TestDatabase};

/// The secret of shared-secret registration.
pub(crate) const SHARED_SECRET: &str = "shared";

/// The service and what it stands on.
pub(crate) struct AccountsSite {
    pub(crate) accounts: Accounts,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) mailer: Mailer,
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    settings: Settings,
    database: TestDatabase,
    outbox: TempDir,
}

/// What differs from the defaults.
pub(crate) struct AccountsOptions {
    pub(crate) profile: Profile,
    pub(crate) policy: PolicySettings,
    pub(crate) settings: Settings,
}

impl AccountsOptions {
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile,
            policy: PolicySettings::default(),
            settings: settings(profile),
        }
    }
}

fn settings(profile: Profile) -> Settings {
    Settings {
        server_name: server_name!("example.org").to_owned(),
        public_url: "https://matrix.example.org".parse().unwrap(),
        web_client_url: Some("https://tchap.example.org".parse().unwrap()),
        registration: RegistrationSettings {
            enabled: true,
            open: profile == Profile::Open,
            requires_token: false,
            guests: false,
            shared_secret: Some(SharedSecret::new(SHARED_SECRET)),
            terms: Vec::new(),
            require_acceptance: false,
        },
        sessions: SessionSettings {
            password_login: true,
            login_tokens: true,
            access_token_lifetime: Duration::from_mins(5),
            refresh_token_lifetime: None,
            nonrefreshable_access_token_lifetime: None,
        },
        validity: None,
        validation_lifetime: Duration::from_hours(72),
        next_link_domains: vec!["tchap.example.org".to_owned()],
        pause_ms: 0..1,
        directory: chappe::accounts::DirectorySettings {
            search_all: profile == Profile::Tchap,
            min_term_length: 2,
        },
        limits: chappe::accounts::Limits::default(),
        max_password_hashes: NonZeroUsize::new(2).unwrap(),
        hash_cost: HashCost::Least,
        services: chappe::appservice::SharedRegistry::default(),
    }
}

impl AccountsSite {
    pub(crate) async fn new(options: AccountsOptions) -> Self {
        let schema = postgres::database("schema", |url| async move {
            database(url).migrate().await.unwrap();
        })
        .await;
        let store = open(schema.url.clone()).await;
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let outbox = TempDir::new().unwrap();
        let server = options.settings.server_name.clone();
        let random = Random::seeded(1);
        let mail = mail_settings(&outbox);
        let mailer = Mailer::new(
            Writer::new(&mail, &server, clock.clone(), random.clone()).unwrap(),
            Carrier::new(&mail, &server, random.clone()).unwrap(),
            mail.timeout,
            store.clone(),
            clock.clone(),
            random.clone(),
        );
        let policy = Policy::new(&options.policy, options.profile, &server).unwrap();
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let accounts = Accounts::new(
            options.settings.clone(),
            store.clone(),
            Arc::clone(&policy),
            mailer.clone(),
            Audit::off(clock.clone()),
            clock.clone(),
            random,
        );
        Self {
            accounts,
            store,
            clock,
            mailer,
            policy,
            settings: options.settings,
            database: schema,
            outbox,
        }
    }

    /// The same service in another process on the same database.
    pub(crate) async fn other_process(&self) -> Accounts {
        Accounts::new(
            self.settings.clone(),
            open(self.database.url.clone()).await,
            Arc::clone(&self.policy),
            self.mailer.clone(),
            Audit::off(self.clock.clone()),
            self.clock.clone(),
            Random::seeded(2),
        )
    }

    /// The service after a restart with other settings.
    pub(crate) async fn restart(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.accounts = self.other_process().await;
    }

    /// Gives a new user a session with this token and the device `DEVICE`.
    pub(crate) async fn add_session(&self, user_id: &UserId, token: &str) {
        let mut conn = self.store.conn().await.unwrap();
        let user = users::intern(&mut conn, user_id).await.unwrap();
        let new = NewAccount {
            user,
            password_hash: None,
            is_admin: false,
            is_external: false,
            is_guest: false,
            user_type: None,
            created_ms: 1,
        };
        accounts::insert(&mut conn, &new).await.unwrap();
        let device_id = "DEVICE".into();
        let device = devices::upsert(&mut conn, user, device_id, None, 1)
            .await
            .unwrap();
        let new = NewToken {
            token: TokenHash::of(token),
            device,
            created_ms: 1,
            expires_ms: None,
        };
        access_tokens::insert(&mut conn, &new, None).await.unwrap();
    }

    /// A rooms service, for routers that want one.
    pub(crate) fn rooms(&self) -> Rooms {
        let settings = chappe::rooms::Settings {
            server_name: self.settings.server_name.clone(),
            default_version: RoomVersionId::V12,
            notices_user: None,
            retention: chappe::rooms::Retention::default(),
            search: true,
            delayed: chappe::rooms::DelayedLimits::default(),
            services: chappe::appservice::SharedRegistry::default(),
            push_rules: chappe::event::push::Defaults::default(),
        };
        let random = Random::seeded(4);
        Rooms::new(
            settings,
            self.store.clone(),
            Arc::clone(&self.policy),
            SigningKey::from_seed("a_key", Zeroizing::new(random.bytes())).unwrap(),
            self.clock.clone(),
            random,
        )
    }

    /// An identity service, for the same.
    pub(crate) fn identity(&self) -> chappe::identity::Identity {
        chappe::identity::Identity::new(
            chappe::identity::Settings {
                server_name: self.settings.server_name.clone(),
                public_url: self.settings.public_url.clone(),
                web_client_url: None,
                terms: Vec::new(),
            },
            self.store.clone(),
            Arc::clone(&self.policy),
            self.rooms(),
            self.mailer.clone(),
            self.clock.clone(),
            Random::seeded(5),
        )
    }

    /// A media service, for the same.
    pub(crate) fn media(&self) -> chappe::media::Media {
        let settings = chappe::media::Settings {
            server_name: self.settings.server_name.clone(),
            place: chappe::media::depot::Place::Folder(self.outbox.path().join("media")),
            max_upload: 1 << 20,
            quota: None,
            max_pending: 10,
            pending_lifetime: Duration::from_hours(1),
            is_open: false,
            unused_lifetime: None,
            images: chappe::media::ImageLimits {
                max_bytes: 1 << 20,
                max_pixels: 1_000_000,
                max_memory: 256 << 20,
                timeout: Duration::from_secs(10),
                workers: 1,
            },
            avatars: chappe::media::AvatarRules::default(),
            program: env!("CARGO_BIN_EXE_chappe").into(),
        };
        let (clock, random) = (self.clock.clone(), Random::seeded(6));
        chappe::media::Media::new(settings, self.store.clone(), clock, random).unwrap()
    }

    /// A scanner that is off, for the same.
    pub(crate) async fn scanner(&self) -> chappe::scanner::Scanner {
        let settings = chappe::scanner::Settings {
            engine: None,
            is_required: false,
            passes_unscanned: false,
            max_bytes: 1 << 20,
            timeout: Duration::from_secs(10),
            max_scans: 1,
            verdict_lifetime: Duration::from_hours(1),
            allowed_types: Vec::new(),
            blocked_types: Vec::new(),
            infected_info: String::new(),
        };
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let (media, random) = (self.media(), Random::seeded(7));
        chappe::scanner::Scanner::new(settings, None, store, media, clock, &random)
            .await
            .unwrap()
    }

    /// Previews that are off, for the same.
    pub(crate) fn previews(&self) -> chappe::previews::Previews {
        let settings = chappe::previews::Settings {
            is_on: false,
            max_page: 1 << 20,
            max_image: 1 << 20,
            timeout: Duration::from_secs(1),
            lifetime: Duration::from_secs(1),
            languages: "en".to_owned(),
        };
        let outbound = chappe::outbound::Settings::default();
        let outbound = chappe::outbound::Outbound::new(&outbound).unwrap();
        let (store, clock) = (self.store.clone(), self.clock.clone());
        chappe::previews::Previews::new(settings, store, outbound, self.media(), clock)
    }

    /// Places where devices meet, of which there are none, for the same.
    pub(crate) fn rendezvous(&self) -> chappe::rendezvous::Rendezvous {
        let settings = chappe::rendezvous::Settings {
            is_on: false,
            max_bytes: 4096,
            lifetime: Duration::from_mins(1),
            max_sessions: 1,
        };
        let (store, clock) = (self.store.clone(), self.clock.clone());
        chappe::rendezvous::Rendezvous::new(settings, store, clock, Random::seeded(8))
    }

    /// Server notices that are off, for the same.
    pub(crate) fn notices(&self) -> chappe::notices::Notices {
        chappe::notices::Notices::new(
            chappe::notices::Settings {
                server_name: self.settings.server_name.clone(),
                local_part: None,
                display_name: String::new(),
                avatar_url: None,
            },
            self.store.clone(),
            self.accounts.clone(),
            self.rooms(),
        )
    }

    /// A service of keys, for the same.
    pub(crate) fn keys(&self) -> chappe::keys::Keys {
        chappe::keys::Keys::new(
            self.settings.server_name.clone(),
            self.store.clone(),
            Arc::clone(&self.policy),
            self.clock.clone(),
        )
    }

    /// What asks application services, of which there are none, for the same.
    pub(crate) fn bridges(&self) -> chappe::bridges::Bridges {
        let settings = chappe::bridges::Settings {
            server_name: self.settings.server_name.clone(),
            timeout: Duration::from_secs(10),
        };
        let outbound = chappe::outbound::Settings::default().trusting();
        let (store, random) = (self.store.clone(), Random::seeded(7));
        let parts = chappe::bridges::Parts {
            services: Arc::clone(&self.settings.services),
            store: self.store.clone(),
            rooms: self.rooms(),
            presence: chappe::sync::Presence::new(false, store, self.clock.clone(), &random),
            outbound: chappe::outbound::Outbound::new(&outbound).unwrap(),
            clock: self.clock.clone(),
            random,
        };
        chappe::bridges::Bridges::new(settings, parts)
    }

    /// A push service, for the same.
    pub(crate) fn push(&self) -> chappe::push::Push {
        let outbound = chappe::outbound::Outbound::new(&chappe::outbound::Settings::default());
        chappe::push::Push::new(
            chappe::push::Settings {
                allow_http: false,
                rules: chappe::event::push::Defaults::default(),
                expiry: None,
                mail_delay: Duration::from_hours(72),
                web_client_url: None,
                public_url: self.settings.public_url.clone(),
            },
            self.store.clone(),
            self.rooms(),
            outbound.unwrap(),
            self.mailer.clone(),
            self.clock.clone(),
            Random::seeded(6),
        )
    }

    /// A sync service, for the same.
    pub(crate) fn sync(&self) -> chappe::sync::Sync {
        let stop = tokio_util::sync::CancellationToken::new();
        let random = Random::seeded(6);
        let presence =
            chappe::sync::Presence::new(false, self.store.clone(), self.clock.clone(), &random);
        chappe::sync::Sync::new(
            self.store.clone(),
            self.rooms(),
            self.keys(),
            presence,
            stop,
            None,
            self.clock.clone(),
            random,
        )
    }

    /// The link in the newest mail.
    pub(crate) async fn newest_link(&self) -> Option<url::Url> {
        self.mailer.deliver_due().await.unwrap();
        let mails = self.mailer.outbox().unwrap().list().await.unwrap();
        let text = &mails.first()?.text;
        text.split_whitespace()
            .find(|word| word.starts_with("https://"))
            .map(|link| link.parse().unwrap())
    }

    /// How many mails there are.
    pub(crate) async fn mails(&self) -> usize {
        self.mailer.deliver_due().await.unwrap();
        let outbox = self.mailer.outbox().unwrap();
        outbox.list().await.unwrap().len()
    }
}

/// A store whose journal nobody writes: accounts do not need it.
async fn open(url: String) -> Store {
    let (store, _) = database(url).start(LiveOptions::default()).await.unwrap();
    store
}

fn database(url: String) -> Database {
    Database::open(&StoreOptions {
        url,
        max_connections: 4,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
    })
    .unwrap()
}

fn mail_settings(outbox: &TempDir) -> MailSettings {
    MailSettings {
        host: None,
        port: 25,
        encryption: Encryption::None,
        user: None,
        password: None,
        certificate_authorities: None,
        timeout: Duration::from_secs(10),
        from: "Tchap <no-reply@example.org>".to_owned(),
        app_name: "Tchap".to_owned(),
        language: Language::English,
        support: None,
        restricted_documents_notice: false,
        guest_accounts: false,
        android_app: None,
        ios_app: None,
        help: None,
        public_url: "https://matrix.example.org".parse().unwrap(),
        templates: None,
        outbox: outbox.path().to_path_buf(),
    }
}
