//! Files come back as they were, to those who may have them.

use std::{sync::Arc, time::Duration};

use chappe::clock::ManualClock;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_file_comes_back_as_it_was_with_headers_that_keep_browsers_safe() {
    let server = server("").await;
    let (anna, bert) = (server.register("anna").await, server.register("bert").await);
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let query = format!("?filename={}", encode("été à la mer.txt"));
    let answer = try_upload(&anna, &query, "text/plain", &bytes)
        .await
        .expect_ok();
    let path = path_of(&answer);
    let file = download(&bert, &path, &[]).await;
    assert_eq!(file.status, 200);
    assert_eq!(file.bytes, bytes);
    assert_eq!(file.header("content-type"), "text/plain");
    assert_eq!(file.header("content-length"), "300000");
    assert_eq!(
        file.header("content-disposition"),
        "inline; filename*=utf-8''%C3%A9t%C3%A9%20%C3%A0%20la%20mer.txt"
    );
    assert!(
        file.header("content-security-policy")
            .starts_with("sandbox; default-src 'none';")
    );
    assert_eq!(file.header("x-content-type-options"), "nosniff");
    assert_eq!(file.header("cross-origin-resource-policy"), "cross-origin");
    assert!(file.header("cache-control").contains("immutable"));
    let named = download(&bert, &format!("{path}/other%20name.txt"), &[]).await;
    assert_eq!(
        named.header("content-disposition"),
        "inline; filename=\"other name.txt\""
    );
    assert_eq!(named.bytes, bytes);
}

#[tokio::test]
async fn what_a_browser_could_run_is_saved_and_not_shown() {
    let server = server("").await;
    let anna = server.register("anna").await;
    for kind in ["text/html", "image/svg+xml", "application/xhtml+xml", ""] {
        let path = upload(&anna, kind, b"<script>alert(1)</script>").await;
        let file = download(&anna, &path, &[]).await;
        assert_eq!(file.header("content-disposition"), "attachment", "{kind}");
    }
    let path = upload(&anna, "", b"anything").await;
    let file = download(&anna, &path, &[]).await;
    assert_eq!(file.header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn parts_can_be_asked_for_and_what_is_known_is_not_sent_again() {
    let server = server("").await;
    let anna = server.register("anna").await;
    let path = upload(&anna, "text/plain", b"0123456789").await;
    let part = download(&anna, &path, &[("range", "bytes=2-5")]).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, &b"2345"[..]));
    assert_eq!(part.header("content-range"), "bytes 2-5/10");
    let end = download(&anna, &path, &[("range", "bytes=-3")]).await;
    assert_eq!((end.status, end.bytes.as_slice()), (206, &b"789"[..]));
    let none = download(&anna, &path, &[("range", "bytes=10-")]).await;
    assert_eq!(
        (none.status, none.header("content-range")),
        (416, "bytes */10")
    );
    let other = [("range", "bytes=2-5"), ("if-range", "\"another\"")];
    let whole = download(&anna, &path, &other).await;
    assert_eq!((whole.status, whole.bytes.len()), (200, 10));
    let etag = whole.header("etag").to_owned();
    let known = download(&anna, &path, &[("if-none-match", &etag)]).await;
    assert_eq!((known.status, known.bytes.len()), (304, 0));
}

#[tokio::test]
async fn the_same_content_is_kept_once() {
    let server = server("").await;
    let (anna, bert) = (server.register("anna").await, server.register("bert").await);
    let first = upload(&anna, "text/plain", b"the same").await;
    let second = upload(&bert, "text/html", b"the same").await;
    assert_ne!(first, second);
    server.app.media().clean_up().await.unwrap();
    assert_eq!(objects(&server), 1);
    upload(&bert, "text/html", b"not the same").await;
    server.app.media().clean_up().await.unwrap();
    assert_eq!(objects(&server), 2);
    assert_eq!(download(&anna, &second, &[]).await.bytes, b"the same");
    assert_eq!(
        download(&bert, &first, &[]).await.header("content-type"),
        "text/plain"
    );
}

#[tokio::test]
async fn uploads_ask_for_a_token_and_keep_to_the_limits() {
    let settings = "[media]\nmax_upload_size = \"1KiB\"\nmax_bytes_per_user = \"1500B\"\n";
    let server = server(settings).await;
    let anna = server.register("anna").await;
    let nobody = server.client();
    try_upload(&nobody, "", "text/plain", b"a")
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    let config = anna
        .get("/_matrix/client/v1/media/config")
        .await
        .expect_ok();
    assert_eq!(config, json!({ "m.upload.size": 1024 }));
    let large = vec![7; 1025];
    try_upload(&anna, "", "text/plain", &large)
        .await
        .expect_error(413, "M_TOO_LARGE");
    // Also where the length is not told before.
    let chunked = anna
        .chunked("/_matrix/media/v3/upload", vec![vec![7; 600], vec![8; 600]])
        .await;
    chunked.expect_error(413, "M_TOO_LARGE");
    upload(&anna, "text/plain", &vec![1; 1000]).await;
    try_upload(&anna, "", "text/plain", &vec![2; 600])
        .await
        .expect_error(403, "M_FORBIDDEN");
    let chunked = anna
        .chunked("/_matrix/media/v3/upload", vec![vec![7; 300], vec![8; 300]])
        .await;
    chunked.expect_error(403, "M_FORBIDDEN");
    // Others have as much.
    let bert = server.register("bert").await;
    upload(&bert, "text/plain", &vec![2; 600]).await;
    // What was refused leaves nothing behind.
    server.app.media().clean_up().await.unwrap();
    assert_eq!(objects(&server), 2);
}

#[tokio::test]
async fn a_large_file_is_streamed_in_parts() {
    let server = server("").await;
    let anna = server.register("anna").await;
    let pieces: Vec<Vec<u8>> = (0..60_u8).map(|at| vec![at; 300_000]).collect();
    let whole = pieces.concat();
    let answer = anna
        .chunked("/_matrix/media/v3/upload", pieces)
        .await
        .expect_ok();
    let path = path_of(&answer);
    let file = download(&anna, &path, &[]).await;
    assert!(file.bytes == whole);
    let part = download(&anna, &path, &[("range", "bytes=5242870-5242890")]).await;
    assert_eq!(part.bytes, whole[5_242_870..=5_242_890]);
}

#[tokio::test]
async fn ids_are_never_paths() {
    let server = server("").await;
    let anna = server.register("anna").await;
    let path = upload(&anna, "text/plain", b"a").await;
    let name = path.split('/').next().unwrap().to_owned();
    for (id, status) in [
        ("..%2f..%2fsigning.key", 400),
        ("a%00", 400),
        ("%E2%80%AE", 400),
        ("a.b", 400),
        ("unknown", 404),
    ] {
        let file = download(&anna, &format!("{name}/{id}"), &[]).await;
        assert_eq!(file.status, status, "{id}");
    }
    let id = path.split('/').nth(1).unwrap();
    let elsewhere = download(&anna, &format!("elsewhere.example/{id}"), &[]).await;
    elsewhere.expect_error(404, "M_NOT_FOUND");
    download(&anna, &format!("a%2fb/{id}"), &[])
        .await
        .expect_error(400, "M_INVALID_PARAM");
    download(&server.client(), &path, &[])
        .await
        .expect_error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn the_old_paths_give_only_what_was_uploaded_while_they_were_open() {
    let server = server("").await;
    let anna = server.register("anna").await;
    let closed = upload(&anna, "text/plain", b"closed").await;
    let old = |path: &str| format!("/_matrix/media/v3/download/{path}");
    get(&anna, &old(&closed), &[])
        .await
        .expect_error(404, "M_NOT_FOUND");
    let open = super::server("[media]\nunauthenticated_downloads = true\n").await;
    let bert = open.register("bert").await;
    let path = upload(&bert, "text/plain", b"open").await;
    let file = get(&open.client(), &old(&path), &[]).await;
    assert_eq!((file.status, file.bytes.as_slice()), (200, &b"open"[..]));
    let r0 = get(
        &open.client(),
        &format!("/_matrix/media/r0/download/{path}/a.txt"),
        &[],
    )
    .await;
    assert_eq!(
        r0.header("content-disposition"),
        "inline; filename=\"a.txt\""
    );
}

#[tokio::test]
async fn a_text_comes_as_it_was_uploaded_whole_and_in_parts() {
    let server = server("").await;
    let anna = server.register("anna").await;
    let text = b"again and ".repeat(2_000);
    let path = upload(&anna, "text/plain", &text).await;
    let zip = ("accept-encoding", "gzip");
    let whole = download(&anna, &path, &[zip]).await;
    assert_eq!(whole.header("content-encoding"), "");
    assert_eq!(whole.header("content-length"), "20000");
    assert!(whole.bytes == text);
    let part = download(&anna, &path, &[zip, ("range", "bytes=10000-")]).await;
    assert_eq!(part.header("content-encoding"), "");
    assert_eq!(part.status, 206);
    assert!(part.bytes == text[10_000..]);
}

#[tokio::test]
async fn bytes_may_come_after_their_id_and_are_waited_for_on_every_process() {
    let server = server("").await;
    let other = server.sibling().await;
    let (anna, bert) = (server.register("anna").await, server.register("bert").await);
    let created = anna
        .post("/_matrix/media/v1/create", &json!({}))
        .await
        .expect_ok();
    let path = path_of(&created);
    assert!(created["unused_expires_at"].as_u64().unwrap() > 0);
    let now = download(&bert, &format!("{path}?timeout_ms=0"), &[]).await;
    now.expect_error(504, "M_NOT_YET_UPLOADED");
    let put = format!("/_matrix/media/v3/upload/{path}");
    let send = async |client: &Client, bytes: &[u8]| {
        client
            .raw(
                Method::PUT,
                &put,
                &[("content-type", "text/plain")],
                bytes.to_vec(),
            )
            .await
    };
    send(&bert, b"mine").await.expect_error(403, "M_FORBIDDEN");
    let elsewhere = bert.at(&other.url);
    let waiting = download(&elsewhere, &path, &[]);
    let (waited, sent) = tokio::join!(waiting, send(&anna, b"here it is"));
    sent.expect_ok();
    assert_eq!(
        (waited.status, waited.bytes.as_slice()),
        (200, &b"here it is"[..])
    );
    send(&anna, b"again")
        .await
        .expect_error(409, "M_CANNOT_OVERWRITE_MEDIA");
    assert_eq!(download(&bert, &path, &[]).await.bytes, b"here it is");
    let unknown = "/_matrix/media/v3/upload/localhost/unknown";
    anna.raw(Method::PUT, unknown, &[], b"a".to_vec())
        .await
        .expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn ids_without_bytes_are_few_and_do_not_last() {
    let clock = Arc::new(ManualClock::new(1_800_000_000_000));
    let options = TestOptions {
        config: "[media]\nmax_pending_uploads = 2\npending_upload_lifetime = \"1h\"\n".to_owned(),
        clock: Some(Arc::clone(&clock)),
        ..TestOptions::default()
    };
    let server = TestServer::start(options).await;
    let anna = server.register("anna").await;
    let create = async || anna.post("/_matrix/media/v1/create", &json!({})).await;
    let first = path_of(&create().await.expect_ok());
    create().await.expect_ok();
    create().await.expect_error(429, "M_LIMIT_EXCEEDED");
    clock.advance(Duration::from_mins(61));
    let put = format!("/_matrix/media/v3/upload/{first}");
    anna.raw(Method::PUT, &put, &[], b"late".to_vec())
        .await
        .expect_error(404, "M_NOT_FOUND");
    download(&anna, &first, &[])
        .await
        .expect_error(404, "M_NOT_FOUND");
    server.app.media().clean_up().await.unwrap();
    create().await.expect_ok();
}

#[tokio::test]
async fn r_03_files_are_downloaded_a_while_and_not_all_of_them() {
    let limits = "[limits]\nenabled = true\nmedia_download = { per_second = 0.0001, burst = 2 }\n";
    let server = server(limits).await;
    let anna = server.register("anna").await;
    let path = upload(&anna, "text/plain", b"a").await;
    for _ in 0..2 {
        assert_eq!(download(&anna, &path, &[]).await.status, 200);
    }
    download(&anna, &path, &[])
        .await
        .expect_error(429, "M_LIMIT_EXCEEDED");
    let bert = server.register("bert").await;
    assert_eq!(download(&bert, &path, &[]).await.status, 200);
}
