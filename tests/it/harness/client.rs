//! A Matrix client for tests: JSON in, status and JSON out.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

/// What paths without a leading slash are relative to.
const API: &str = "/_matrix/client/v3/";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One device of one user, or nobody.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    /// Empty without a session.
    pub(crate) user_id: String,
    /// Empty without a session.
    pub(crate) device_id: String,
    /// The access token of the session.
    pub(crate) token: Option<String>,
    transactions: AtomicU64,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The JSON, or `Null` where the answer was something else.
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Client {
    /// A client without a session.
    pub(crate) fn new(base: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            http,
            base: base.to_owned(),
            user_id: String::new(),
            device_id: String::new(),
            token: None,
            transactions: AtomicU64::new(0),
        }
    }

    /// The same session at another address, such as that of a sibling.
    pub(crate) fn at(&self, base: &str) -> Self {
        Self {
            http: self.http.clone(),
            base: base.to_owned(),
            user_id: self.user_id.clone(),
            device_id: self.device_id.clone(),
            token: self.token.clone(),
            // Not the same transaction ids.
            transactions: AtomicU64::new(1_000_000),
        }
    }

    /// Makes an account and a session.
    pub(crate) async fn register(&mut self, name: &str, password: &str) {
        let mut body = json!({
            "username": name,
            "password": password,
            "auth": { "type": "m.login.dummy" },
        });
        let mut answer = self.post("register", &body).await;
        if answer.status == 401 {
            body["auth"]["session"] = answer.body["session"].clone();
            answer = self.post("register", &body).await;
        }
        self.take_session(&answer.expect_ok());
    }

    /// Logs in with a password.
    pub(crate) async fn login(&mut self, name: &str, password: &str) -> Answer {
        let answer = self
            .post(
                "login",
                &json!({
                    "type": "m.login.password",
                    "identifier": { "type": "m.id.user", "user": name },
                    "password": password,
                }),
            )
            .await;
        if answer.status == 200 {
            self.take_session(&answer.body);
        }
        answer
    }

    /// Takes over the session of an answer to a registration or a login.
    pub(crate) fn take_session(&mut self, session: &Value) {
        let field = |name: &str| session[name].as_str().unwrap().to_owned();
        self.user_id = field("user_id");
        self.device_id = field("device_id");
        self.token = Some(field("access_token"));
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, None).await
    }

    /// A request; a path without a leading slash is one of the client-server API.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.try_request(method, path, body).await.unwrap()
    }

    /// The same, where the server may be gone.
    pub(crate) async fn try_request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let api = if path.starts_with('/') { "" } else { API };
        let mut request = self
            .http
            .request(method, format!("{}{api}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        Answer::read(response).await
    }

    /// A request with a body of any kind.
    pub(crate) async fn respond(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).send().await.unwrap()
    }

    /// The same, where the answer is JSON.
    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let response = self.respond(method, path, headers, body).await;
        Answer::read(response).await.unwrap()
    }

    /// Posts a body in pieces, whose length is not told before.
    pub(crate) async fn chunked(&self, path: &str, pieces: Vec<Vec<u8>>) -> Answer {
        let pieces = pieces.into_iter().map(Ok::<_, std::io::Error>);
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        self.raw(Method::POST, path, &[], body).await
    }

    /// Syncs; without `since` from the beginning. Gives the answer, which has a `next_batch`.
    pub(crate) async fn sync(&self, since: Option<&str>, timeout: Duration) -> Value {
        let mut path = format!("sync?timeout={}", timeout.as_millis());
        if let Some(since) = since {
            path.push_str("&since=");
            path.push_str(&encode(since));
        }
        self.get(&path).await.expect_ok()
    }

    /// Makes a room, and gives its id.
    pub(crate) async fn create_room(&self, room: &Value) -> String {
        let answer = self.post("createRoom", room).await.expect_ok();
        answer["room_id"].as_str().unwrap().to_owned()
    }

    /// Sends a text, and gives the event id.
    pub(crate) async fn send(&self, room_id: &str, text: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": text });
        self.send_event(room_id, "m.room.message", &content).await
    }

    /// Sends an event, and gives its id.
    pub(crate) async fn send_event(&self, room_id: &str, kind: &str, content: &Value) -> String {
        let path = format!(
            "rooms/{}/send/{kind}/{}",
            encode(room_id),
            self.transaction_id()
        );
        let answer = self.put(&path, content).await.expect_ok();
        answer["event_id"].as_str().unwrap().to_owned()
    }

    /// Sends a state event.
    pub(crate) async fn send_state(
        &self,
        room_id: &str,
        kind: &str,
        key: &str,
        content: &Value,
    ) -> Answer {
        let path = format!("rooms/{}/state/{kind}/{}", encode(room_id), encode(key));
        self.put(&path, content).await
    }

    /// Joins a room by its id or alias.
    pub(crate) async fn join(&self, room: &str) -> Answer {
        self.post(&format!("join/{}", encode(room)), &json!({}))
            .await
    }

    /// Invites a user.
    pub(crate) async fn invite(&self, room_id: &str, user_id: &str) -> Answer {
        let body = json!({ "user_id": user_id });
        self.post(&format!("rooms/{}/invite", encode(room_id)), &body)
            .await
    }

    /// Leaves a room.
    pub(crate) async fn leave(&self, room_id: &str) -> Answer {
        self.post(&format!("rooms/{}/leave", encode(room_id)), &json!({}))
            .await
    }

    /// The newest messages of a room, newest first: `GET /messages` with more of a query, such as
    /// `&limit=5`.
    pub(crate) async fn messages(&self, room_id: &str, query: &str) -> Value {
        let path = format!("rooms/{}/messages?dir=b{query}", encode(room_id));
        self.get(&path).await.expect_ok()
    }

    /// A transaction id that this client has not used.
    pub(crate) fn transaction_id(&self) -> String {
        format!("t{}", self.transactions.fetch_add(1, Ordering::Relaxed))
    }
}

impl Answer {
    async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Self {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        })
    }

    /// The JSON of an answer that must be 200.
    #[track_caller]
    pub(crate) fn expect_ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body
    }

    /// An answer that must be this error.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, errcode: &str) -> Value {
        let found = (self.status, self.body["errcode"].as_str());
        assert_eq!(found, (status, Some(errcode)), "{}", self.text);
        self.body
    }
}

/// A text as one segment of a path, or one value of a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
