//! The mails that were not sent, because there is no mail server. For development only.
//!
//! Whoever sees this page can confirm any address and reset any password: it is served at
//! addresses of this machine only, which the configuration makes sure of.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use http::{HeaderMap, Uri};

use super::{AppState, error::ApiError, html};
use crate::{
    mail::{Mailer, OutboxMail},
    pages::{OutboxEntry, Pages, Visitor},
};

/// Where the list of mails is.
pub const MAILS: &str = "/_chappe/dev/mails";

/// The routes, to be given to [`router`](super::router). None, where mails are really sent.
pub fn routes(mailer: &Mailer) -> Router<AppState> {
    if mailer.outbox().is_none() {
        return Router::new();
    }
    let (listed, read) = (mailer.clone(), mailer.clone());
    let list = async move |State(state): State<AppState>, headers: HeaderMap, uri: Uri| {
        list(&listed, &state.pages, html::visitor(&headers, &uri)).await
    };
    let show = async move |State(state): State<AppState>,
                           Path(id): Path<String>,
                           headers: HeaderMap,
                           uri: Uri| {
        show(&read, &state.pages, html::visitor(&headers, &uri), &id).await
    };
    Router::new()
        .route(MAILS, get(list))
        .route(&format!("{MAILS}/{{id}}"), get(show))
}

async fn list(mailer: &Mailer, pages: &Arc<Pages>, visitor: Visitor) -> Result<Response, ApiError> {
    let mails = match mailer.outbox() {
        Some(outbox) => outbox.list().await?,
        None => Vec::new(),
    };
    let links: Vec<String> = mails.iter().map(link).collect();
    let entries = mails.iter().zip(&links);
    let entries: Vec<OutboxEntry<'_>> = entries.map(|(mail, link)| entry(mail, link)).collect();
    let page = pages.development_outbox(&entries, visitor);
    Ok(html::page(pages, page))
}

async fn show(
    mailer: &Mailer,
    pages: &Arc<Pages>,
    visitor: Visitor,
    id: &str,
) -> Result<Response, ApiError> {
    let mail = match mailer.outbox() {
        Some(outbox) => outbox.read(id).await?,
        None => None,
    };
    let page = match mail {
        Some(mail) => pages.development_mail(&entry(&mail, &link(&mail)), MAILS, visitor),
        None => pages.not_found(visitor),
    };
    Ok(html::page(pages, page))
}

fn link(mail: &OutboxMail) -> String {
    format!("{MAILS}/{}", mail.id)
}

fn entry<'a>(mail: &'a OutboxMail, link: &'a str) -> OutboxEntry<'a> {
    OutboxEntry {
        link,
        to: &mail.to,
        subject: &mail.subject,
        date: &mail.date,
        text: &mail.text,
    }
}
