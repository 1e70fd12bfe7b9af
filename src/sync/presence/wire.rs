//! How processes tell each other who is there.

use ruma::{UserId, presence::PresenceState};
use serde::{Deserialize, Serialize};

use super::people::News;
use crate::store::UserNid;

/// The longest notification of PostgreSQL is 8000 bytes.
const MAX_BYTES: usize = 7_900;
/// The longest status that is told, in letters.
const MAX_STATUS: usize = 200;

#[derive(Deserialize, Serialize)]
struct Line(i64, String, String, i64, Option<String>, i64);

/// The news as texts that each fit into a notification. News that does not fit at all is left out.
pub(super) fn texts(process: &str, news: &[News]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = String::new();
    for news in news {
        let status = news.status.as_ref();
        let line = Line(
            news.user.0,
            news.user_id.to_string(),
            news.state.as_str().to_owned(),
            news.last_active_ms,
            status.map(|status| status.chars().take(MAX_STATUS).collect()),
            news.status_ms,
        );
        let Ok(line) = serde_json::to_string(&line) else {
            continue;
        };
        if process.len() + 1 + line.len() > MAX_BYTES {
            continue;
        }
        if text.len() + 1 + line.len() > MAX_BYTES {
            texts.push(std::mem::take(&mut text));
        }
        if text.is_empty() {
            process.clone_into(&mut text);
        }
        text.push('\n');
        text.push_str(&line);
    }
    if !text.is_empty() {
        texts.push(text);
    }
    texts
}

/// Who tells, and what. `None`: it makes no sense.
pub(super) fn parse(text: &str) -> Option<(String, Vec<News>)> {
    let mut lines = text.lines();
    let process = lines.next()?.to_owned();
    let news = lines.map(|line| {
        let Line(user, user_id, state, last_active_ms, status, status_ms) =
            serde_json::from_str(line).ok()?;
        Some(News {
            user: UserNid(user),
            user_id: UserId::parse(user_id).ok()?,
            state: PresenceState::from(state),
            last_active_ms,
            status,
            status_ms,
        })
    });
    let news: Option<Vec<News>> = news.collect();
    Some((process, news?))
}
