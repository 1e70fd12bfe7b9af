//! Previews of web pages that people link to.
//!
//! Pages are fetched by the one outbound client, which reaches no private address, within a size and
//! a time; what they say of themselves ([`page`]) is kept for a while, for all processes, with their
//! picture as media of this server.
//!
//! Specification v1.19, client-server API, `GET /_matrix/client/v1/media/preview_url`.

mod page;

use std::{sync::Arc, time::Duration};

use futures_util::stream;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE},
};
use image::ImageReader;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use url::Url;

use self::page::Page;
use crate::{
    clock::SharedClock,
    media::{self, Media, NewUpload, Target},
    outbound::{Answer, Bounds, Outbound},
    store::{Store, StoreError, url_previews},
};

/// The longest URL that is fetched, in bytes.
const MAX_URL: usize = 2_000;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// How many pages are fetched at once.
const AT_ONCE: usize = 16;
/// For how long after their end previews are kept: clients may still show their pictures.
const KEPT: Duration = Duration::from_hours(7 * 24);
/// How many previews are deleted at once.
const BATCH: i64 = 100;

/// What previews are told by the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether there are any.
    pub is_on: bool,
    /// The largest page.
    pub max_page: usize,
    /// The largest picture.
    pub max_image: usize,
    /// How long a page, and a picture, may take.
    pub timeout: Duration,
    /// For how long a preview is given again.
    pub lifetime: Duration,
    /// The languages that pages are asked for where the client names none.
    pub languages: String,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 404 `M_UNRECOGNIZED`: this server makes none.
    #[error("this server makes no previews")]
    Off,
    /// 400 `M_INVALID_PARAM`: this is no URL of a web page.
    #[error("this is not the URL of a web page")]
    NotAUrl,
    /// 403 `M_FORBIDDEN`: the page is in a network that is not reached.
    #[error("this address is not fetched")]
    Refused,
    /// 404 `M_NOT_FOUND`: the page cannot be had.
    #[error("the page cannot be fetched")]
    Unreachable,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The picture could not be kept.
    #[error(transparent)]
    Media(#[from] media::Error),
}

/// Previews. Cheap to clone.
#[derive(Clone)]
pub struct Previews(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    outbound: Outbound,
    media: Media,
    clock: SharedClock,
    places: Semaphore,
}

impl Previews {
    /// The service.
    pub fn new(
        settings: Settings,
        store: Store,
        outbound: Outbound,
        media: Media,
        clock: SharedClock,
    ) -> Self {
        Self(Arc::new(Inner {
            settings,
            store,
            outbound,
            media,
            clock,
            places: Semaphore::new(AT_ONCE),
        }))
    }

    /// What a page says of itself, as JSON.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn preview(
        &self,
        url: &str,
        language: Option<&HeaderValue>,
    ) -> Result<String, Error> {
        let inner = &self.0;
        if !inner.settings.is_on {
            return Err(Error::Off);
        }
        let url = parse(url)?;
        inner.outbound.check(&url).map_err(|_| Error::Refused)?;
        let language = match language {
            Some(language) => language.clone(),
            None => HeaderValue::from_str(&inner.settings.languages)
                .unwrap_or(HeaderValue::from_static("*")),
        };
        let key = Sha256::new()
            .chain_update(url.as_str())
            .chain_update([0])
            .chain_update(language.as_bytes())
            .finalize()
            .to_vec();
        let now_ms = inner.clock.now_i64();
        let mut conn = inner.store.conn().await?;
        if let Some(known) = url_previews::find(&mut conn, &key, now_ms).await? {
            return Ok(known);
        }
        drop(conn);
        let Ok(_place) = inner.places.acquire().await else {
            return Err(Error::Unreachable);
        };
        let (preview, media_id) = self.fetch(&url, &language).await?;
        let preview = Value::Object(preview).to_string();
        let lifetime = i64::try_from(inner.settings.lifetime.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = now_ms.saturating_add(lifetime);
        let mut conn = inner.store.conn().await?;
        let media_id = media_id.as_deref();
        url_previews::insert(&mut conn, &key, &preview, media_id, expires_ms).await?;
        Ok(preview)
    }

    async fn get(&self, url: &Url, language: &HeaderValue, max: usize) -> Result<Answer, Error> {
        let accept =
            HeaderValue::from_static("text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.5");
        let headers = HeaderMap::from_iter([(ACCEPT, accept), (ACCEPT_LANGUAGE, language.clone())]);
        let bounds = Bounds {
            timeout: self.0.settings.timeout,
            max_bytes: max,
            max_redirects: MAX_REDIRECTS,
        };
        let answer = self.0.outbound.get(url, headers, bounds).await;
        let answer = answer.map_err(|error| {
            tracing::debug!(%error, "a page could not be fetched");
            match error {
                crate::outbound::OutboundError::Refused => Error::Refused,
                _ => Error::Unreachable,
            }
        })?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(Error::Unreachable)
        }
    }

    async fn fetch(
        &self,
        url: &Url,
        language: &HeaderValue,
    ) -> Result<(Map<String, Value>, Option<String>), Error> {
        let settings = &self.0.settings;
        let most = settings.max_page.max(settings.max_image);
        let answer = self.get(url, language, most).await?;
        let kind = content_type(&answer);
        let mut preview = Map::new();
        if kind.starts_with("image/") {
            let media_id = self.keep_image(&answer, &mut preview).await?;
            return Ok((preview, media_id));
        }
        if !matches!(kind.as_str(), "text/html" | "application/xhtml+xml") {
            return Ok((preview, None));
        }
        if answer.body.len() > settings.max_page {
            return Err(Error::Unreachable);
        }
        let html = text(&answer);
        let page = page::read(&html);
        for (name, value) in &page.properties {
            if !name.starts_with("og:image") {
                preview.insert(name.clone(), value.as_str().into());
            }
        }
        let media_id = self.fetch_image(&answer.url, &page, language, &mut preview);
        // A page without its picture is a page.
        let media_id = match media_id.await {
            Ok(media_id) => media_id,
            Err(Error::Store(error)) => return Err(error.into()),
            Err(_) => None,
        };
        Ok((preview, media_id))
    }

    async fn fetch_image(
        &self,
        page_url: &Url,
        page: &Page,
        language: &HeaderValue,
        preview: &mut Map<String, Value>,
    ) -> Result<Option<String>, Error> {
        let Some(url) = page.get("og:image").and_then(|url| page_url.join(url).ok()) else {
            return Ok(None);
        };
        let answer = self.get(&url, language, self.0.settings.max_image).await?;
        self.keep_image(&answer, preview).await
    }

    /// Keeps a picture as media of this server, if it is one.
    async fn keep_image(
        &self,
        answer: &Answer,
        preview: &mut Map<String, Value>,
    ) -> Result<Option<String>, Error> {
        let bytes = &answer.body;
        let Some(kind) = infer::get(bytes).map(|kind| kind.mime_type()) else {
            return Ok(None);
        };
        if !media::images::is_readable(kind) || bytes.len() > self.0.settings.max_image {
            return Ok(None);
        }
        let upload = NewUpload {
            user: None,
            target: Target::New,
            content_type: Some(kind),
            file_name: None,
            announced: u64::try_from(bytes.len()).ok(),
        };
        let body = stream::iter([Ok::<_, media::Error>(bytes.clone())]);
        let media_id = self.0.media.upload(upload, body).await?;
        preview.insert("og:image".to_owned(), self.0.media.uri(&media_id).into());
        preview.insert("og:image:type".to_owned(), kind.into());
        preview.insert("matrix:image:size".to_owned(), bytes.len().into());
        let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
        if let Some((width, height)) = reader.ok().and_then(|reader| reader.into_dimensions().ok())
        {
            preview.insert("og:image:width".to_owned(), width.into());
            preview.insert("og:image:height".to_owned(), height.into());
        }
        Ok(Some(media_id))
    }

    /// Forgets old previews, with their pictures.
    ///
    /// # Errors
    /// The database fails.
    pub async fn clean_up(&self) -> Result<(), Error> {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let before_ms = self.0.clock.now_i64().saturating_sub(kept);
        loop {
            let mut conn = self.0.store.conn().await?;
            let (count, media) = url_previews::delete_old(&mut conn, before_ms, BATCH).await?;
            drop(conn);
            if count == 0 {
                return Ok(());
            }
            let media: Vec<&str> = media.iter().map(String::as_str).collect();
            self.0.media.delete(&media).await?;
        }
    }
}

/// A URL of a web page, without what only a browser needs.
fn parse(text: &str) -> Result<Url, Error> {
    if text.len() > MAX_URL {
        return Err(Error::NotAUrl);
    }
    let mut url = Url::parse(text).map_err(|_| Error::NotAUrl)?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return Err(Error::NotAUrl);
    }
    url.set_fragment(None);
    Ok(url)
}

fn content_type(answer: &Answer) -> String {
    let header = answer.headers.get(CONTENT_TYPE);
    let text = header.and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next());
    essence.unwrap_or_default().trim().to_lowercase()
}

/// The text of a page, in the encoding that its header or its first bytes name.
fn text(answer: &Answer) -> String {
    let header = answer.headers.get(CONTENT_TYPE);
    let header = header
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let head = answer
        .body
        .get(..answer.body.len().min(1024))
        .unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_lowercase();
    let label = charset(&header.to_lowercase()).or_else(|| charset(&head));
    let encoding = label.and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes()));
    let (text, ..) = encoding.unwrap_or(encoding_rs::UTF_8).decode(&answer.body);
    text.into_owned()
}

/// What stands after `charset=`.
fn charset(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("charset=")?;
    let rest = rest.trim_start_matches(['"', '\'']);
    let label = rest.split(['"', '\'', ';', '>', ' ', '/']).next()?;
    (!label.is_empty()).then(|| label.to_owned())
}
