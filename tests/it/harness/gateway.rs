//! A push gateway for tests: keeps what it is told, and answers as it is asked to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long something may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway. It ends when it is dropped.
pub(crate) struct Gateway {
    /// Where it is.
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    told: watch::Sender<Vec<Value>>,
    answer: Mutex<(u16, Value)>,
    /// How long it thinks before it answers.
    delay: Mutex<Duration>,
    /// How many requests were answered with an error.
    refused: watch::Sender<usize>,
}

impl Gateway {
    pub(crate) async fn new() -> Self {
        let shared = Arc::new(Shared {
            told: watch::Sender::new(Vec::new()),
            answer: Mutex::new((200, json!({ "rejected": [] }))),
            delay: Mutex::new(Duration::ZERO),
            refused: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new()
            .route("/_matrix/push/v1/notify", post(notify))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url: format!("http://127.0.0.1:{port}/_matrix/push/v1/notify"),
            shared,
            task,
        }
    }

    /// How it answers from now on.
    pub(crate) fn answer(&self, status: u16, body: Value) {
        *self.shared.answer.lock().unwrap() = (status, body);
    }

    /// How long it takes for an answer from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// Everything that it was told, and took.
    pub(crate) fn told(&self) -> Vec<Value> {
        self.shared.told.borrow().clone()
    }

    /// The first notification that is like this, of those that it was told or will be soon.
    #[track_caller]
    pub(crate) fn until(
        &self,
        what: &'static str,
        is_it: impl Fn(&Value) -> bool + Send + Sync,
    ) -> impl Future<Output = Value> + Send {
        let mut told = self.shared.told.subscribe();
        async move {
            let found = timeout(PATIENCE, told.wait_for(|told| told.iter().any(&is_it))).await;
            let Ok(found) = found else {
                panic!("no notification {what}");
            };
            let found = found.unwrap();
            found.iter().find(|told| is_it(told)).unwrap().clone()
        }
    }

    /// Waits until what it was told is like this.
    pub(crate) async fn wait(
        &self,
        what: &'static str,
        is_it: impl Fn(&[Value]) -> bool + Send + Sync,
    ) {
        let mut told = self.shared.told.subscribe();
        let done = timeout(PATIENCE, told.wait_for(|told| is_it(told))).await;
        assert!(done.is_ok(), "no notification {what}");
    }

    /// The notification of an event.
    #[track_caller]
    pub(crate) fn of(&self, event_id: &str) -> impl Future<Output = Value> + Send {
        let event_id = event_id.to_owned();
        self.until("of the event", move |told| told["event_id"] == *event_id)
    }

    /// Waits until it has refused so many requests.
    pub(crate) async fn refused(&self, times: usize) {
        let mut refused = self.shared.refused.subscribe();
        let done = timeout(PATIENCE, refused.wait_for(|refused| *refused >= times)).await;
        assert!(done.is_ok(), "the gateway was not asked");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn notify(
    State(shared): State<Arc<Shared>>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let (status, answer) = shared.answer.lock().unwrap().clone();
    if status == 200 {
        shared
            .told
            .send_modify(|told| told.push(body["notification"].clone()));
    } else {
        shared.refused.send_modify(|refused| *refused += 1);
    }
    let delay = *shared.delay.lock().unwrap();
    sleep(delay).await;
    (StatusCode::from_u16(status).unwrap(), Json(answer))
}
