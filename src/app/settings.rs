//! From the sections of the configuration to the settings of each service.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::{UserId, api::client::discovery::discover_support};
use zeroize::Zeroizing;

use crate::{
    accounts,
    appservice::{self, Registry, SharedRegistry},
    audit::Target,
    calls,
    config::{self, AuditTarget, Config, HumanDuration, HumanSize, Problem, Profile},
    event::push::Defaults,
    http::{
        CapabilitySettings, Home, HttpSettings, Rate, RateLimitSettings, ServerSettings, WellKnown,
    },
    identity,
    language::Language,
    mail::{self, MailSettings},
    media::{self, depot},
    notices, outbound,
    policy::Policy,
    previews, push, rendezvous, rooms, scanner,
};

use super::BadConfiguration;

/// How long an answer about an address waits where it must not tell (REG-06), in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 100..1000;

/// Makes the data folder. The user that runs the private PostgreSQL, if another one, may pass
/// through it, and nobody may list it.
pub(super) fn prepare_data_folder(server: &config::Server) -> anyhow::Result<()> {
    let folder = &server.data_folder;
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))
}

pub(super) fn outbound(config: &Config) -> anyhow::Result<outbound::Settings> {
    let file = config.outbound.certificate_authorities.as_ref();
    let certificate_authorities = file.map(|file| {
        let pem = fs::read(file);
        pem.with_context(|| format!("{} cannot be read", file.display()))
    });
    Ok(outbound::Settings {
        allow_networks: config.outbound.allow_networks.clone(),
        certificate_authorities: certificate_authorities.transpose()?,
        user_agent: format!("Chappe/{}", env!("CARGO_PKG_VERSION")),
    })
}

/// Reads the registrations of application services.
///
/// # Errors
/// All that is wrong with them.
pub(super) fn registrations(config: &Config) -> Result<Registry, Vec<Problem>> {
    let paths = &config.application_services.registrations;
    appservice::load(paths, &config.server.name).map_err(|errors| {
        let problem = |error: &appservice::RegistrationError| {
            Problem::new("application_services.registrations", error.to_string())
        };
        errors.iter().map(problem).collect()
    })
}

fn push_rules(config: &Config) -> Defaults {
    Defaults {
        noisy: config.push.noisy,
        thread_subscriptions: config.push.thread_subscriptions,
    }
}

pub(super) fn push(config: &Config) -> push::Settings {
    push::Settings {
        allow_http: config.push.allow_http,
        rules: push_rules(config),
        expiry: config
            .accounts
            .validity
            .period
            .map(|_| config.accounts.validity.exclude.clone()),
        mail_delay: config.push.mail_delay.get(),
        web_client_url: config.server.web_client_url.clone(),
        public_url: config.server.public_url.clone(),
    }
}

pub(super) fn notices(config: &Config) -> notices::Settings {
    let notices = config.notices.clone();
    notices::Settings {
        server_name: config.server.name.clone(),
        local_part: notices.local_part,
        display_name: notices.display_name,
        avatar_url: notices.avatar_url,
    }
}

pub(super) fn rooms(config: &Config, services: &SharedRegistry) -> rooms::Settings {
    rooms::Settings {
        server_name: config.server.name.clone(),
        default_version: config.rooms.default_version.clone(),
        notices_user: config.notices.local_part.as_ref().and_then(|local_part| {
            UserId::parse(format!("@{local_part}:{}", config.server.name)).ok()
        }),
        search: config.rooms.search,
        push_rules: push_rules(config),
        retention: rooms::Retention {
            purges: config.rooms.retention.purges(config.server.profile),
            default: config
                .rooms
                .retention
                .default_lifetime
                .map(HumanDuration::get),
            shortest: config.rooms.retention.shortest.get(),
            longest: config.rooms.retention.longest.map(HumanDuration::get),
            interval: config.rooms.retention.interval.get(),
        },
        delayed: rooms::DelayedLimits {
            max_delay: config.rooms.delayed_events.max_delay.get(),
            max_scheduled: config.rooms.delayed_events.max_scheduled,
        },
        services: Arc::clone(services),
    }
}

/// The scanner's settings, and its key where the configuration has one.
pub(super) fn scanner(
    config: &Config,
) -> anyhow::Result<(scanner::Settings, Option<Zeroizing<[u8; 32]>>)> {
    let settings = &config.scanner;
    let engine = match (&settings.clamd, settings.command.split_first()) {
        (Some(config::Clamd::Unix(path)), _) => {
            Some(scanner::Engine::Clamd(scanner::Address::Unix(path.clone())))
        }
        (Some(config::Clamd::Tcp(address)), _) => {
            let address = scanner::Address::Tcp(address.clone());
            Some(scanner::Engine::Clamd(address))
        }
        (None, Some((program, arguments))) => Some(scanner::Engine::Command {
            program: program.clone(),
            arguments: arguments.to_vec(),
        }),
        (None, None) => None,
    };
    let key = settings.private_key.as_ref().map(|key| {
        let wrong = || {
            let message = "expected base64 of 32 bytes";
            BadConfiguration(vec![Problem::new("scanner.private_key", message)])
        };
        let bytes = STANDARD_NO_PAD.decode(key.expose().trim().trim_end_matches('='));
        let bytes = Zeroizing::new(bytes.map_err(|_| wrong())?);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| wrong())?;
        Ok::<_, BadConfiguration>(Zeroizing::new(bytes))
    });
    let settings = scanner::Settings {
        engine,
        is_required: settings.required,
        passes_unscanned: settings.pass_unscanned,
        max_bytes: settings.max_bytes.bytes(),
        timeout: settings.timeout.get(),
        max_scans: usize::try_from(settings.max_scans).unwrap_or(usize::MAX),
        verdict_lifetime: settings.verdict_lifetime.get(),
        allowed_types: settings.allowed_types.clone(),
        blocked_types: settings.blocked_types.clone(),
        infected_info: settings.infected_info.clone(),
    };
    Ok((settings, key.transpose()?))
}

pub(super) fn previews(config: &Config) -> previews::Settings {
    let previews = &config.previews;
    previews::Settings {
        is_on: previews.is_on(config.server.profile),
        max_page: previews.max_page_bytes.as_usize(),
        max_image: previews.max_image_bytes.as_usize(),
        timeout: previews.timeout.get(),
        lifetime: previews.lifetime.get(),
        languages: previews.languages.clone(),
    }
}

/// `program` reads images; this one if not set.
pub(super) fn media(config: &Config, program: Option<&Path>) -> media::Settings {
    let media = &config.media;
    let place = if let Some(bucket) = &media.s3.bucket {
        depot::Place::S3(Box::new(depot::S3 {
            bucket: bucket.clone(),
            endpoint: media.s3.endpoint.as_ref().map(ToString::to_string),
            region: media.s3.region.clone(),
            access_key: media.s3.access_key_id.clone().zip(
                media
                    .s3
                    .secret_access_key
                    .as_ref()
                    .map(|key| Zeroizing::new(key.expose().to_owned())),
            ),
            prefix: media.s3.prefix.clone(),
            timeout: media.s3.timeout.get(),
        }))
    } else {
        let default = || config.server.data_folder.join("media");
        depot::Place::Folder(media.folder.clone().unwrap_or_else(default))
    };
    media::Settings {
        server_name: config.server.name.clone(),
        place,
        max_upload: media.max_upload_size.bytes(),
        quota: media.max_bytes_per_user.map(HumanSize::bytes),
        max_pending: media.max_pending_uploads,
        pending_lifetime: media.pending_upload_lifetime.get(),
        is_open: media.unauthenticated_downloads,
        unused_lifetime: media.unused_lifetime.map(HumanDuration::get),
        images: media::ImageLimits {
            max_bytes: media.images.max_bytes.bytes(),
            max_pixels: u64::from(media.images.max_pixels),
            max_memory: media.images.max_memory.bytes(),
            timeout: media.images.timeout.get(),
            workers: media.images.workers(),
        },
        avatars: media::AvatarRules {
            max_bytes: media.avatars.max_bytes.map(HumanSize::bytes),
            types: media.avatars.types.clone(),
        },
        // The file may be replaced while this program runs.
        program: program.unwrap_or(Path::new("/proc/self/exe")).to_owned(),
    }
}

pub(super) fn mail(config: &Config) -> MailSettings {
    let mail = &config.mail;
    MailSettings {
        host: mail.host.clone(),
        port: mail.port(),
        encryption: match mail.encryption {
            config::Encryption::Tls => mail::Encryption::Tls,
            config::Encryption::StartTls => mail::Encryption::StartTls,
            config::Encryption::None => mail::Encryption::None,
        },
        user: mail.user.clone(),
        password: mail
            .password
            .as_ref()
            .map(|password| Zeroizing::new(password.expose().to_owned())),
        certificate_authorities: None,
        timeout: mail.timeout.get(),
        from: mail.from.clone(),
        app_name: mail.app_name.clone(),
        language: match mail.language {
            config::Language::Fr => Language::French,
            config::Language::En => Language::English,
        },
        support: support_contact(&config.server.support),
        restricted_documents_notice: config.server.profile == Profile::Tchap,
        guest_accounts: config.server.profile == Profile::Tchap,
        android_app: mail.android_app.clone(),
        ios_app: mail.ios_app.clone(),
        help: mail.help.clone(),
        public_url: config.server.public_url.clone(),
        templates: config.server.templates_of("mail"),
        outbox: config.server.outbox_folder(),
    }
}

/// Whom mails name for help: the page, or the first address.
fn support_contact(support: &config::Support) -> Option<String> {
    let page = support.support_page.as_ref().map(ToString::to_string);
    let mut addresses = support.admins.iter();
    page.or_else(|| addresses.find_map(|contact| contact.email_address.clone()))
}

pub(super) fn audit(config: &Config) -> Target {
    match config.audit.target {
        AuditTarget::Off => Target::Off,
        AuditTarget::Stdout => Target::Stdout,
        AuditTarget::File => {
            let file = config.audit.file.clone();
            Target::File(file.unwrap_or_else(|| config.server.audit_file()))
        }
    }
}

fn terms(config: &Config) -> Vec<accounts::Terms> {
    let terms = config.registration.terms.iter();
    let terms = terms.map(|terms| accounts::Terms {
        name: terms.name.clone(),
        version: terms.version.clone(),
        url_fr: terms.url_fr.clone(),
        url_en: terms.url_en.clone(),
    });
    terms.collect()
}

pub(super) fn identity(config: &Config) -> identity::Settings {
    identity::Settings {
        server_name: config.server.name.clone(),
        public_url: config.server.public_url.clone(),
        web_client_url: config.server.web_client_url.clone(),
        terms: terms(config),
    }
}

pub(super) fn accounts(config: &Config, services: &SharedRegistry) -> accounts::Settings {
    let (registration, sessions) = (&config.registration, &config.sessions);
    accounts::Settings {
        server_name: config.server.name.clone(),
        public_url: config.server.public_url.clone(),
        web_client_url: config.server.web_client_url.clone(),
        registration: accounts::RegistrationSettings {
            enabled: registration.enabled,
            open: registration.open,
            requires_token: registration.requires_token,
            guests: registration.guests,
            shared_secret: registration
                .shared_secret
                .as_ref()
                .map(|secret| accounts::SharedSecret::new(secret.expose())),
            terms: terms(config),
            require_acceptance: registration.require_acceptance,
        },
        sessions: accounts::SessionSettings {
            password_login: sessions.password_login,
            login_tokens: sessions.login_tokens,
            access_token_lifetime: sessions.access_token_lifetime.get(),
            refresh_token_lifetime: sessions.refresh_token_lifetime.map(HumanDuration::get),
            nonrefreshable_access_token_lifetime: sessions
                .nonrefreshable_access_token_lifetime
                .map(HumanDuration::get),
        },
        validity: validity(config),
        validation_lifetime: registration.validation_lifetime.get(),
        next_link_domains: config.mail.next_link_domains.clone(),
        pause_ms: PAUSE_MS,
        directory: accounts::DirectorySettings {
            search_all: config.directory.search_all(config.server.profile),
            min_term_length: usize::try_from(config.directory.min_term_length)
                .unwrap_or(usize::MAX),
        },
        limits: account_limits(&config.limits),
        max_password_hashes: config.limits.max_password_hashes(),
        hash_cost: accounts::HashCost::Recommended,
        services: Arc::clone(services),
    }
}

fn validity(config: &Config) -> Option<accounts::ValiditySettings> {
    let validity = &config.accounts.validity;
    Some(accounts::ValiditySettings {
        period: validity.period?.get(),
        reminders: validity.reminders.iter().map(|delay| delay.get()).collect(),
        exclude: validity.exclude.clone(),
        send_links: validity.send_links,
        deactivate_after: validity.deactivate_after.map(HumanDuration::get),
        resend_delay: config.mail.resend_delay.get(),
    })
}

pub(super) fn account_limits(limits: &config::Limits) -> accounts::Limits {
    let rate = |rate: config::Rate| {
        limits.enabled.then_some(accounts::Rate {
            per_second: rate.per_second,
            burst: rate.burst,
        })
    };
    accounts::Limits {
        login_failed: rate(limits.login_failed),
        registration: rate(limits.registration),
        mail_per_address: rate(limits.mail_per_address),
    }
}

pub(super) fn rate_limits(limits: &config::Limits) -> RateLimitSettings {
    let rate = |rate: config::Rate| Rate {
        per_second: rate.per_second,
        burst: rate.burst,
    };
    RateLimitSettings {
        enabled: limits.enabled,
        login: rate(limits.login),
        login_failed: rate(limits.login_failed),
        registration: rate(limits.registration),
        mail: rate(limits.mail_per_address),
        message: rate(limits.message),
        join: rate(limits.join),
        read: rate(limits.read),
        directory_search: rate(limits.directory_search),
        directory_search_daily: rate(limits.directory_search_daily),
        public_join: rate(limits.public_join),
        public_history: rate(limits.public_history),
        media_upload: rate(limits.media_upload),
        media_download: rate(limits.media_download),
        url_preview: rate(limits.url_preview),
        address_lookup: rate(limits.address_lookup),
        third_party_invite: rate(limits.third_party_invite),
    }
}

pub(super) fn http(limits: &config::Limits) -> HttpSettings {
    HttpSettings {
        max_body_bytes: limits.max_body_bytes.as_usize(),
        request_timeout: limits.request_timeout.get(),
        max_in_flight: usize::try_from(limits.max_requests_in_flight).unwrap_or(usize::MAX),
        ..HttpSettings::default()
    }
}

pub(super) fn server(limits: &config::Limits) -> ServerSettings {
    ServerSettings {
        max_connections: usize::try_from(limits.max_connections).unwrap_or(usize::MAX),
        ..ServerSettings::default()
    }
}

/// What users may change, by the policy in force.
pub(super) fn capabilities(policy: &Policy, config: &Config) -> CapabilitySettings {
    let delayed = &config.rooms.delayed_events;
    CapabilitySettings {
        set_displayname: policy.may_set_display_name(false, false).is_allowed(),
        set_avatar_url: policy.may_set_avatar(false).is_allowed(),
        change_3pid: policy.may_change_addresses().is_allowed(),
        profile_fields: true,
        get_login_token: config.sessions.login_tokens,
        delayed_events: (delayed.max_scheduled > 0)
            .then(|| (delayed.max_delay.as_millis(), delayed.max_scheduled)),
        default_room_version: config.rooms.default_version.clone(),
        ..CapabilitySettings::default()
    }
}

pub(super) fn rendezvous(settings: &config::QrSignIn) -> rendezvous::Settings {
    rendezvous::Settings {
        is_on: settings.enabled,
        max_bytes: settings.max_payload.as_usize(),
        lifetime: settings.lifetime.get(),
        max_sessions: settings.max_sessions,
    }
}

pub(super) fn calls(calls: &config::Calls) -> calls::Settings {
    let secret = calls.turn_secret.as_ref();
    calls::Settings {
        turn_uris: calls.turn_uris.clone(),
        turn_secret: secret.map(|secret| Zeroizing::new(secret.expose().to_owned())),
        turn_lifetime: calls.turn_lifetime.get(),
        livekit_service_urls: calls.livekit_service_urls.clone(),
    }
}

pub(super) fn well_known(config: &Config) -> WellKnown {
    let server = &config.server;
    let rtc = &config.calls.livekit_service_urls;
    let mut documents = WellKnown::new().with_client(&server.public_url, None, rtc);
    if let Some(name) = &server.well_known_server {
        documents = documents.with_server(name);
    }
    let contacts: Vec<discover_support::Contact> =
        server.support.admins.iter().map(contact).collect();
    documents.with_support(&contacts, server.support.support_page.as_ref())
}

fn contact(contact: &config::Contact) -> discover_support::Contact {
    let address = contact.email_address.clone().unwrap_or_default();
    let mut known = discover_support::Contact::with_email_address(contact.role.clone(), address);
    known.email_address.clone_from(&contact.email_address);
    known.matrix_id.clone_from(&contact.matrix_id);
    known
}

pub(super) fn home(server: &config::Server) -> Home {
    Home {
        server_name: server.name.to_string(),
        homeserver_url: server.public_url.clone(),
        profile: match server.profile {
            Profile::Tchap => "tchap",
            Profile::Open => "open",
        },
    }
}
