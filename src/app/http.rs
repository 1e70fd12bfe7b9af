//! What HTTP is given: the services, the measures, and what each listener serves.

use std::{sync::Arc, time::Duration};

use axum::Router;

use super::{AppOptions, Core, mail, readiness, settings};
use crate::{
    bridges::{self, Bridges},
    calls::Calls,
    config::{Config, Listener, Surface},
    http::{
        ApiSelection, AppState, Capabilities, MetricsText, RateLimits, RequestObserver, Services,
        development, email_links, router,
    },
    mail::Mailer,
    outbound::Outbound,
    rendezvous::Rendezvous,
    sync::{Presence, Sync},
    telemetry::Metrics,
};

/// What application services are told and asked.
pub(super) fn bridges(
    config: &Config,
    core: &Core,
    presence: Presence,
    options: &AppOptions,
) -> anyhow::Result<Bridges> {
    let outbound = Outbound::new(&settings::outbound(config)?.trusting())?;
    let settings = bridges::Settings {
        server_name: config.server.name.clone(),
        timeout: config.application_services.timeout.get(),
    };
    let parts = bridges::Parts {
        services: Arc::clone(core.accounts.services()),
        store: core.store.clone(),
        rooms: core.rooms.clone(),
        presence,
        outbound,
        clock: Arc::clone(&options.clock),
        random: options.random.clone(),
    };
    Ok(Bridges::new(settings, parts))
}

/// What handlers work with.
pub(super) fn state(
    config: &Config,
    core: &Core,
    sync: Sync,
    bridges: Bridges,
    options: &AppOptions,
) -> anyhow::Result<AppState> {
    let pages = mail::pages(config)?;
    let refused = core.metrics.rejected_by_limit.clone();
    let limits = RateLimits::observed(
        &settings::rate_limits(&config.limits),
        Arc::clone(&options.clock),
        Arc::new(move |kind| refused.with_label_values(&[kind.as_str()]).inc()),
    );
    let capabilities = settings::capabilities(&core.policy.load(), config);
    Ok(AppState::new(Services {
        accounts: core.accounts.clone(),
        rooms: core.rooms.clone(),
        keys: core.keys.clone(),
        sync,
        bridges,
        audit: core.audit.clone(),
        identity: core.identity.clone(),
        media: core.media.clone(),
        scanner: core.scanner.clone(),
        previews: core.previews.clone(),
        notices: core.notices.clone(),
        calls: Calls::new(settings::calls(&config.calls), Arc::clone(&options.clock)),
        push: core.push.clone(),
        rendezvous: Rendezvous::new(
            settings::rendezvous(&config.qr_sign_in),
            core.store.clone(),
            Arc::clone(&options.clock),
            options.random.clone(),
        ),
        limits,
        settings: settings::http(&config.limits),
        random: options.random.clone(),
        observer: observer(&core.metrics),
        readiness: readiness::checks(&core.store, config.server.data_folder.clone()),
        metrics: metrics_text(core),
        well_known: settings::well_known(config),
        capabilities: Capabilities::from(&capabilities),
        pages: Arc::new(pages),
        home: settings::home(&config.server),
    }))
}

/// What each listener serves.
pub(super) fn routers(listeners: &[Listener], state: &AppState, mailer: &Mailer) -> Vec<Router> {
    let one = |listener: &Listener| {
        let serves = ApiSelection {
            client: listener.serves(Surface::Client),
            health: listener.serves(Surface::Health),
            metrics: listener.serves(Surface::Metrics),
            internal: listener.serves(Surface::Internal),
            trusted_proxies: listener.trusted_proxies.clone(),
        };
        let mut more = Router::new();
        if serves.client {
            more = more.merge(email_links::routes(&state.pages));
        }
        if listener.serves(Surface::Development) {
            more = more.merge(development::routes(mailer));
        }
        router(state, &serves, more)
    };
    listeners.iter().map(one).collect()
}

/// Counts answers.
fn observer(metrics: &Metrics) -> RequestObserver {
    let metrics = metrics.clone();
    Arc::new(move |route, method, status, took: Duration| {
        let status = status.to_string();
        let labels = [route, method, status.as_str()];
        metrics.http_requests.with_label_values(&labels).inc();
        metrics
            .http_request_duration
            .with_label_values(&[route])
            .observe(took.as_secs_f64());
    })
}

/// Writes the measures; those that are read rather than counted are read first.
fn metrics_text(core: &Core) -> MetricsText {
    let (metrics, store, accounts, mailer) = (
        core.metrics.clone(),
        core.store.clone(),
        core.accounts.clone(),
        core.mailer.clone(),
    );
    Arc::new(move || {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.stream_position.set(store.live().position().0);
        let (rooms, _) = store.live().sizes();
        let rooms = i64::try_from(rooms).unwrap_or(i64::MAX);
        metrics.room_snapshots_cached.set(rooms);
        metrics
            .password_hash_queue
            .set(number(accounts.password_hash_queue()));
        let (open, idle) = store.pool_size();
        let connections = &metrics.database_connections;
        let used = i64::from(open).saturating_sub(number(idle));
        connections.with_label_values(&["used"]).set(used.max(0));
        connections.with_label_values(&["idle"]).set(number(idle));
        let mails = mailer.outcomes();
        metrics.mail_queue_depth.set(mails.waiting);
        let age = i64::try_from(mailer.oldest_age().as_secs()).unwrap_or(i64::MAX);
        metrics.mail_queue_oldest_age.set(age);
        for (outcome, count) in [
            ("sent", mails.sent),
            ("failed", mails.failed),
            ("expired", mails.expired),
            ("postponed", mails.postponed),
        ] {
            let counter = metrics.mails.with_label_values(&[outcome]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        metrics.render().unwrap_or_else(|error| {
            tracing::error!(%error, "the measures cannot be written");
            String::new()
        })
    })
}
