//! The content scanner: no file reaches people before an antivirus has seen what is in it
//! (tchap.md, 7).

mod clamd;
mod daemon;
mod privacy;

use aes::{
    Aes256,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ctr::Ctr128BE;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use vodozemac::{Curve25519PublicKey, pk_encryption::PkEncryption};

use self::clamd::{Clamd, EICAR};
use crate::harness::{
    client::{Answer, Client},
    server::{TestOptions, TestServer},
};

const BASE: &str = "/_matrix/media_proxy/unstable";

/// A server that asks this engine.
async fn server(clamd: &Clamd, more: &str) -> TestServer {
    let settings = format!("[scanner]\nclamd = \"unix:{}\"\n{more}", clamd.path());
    TestServer::start(TestOptions::with(&settings)).await
}

async fn upload(client: &Client, bytes: &[u8]) -> String {
    upload_to(client, bytes, "/_matrix/media/v3/upload").await
}

async fn upload_to(client: &Client, bytes: &[u8], path: &str) -> String {
    let answer = client
        .raw(Method::POST, path, &[], bytes.to_vec())
        .await
        .expect_ok();
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

/// An encrypted file: its place, and what clients say of it.
async fn encrypted(client: &Client, plain: &[u8]) -> (String, Value) {
    encrypted_at(client, plain, "/_matrix/media/v3/upload").await
}

/// The same, uploaded with a name.
async fn encrypted_named(client: &Client, plain: &[u8], name: &str) -> (String, Value) {
    let path = format!("/_matrix/media/v3/upload?filename={name}");
    encrypted_at(client, plain, &path).await
}

async fn encrypted_at(client: &Client, plain: &[u8], path: &str) -> (String, Value) {
    let (key, iv) = (
        [7_u8; 32],
        [3_u8, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    let mut bytes = plain.to_vec();
    Ctr128BE::<Aes256>::new((&key).into(), (&iv).into()).apply_keystream(&mut bytes);
    let path = upload_to(client, &bytes, path).await;
    let file = json!({
        "v": "v2",
        "url": format!("mxc://{path}"),
        "iv": STANDARD_NO_PAD.encode(iv),
        "hashes": { "sha256": STANDARD_NO_PAD.encode(Sha256::digest(&bytes)) },
        "key": {
            "alg": "A256CTR",
            "kty": "oct",
            "ext": true,
            "key_ops": ["encrypt", "decrypt"],
            "k": URL_SAFE_NO_PAD.encode(key),
        },
    });
    (path, json!({ "file": file }))
}

/// A body as clients encrypt it to the server's key.
async fn sealed(client: &Client, body: &Value) -> Value {
    let key = client.get(&format!("{BASE}/public_key")).await.expect_ok();
    let key = Curve25519PublicKey::from_base64(key["public_key"].as_str().unwrap()).unwrap();
    let message = PkEncryption::from_key(key)
        .encrypt(body.to_string().as_bytes())
        .unwrap();
    json!({ "encrypted_body": {
        "ciphertext": STANDARD_NO_PAD.encode(&message.ciphertext),
        "mac": STANDARD_NO_PAD.encode(&message.mac),
        "ephemeral": message.ephemeral_key.to_base64(),
    }})
}

async fn scan(client: &Client, path: &str) -> Answer {
    client.get(&format!("{BASE}/scan/{path}")).await
}

async fn download(client: &Client, path: &str) -> Answer {
    client.get(&format!("{BASE}/download/{path}")).await
}

async fn post(client: &Client, what: &str, body: &Value) -> Answer {
    client.post(&format!("{BASE}/{what}"), body).await
}

#[track_caller]
fn expect_refused(answer: &Answer, status: u16, reason: &str) {
    let found = (answer.status, answer.body["reason"].as_str());
    assert_eq!(found, (status, Some(reason)), "{}", answer.text);
    assert!(answer.body["info"].is_string(), "{}", answer.text);
    assert!(answer.body.get("errcode").is_none());
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn cs_13_a_clean_file_passes_encrypted_or_not() {
    let clamd = Clamd::start();
    let server = server(&clamd, "").await;
    let anna = server.register("anna").await;
    let plain = upload(&anna, b"a clean text").await;
    let answer = scan(&anna, &plain).await.expect_ok();
    assert_eq!(answer, json!({ "clean": true, "info": "File is clean" }));
    assert_eq!(download(&anna, &plain).await.text, "a clean text");
    let (path, body) = encrypted(&anna, b"a secret text").await;
    for body in [&body, &sealed(&anna, &body).await] {
        let answer = post(&anna, "scan_encrypted", body).await.expect_ok();
        assert_eq!(answer["clean"], true);
        let file = post(&anna, "download_encrypted", body).await;
        assert_eq!(file.status, 200);
        // As it is kept: the client decrypts it.
        let kept = anna
            .get(&format!("/_matrix/client/v1/media/download/{path}"))
            .await;
        assert_eq!(file.text, kept.text);
        assert_ne!(file.text, "a secret text");
    }
    assert!(
        clamd.saw(b"a secret text"),
        "the engine sees what is inside"
    );
    // Once for each content, however often it is asked for.
    assert_eq!(clamd.scans(), 2);
}

#[tokio::test]
async fn cs_07_cs_08_cs_14_an_infected_file_reaches_nobody() {
    let clamd = Clamd::start();
    let server = server(&clamd, "infected_info = \"Contenu bloqué\"\n").await;
    let (anna, bert) = (server.register("anna").await, server.register("bert").await);
    let room = anna.create_room(&json!({ "invite": [bert.user_id] })).await;
    bert.join(&room).await.expect_ok();
    let path = upload(&anna, EICAR).await;
    let content =
        json!({ "msgtype": "m.file", "body": "eicar.com", "url": format!("mxc://{path}") });
    anna.send_event(&room, "m.room.message", &content).await;
    let (_, body) = encrypted(&anna, EICAR).await;
    for person in [&anna, &bert] {
        let answer = scan(person, &path).await.expect_ok();
        assert_eq!(answer, json!({ "clean": false, "info": "Contenu bloqué" }));
        expect_refused(&download(person, &path).await, 403, "MCS_MEDIA_NOT_CLEAN");
        let thumbnail = format!("{BASE}/thumbnail/{path}?width=32&height=32");
        expect_refused(&person.get(&thumbnail).await, 403, "MCS_MEDIA_NOT_CLEAN");
        let answer = post(person, "scan_encrypted", &body).await.expect_ok();
        assert_eq!(answer["clean"], false);
        let answer = post(person, "download_encrypted", &body).await;
        expect_refused(&answer, 403, "MCS_MEDIA_NOT_CLEAN");
    }
}

#[tokio::test]
async fn cs_01_cs_02_cs_03_what_cannot_be_opened_is_refused() {
    let clamd = Clamd::start();
    let server = server(&clamd, "").await;
    let anna = server.register("anna").await;
    let raw = async |body: &'static str| {
        let path = format!("{BASE}/scan_encrypted");
        let headers = [("content-type", "application/json")];
        anna.raw(Method::POST, &path, &headers, body).await
    };
    for body in [
        "{",
        "[]",
        "7",
        "{}",
        "",
        r#"{"file":{}}"#,
        r#"{"encrypted_body":{}}"#,
    ] {
        expect_refused(&raw(body).await, 400, "MCS_MALFORMED_JSON");
    }
    let (_, body) = encrypted(&anna, b"text").await;
    let mut wrong = sealed(&anna, &body).await;
    wrong["encrypted_body"]["mac"] = json!("AAAAAAAAAAA");
    let answer = post(&anna, "scan_encrypted", &wrong).await;
    expect_refused(&answer, 403, "MCS_BAD_DECRYPTION");
    let mut wrong = body.clone();
    wrong["file"]["hashes"]["sha256"] = json!(STANDARD_NO_PAD.encode([0_u8; 32]));
    for what in ["scan_encrypted", "download_encrypted"] {
        let answer = post(&anna, what, &wrong).await;
        expect_refused(&answer, 400, "MCS_MEDIA_FAILED_TO_DECRYPT");
    }
    let mut wrong = body;
    wrong["file"]["key"]["k"] = json!("AAAA");
    let answer = post(&anna, "scan_encrypted", &wrong).await;
    expect_refused(&answer, 400, "MCS_MEDIA_FAILED_TO_DECRYPT");
    assert_eq!(clamd.scans(), 0);
}

#[tokio::test]
async fn cs_04_cs_05_cs_15_who_asks_is_looked_at_each_time() {
    let clamd = Clamd::start();
    let server = server(&clamd, "").await;
    let anna = server.register("anna").await;
    let bert = server.register("bert").await;
    let path = upload(&anna, b"text").await;
    scan(&bert, &path).await.expect_ok();
    assert_eq!(download(&bert, &path).await.status, 200);
    let nobody = server.client();
    expect_refused(&scan(&nobody, &path).await, 401, "M_MISSING_TOKEN");
    expect_refused(&download(&nobody, &path).await, 401, "M_MISSING_TOKEN");
    bert.post("logout", &json!({})).await.expect_ok();
    expect_refused(&scan(&bert, &path).await, 401, "M_UNKNOWN_TOKEN");
    expect_refused(&download(&bert, &path).await, 401, "M_UNKNOWN_TOKEN");
    // A token in the query is none.
    let token = anna.token.clone().unwrap();
    let query = format!("{BASE}/scan/{path}?access_token={token}");
    expect_refused(&nobody.get(&query).await, 401, "M_MISSING_TOKEN");
    expect_refused(&scan(&anna, "localhost/unknown").await, 404, "M_NOT_FOUND");
    expect_refused(
        &download(&anna, "elsewhere.example/a").await,
        404,
        "M_NOT_FOUND",
    );
}

#[tokio::test]
async fn cs_06_cs_11_paths_that_name_nothing() {
    let clamd = Clamd::start();
    let server = server(&clamd, "").await;
    let anna = server.register("anna").await;
    for path in ["unknown", "scan_encrypted/more", ""] {
        let answer = anna.get(&format!("{BASE}/{path}")).await;
        answer.expect_error(404, "M_UNRECOGNIZED");
    }
    let wrong = anna
        .post(&format!("{BASE}/scan/localhost/a"), &json!({}))
        .await;
    wrong.expect_error(405, "M_UNRECOGNIZED");
    for path in ["localhost/a/b", "localhost/..%2f..%2fetc", "localhost"] {
        expect_refused(&download(&anna, path).await, 403, "MCS_MEDIA_NOT_CLEAN");
        let answer = scan(&anna, path).await.expect_ok();
        assert_eq!(
            answer,
            json!({ "clean": false, "info": "Malformed media ID" })
        );
    }
}

#[tokio::test]
async fn cs_09_types_are_those_of_the_bytes() {
    let clamd = Clamd::start();
    let server = server(&clamd, "allowed_types = [\"text/plain\", \"image/png\"]\n").await;
    let anna = server.register("anna").await;
    let text = upload(&anna, b"text").await;
    scan(&anna, &text).await.expect_ok();
    let pdf = upload(&anna, b"%PDF-1.7 says it is something else").await;
    expect_refused(&scan(&anna, &pdf).await, 403, "MCS_MIME_TYPE_FORBIDDEN");
    expect_refused(&download(&anna, &pdf).await, 403, "MCS_MIME_TYPE_FORBIDDEN");
    // Also inside of what is encrypted.
    let (_, body) = encrypted(&anna, b"%PDF-1.7").await;
    let answer = post(&anna, "scan_encrypted", &body).await;
    expect_refused(&answer, 403, "MCS_MIME_TYPE_FORBIDDEN");
    let (_, body) = encrypted(&anna, b"a text").await;
    post(&anna, "scan_encrypted", &body).await.expect_ok();
}

#[tokio::test]
async fn cs_10_cs_12_where_nobody_could_look_nothing_passes_and_nothing_is_remembered() {
    let clamd = Clamd::start();
    let server = server(&clamd, "timeout = \"2s\"\nmax_bytes = \"1KiB\"\n").await;
    let anna = server.register("anna").await;
    let path = upload(&anna, b"text").await;
    for answer in ["", "stream: what? ERROR", "gibberish", "hangs"] {
        clamd.answer(answer);
        expect_refused(&scan(&anna, &path).await, 502, "MCS_MEDIA_REQUEST_FAILED");
        expect_refused(
            &download(&anna, &path).await,
            502,
            "MCS_MEDIA_REQUEST_FAILED",
        );
    }
    clamd.answer("stream: OK");
    scan(&anna, &path).await.expect_ok();
    let large = upload(&anna, &[b'a'; 2000]).await;
    expect_refused(
        &download(&anna, &large).await,
        502,
        "MCS_MEDIA_REQUEST_FAILED",
    );
    clamd.stop();
    let other = upload(&anna, b"another text").await;
    expect_refused(&scan(&anna, &other).await, 502, "MCS_MEDIA_REQUEST_FAILED");
    // What was seen before passes.
    assert_eq!(download(&anna, &path).await.text, "text");
}

#[tokio::test]
async fn files_pass_unscanned_where_the_operator_says_so() {
    let clamd = Clamd::start();
    let server = server(&clamd, "pass_unscanned = true\n").await;
    let anna = server.register("anna").await;
    let path = upload(&anna, EICAR).await;
    clamd.answer("gibberish");
    assert_eq!(download(&anna, &path).await.status, 200);
    // That is no verdict.
    clamd.answer("");
    clamd.answer_by_content();
    expect_refused(&download(&anna, &path).await, 403, "MCS_MEDIA_NOT_CLEAN");
}

#[tokio::test]
async fn no_other_path_gives_what_was_not_scanned_where_it_must_be() {
    let clamd = Clamd::start();
    let server = server(&clamd, "required = true\n").await;
    let anna = server.register("anna").await;
    let other = async |path: &str| {
        anna.get(&format!("/_matrix/client/v1/media/download/{path}"))
            .await
    };
    let clean = upload(&anna, b"a clean text").await;
    assert_eq!(other(&clean).await.text, "a clean text");
    let infected = upload(&anna, EICAR).await;
    other(&infected).await.expect_error(403, "M_FORBIDDEN");
    let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{infected}?width=9&height=9");
    anna.get(&thumbnail).await.expect_error(403, "M_FORBIDDEN");
    // What is encrypted may be anything.
    let (path, body) = encrypted(&anna, EICAR).await;
    other(&path).await.expect_error(403, "M_FORBIDDEN");
    let answer = post(&anna, "download_encrypted", &body).await;
    expect_refused(&answer, 403, "MCS_MEDIA_NOT_CLEAN");
    let (_, body) = encrypted(&anna, b"a secret text").await;
    assert_eq!(post(&anna, "download_encrypted", &body).await.status, 200);
}

#[tokio::test]
async fn a_program_can_be_the_engine() {
    let settings = "[scanner]\ncommand = [\"/bin/sh\", \"-c\", \"! grep -q EICAR\"]\n";
    let server = TestServer::start(TestOptions::with(settings)).await;
    let anna = server.register("anna").await;
    let (clean, infected) = (upload(&anna, b"text").await, upload(&anna, EICAR).await);
    assert_eq!(download(&anna, &clean).await.text, "text");
    expect_refused(
        &download(&anna, &infected).await,
        403,
        "MCS_MEDIA_NOT_CLEAN",
    );
}

#[tokio::test]
async fn all_processes_have_one_key_and_one_memory() {
    let clamd = Clamd::start();
    let server = server(&clamd, "").await;
    let sibling = server.sibling().await;
    let anna = server.register("anna").await;
    let there = anna.at(&sibling.url);
    let (_, body) = encrypted(&anna, b"text").await;
    let sealed = sealed(&anna, &body).await;
    post(&anna, "scan_encrypted", &sealed).await.expect_ok();
    post(&there, "scan_encrypted", &sealed).await.expect_ok();
    assert_eq!(clamd.scans(), 1);
}
