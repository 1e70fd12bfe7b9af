//! Every operation of the client-server API is there as the specification has it, or stands in
//! `operations_left_out.tsv` with the reason why not.
//!
//! Whoever adds an operation takes its lines out of that file: the tests fail until it is done. What
//! routes there are is said nowhere else; what else is tried on all of them, see `faults::bad_input`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use reqwest::Method;

use crate::{
    faults::bad_input::{World, generate},
    harness::{
        client::encode,
        server::{TestOptions, TestServer},
    },
};

const OPERATIONS: &str = include_str!("operations.tsv");
const LEFT_OUT: &str = include_str!("operations_left_out.tsv");

/// An access token that nobody has.
const WRONG_TOKEN: &str = "syt_nobody_has_this_0";

/// An operation of the specification.
pub(crate) struct Operation {
    /// The name of ruma's module, where it has one.
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// Its path, with arguments in braces.
    pub(crate) path: &'static str,
    /// Whether clients also call it as `r0`.
    is_old: bool,
    /// Whether it asks for a token: always, never, or where there is one.
    pub(crate) token: Option<bool>,
    is_limited: bool,
    takes_json: bool,
}

impl Operation {
    fn parse(line: &'static str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, method, path, older, token, limited, body] = fields[..] else {
            panic!("{line}");
        };
        Self {
            name,
            method: method.parse().unwrap(),
            path,
            is_old: older == "r0",
            token: match token {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            },
            is_limited: limited == "yes",
            takes_json: body == "json",
        }
    }

    /// All its paths.
    pub(crate) fn paths(&self) -> Vec<String> {
        let older = self.is_old.then(|| self.path.replacen("/v3/", "/r0/", 1));
        std::iter::once(self.path.to_owned()).chain(older).collect()
    }

    /// Its path without the names of arguments: two operations may differ in their method alone.
    fn place(&self) -> String {
        let segments = self.path.split('/');
        let segments = segments.map(|part| if part.starts_with('{') { "{}" } else { part });
        segments.collect::<Vec<_>>().join("/")
    }
}

/// All operations.
pub(crate) static ALL: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let lines = OPERATIONS.lines().filter(|line| !line.starts_with('#'));
    lines.map(Operation::parse).collect()
});

/// The operations that are there.
pub(crate) fn routed() -> impl Iterator<Item = &'static Operation> {
    let missing = left_out("routed");
    ALL.iter()
        .filter(move |operation| !missing.contains_key(operation.name))
}

/// The operations for which a rule does not hold, and why.
fn left_out(rule: &str) -> BTreeMap<&'static str, &'static str> {
    let lines = LEFT_OUT.lines();
    let rows = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    let rows = rows.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [rule, name, reason] = fields[..] else {
            panic!("not three fields: {line}");
        };
        assert!(!reason.trim().is_empty(), "no reason: {line}");
        (rule, name, reason)
    });
    let of_rule = rows.filter(|(row, ..)| *row == rule);
    of_rule.map(|(_, name, reason)| (name, reason)).collect()
}

/// Fails unless exactly the operations that are left out break the rule.
#[track_caller]
fn hold(rule: &str, faults: &BTreeMap<&'static str, String>) {
    let left_out = left_out(rule);
    let mut wrong = Vec::new();
    for (name, fault) in faults {
        if !left_out.contains_key(name) {
            wrong.push(format!("{rule} {name}: {fault}"));
        }
    }
    for name in left_out.keys() {
        if !faults.contains_key(name) {
            wrong.push(format!("{rule} {name} holds: it needs no reason"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A server, somebody on it, and what requests name.
struct Site {
    server: TestServer,
    world: World,
    http: reqwest::Client,
}

impl Site {
    async fn new() -> Self {
        let server = TestServer::start(TestOptions::default()).await;
        let world = World::new(&server, "anna").await;
        let http = reqwest::Client::builder().no_proxy();
        let http = http.redirect(reqwest::redirect::Policy::none());
        let http = http.build().unwrap();
        Self {
            server,
            world,
            http,
        }
    }

    /// A path that names things which are there.
    fn fill(&self, template: &str) -> String {
        let own = encode(&self.world.user.user_id);
        let template = template.replace("{user_id}", &own);
        let template = template.replace("{type}", "org.example.test");
        generate::plausible(&mut ChaCha8Rng::seed_from_u64(0), &template, &self.world)
    }

    async fn send(
        &self,
        method: &Method,
        template: &str,
        token: Option<&str>,
        body: Option<&'static str>,
    ) -> Said {
        let url = format!("{}{}", self.server.url, self.fill(template));
        let mut request = self.http.request(method.clone(), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let errcode = json["errcode"].as_str().unwrap_or_default().to_owned();
        Said { status, errcode }
    }

    fn token(&self) -> Option<&str> {
        self.world.user.token.as_deref()
    }
}

/// What the server said.
#[derive(Debug, PartialEq)]
struct Said {
    status: u16,
    errcode: String,
}

impl Said {
    fn is(&self, status: u16, errcode: &str) -> bool {
        self.status == status && self.errcode == errcode
    }
}

#[test]
fn the_lists_name_each_operation_once() {
    let mut names = BTreeSet::new();
    for operation in ALL.iter() {
        assert!(names.insert(operation.name), "{} twice", operation.name);
    }
    assert_eq!(names.len(), 164);
    let mut rows = BTreeSet::new();
    for line in LEFT_OUT.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let (rule, name) = (fields.next().unwrap(), fields.next().unwrap_or_default());
        assert!(rule.is_empty() || names.contains(name), "unknown: {line}");
        assert!(
            rule.is_empty() || rows.insert((rule, name)),
            "twice: {line}"
        );
        assert!(
            ["", "routed", "token", "limit", "body", "method"].contains(&rule),
            "{line}"
        );
    }
}

#[tokio::test]
async fn every_operation_is_routed_under_all_its_paths() {
    let site = Site::new().await;
    let mut faults = BTreeMap::new();
    for operation in ALL.iter() {
        for path in operation.paths() {
            let said = site.send(&operation.method, &path, None, None).await;
            if said.errcode == "M_UNRECOGNIZED" {
                faults.insert(operation.name, path);
            }
        }
    }
    hold("routed", &faults);
}

#[tokio::test]
async fn every_operation_asks_for_a_token_where_the_specification_does() {
    let site = Site::new().await;
    let mut faults = BTreeMap::new();
    for operation in routed() {
        let Operation {
            name, method, path, ..
        } = operation;
        let without = site.send(method, path, None, None).await;
        let wrong = site.send(method, path, Some(WRONG_TOKEN), None).await;
        let asks = without.is(401, "M_MISSING_TOKEN");
        let refuses = wrong.is(401, "M_UNKNOWN_TOKEN");
        let is_right = match operation.token {
            Some(true) => asks && refuses,
            Some(false) => !asks,
            None => !asks && refuses,
        };
        if !is_right {
            faults.insert(
                *name,
                format!("without {without:?}, with a wrong one {wrong:?}"),
            );
        }
    }
    hold("token", &faults);
}

#[tokio::test]
async fn every_operation_refuses_a_body_that_is_no_json_or_no_object() {
    let site = Site::new().await;
    let mut faults = BTreeMap::new();
    for operation in routed().filter(|operation| operation.takes_json) {
        let Operation {
            name, method, path, ..
        } = operation;
        for (body, errcode) in [
            ("{", "M_NOT_JSON"),
            ("what?", "M_NOT_JSON"),
            ("{\"a\":01}", "M_NOT_JSON"),
            ("[]", "M_BAD_JSON"),
            ("\"text\"", "M_BAD_JSON"),
            ("17", "M_BAD_JSON"),
        ] {
            let said = site.send(method, path, site.token(), Some(body)).await;
            if !said.is(400, errcode) {
                faults.insert(*name, format!("{body}: {said:?}"));
            }
        }
    }
    hold("body", &faults);
    site.world.user.get("account/whoami").await.expect_ok();
}

#[tokio::test]
async fn every_place_refuses_methods_that_it_does_not_have() {
    let site = Site::new().await;
    let mut places: BTreeMap<String, Vec<&Operation>> = BTreeMap::new();
    for operation in routed() {
        places.entry(operation.place()).or_default().push(operation);
    }
    let mut faults = BTreeMap::new();
    for operations in places.values() {
        let has = |method: &Method| operations.iter().any(|one| one.method == *method);
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
        ] {
            if has(&method) {
                continue;
            }
            for path in operations[0].paths() {
                let said = site.send(&method, &path, site.token(), None).await;
                if !said.is(405, "M_UNRECOGNIZED") {
                    faults.insert(operations[0].name, format!("{method} {path}: {said:?}"));
                }
            }
        }
    }
    hold("method", &faults);
}

#[tokio::test]
async fn operations_are_limited_where_the_specification_says_so() {
    let site = Site::new().await;
    let rate = "read = { per_second = 0.0001, burst = 1 }";
    site.server
        .reload(&format!("[limits]\nenabled = true\n{rate}"))
        .await;
    // Both buckets are emptied: the user's, and the address's.
    for (path, token) in [("account/whoami", site.token()), ("login", None)] {
        let path = format!("/_matrix/client/v3/{path}");
        let mut status = 0;
        for _ in 0..1000 {
            status = site.send(&Method::GET, &path, token, None).await.status;
            if status == 429 {
                break;
            }
        }
        assert_eq!(status, 429, "{path}");
    }
    let mut faults = BTreeMap::new();
    for operation in routed() {
        let Operation {
            name, method, path, ..
        } = operation;
        // Nothing happens: what is not limited finds that this is no JSON.
        let body = operation.takes_json.then_some("{");
        let said = site.send(method, path, site.token(), body).await;
        if said.is(429, "M_LIMIT_EXCEEDED") != operation.is_limited {
            faults.insert(*name, format!("{said:?}"));
        }
    }
    hold("limit", &faults);
}
