//! Previews of web pages, fetched from a server of the test.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::*;

/// A web site with one page. Gives its address and how often it was asked.
fn site() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let language = request.to_lowercase().contains("accept-language: de");
            let (status, kind, body): (&str, &str, Vec<u8>) = match path {
                "/page" => {
                    let title = if language { "Seite" } else { "Page" };
                    let html = format!(
                        "<meta property='og:title' content='{title}'>\
                         <meta property='og:image' content='/picture.png'><p>Some text</p>"
                    );
                    ("200 OK", "text/html; charset=utf-8", html.into())
                }
                "/latin" => (
                    "200 OK",
                    "text/html; charset=iso-8859-1",
                    b"<title>\xe9t\xe9</title>".to_vec(),
                ),
                "/picture.png" => ("200 OK", "image/png", images::png(40, 20)),
                "/large" => ("200 OK", "text/html", vec![b'a'; 3_000_000]),
                "/away" => (
                    "302 Found\r\nLocation: http://10.0.0.1/",
                    "text/html",
                    Vec::new(),
                ),
                _ => ("404 Not Found", "text/html", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body);
        }
    });
    (address, asked)
}

const ALLOW: &str = "[outbound]\nallow_networks = [\"127.0.0.0/8\"]\n";

async fn preview(client: &Client, url: &str, headers: &[(&str, &str)]) -> Download {
    let path = format!("/_matrix/client/v1/media/preview_url?url={}", encode(url));
    get(client, &path, headers).await
}

#[tokio::test]
async fn a_page_is_shown_with_its_title_its_text_and_its_picture() {
    let server = server(ALLOW).await;
    let anna = server.register("anna").await;
    let (site, asked) = site();
    let page = preview(&anna, &format!("{site}/page#part"), &[]).await;
    assert_eq!(page.status, 200);
    let json: Value = serde_json::from_slice(&page.bytes).unwrap();
    assert_eq!(json["og:title"], "Page");
    assert_eq!(json["og:description"], "Some text");
    assert_eq!(
        (&json["og:image:width"], &json["og:image:height"]),
        (&40.into(), &20.into())
    );
    let picture = images::png(40, 20);
    assert_eq!(json["matrix:image:size"], picture.len());
    let path = json["og:image"]
        .as_str()
        .unwrap()
        .strip_prefix("mxc://")
        .unwrap()
        .to_owned();
    assert_eq!(download(&anna, &path, &[]).await.bytes, picture);
    // The same page is not fetched again, but in another language.
    let before = asked.load(Ordering::SeqCst);
    let again = preview(&anna, &format!("{site}/page"), &[]).await;
    assert_eq!(again.bytes, page.bytes);
    assert_eq!(asked.load(Ordering::SeqCst), before);
    let german = preview(&anna, &format!("{site}/page"), &[("accept-language", "de")]).await;
    let json: Value = serde_json::from_slice(&german.bytes).unwrap();
    assert_eq!(json["og:title"], "Seite");
    let latin = preview(&anna, &format!("{site}/latin"), &[]).await;
    let json: Value = serde_json::from_slice(&latin.bytes).unwrap();
    assert_eq!(json["og:title"], "été");
}

#[tokio::test]
async fn pages_that_are_private_too_large_or_none_are_refused() {
    let server = server(ALLOW).await;
    let anna = server.register("anna").await;
    let (site, _) = site();
    for (url, status) in [
        (format!("{site}/away"), 403),
        (format!("{site}/large"), 404),
        (format!("{site}/nothing"), 404),
        ("http://10.0.0.1/".to_owned(), 403),
        ("http://[::ffff:10.0.0.1]/".to_owned(), 403),
        ("file:///etc/passwd".to_owned(), 400),
        ("http://user:secret@example.org/".to_owned(), 400),
        ("nothing".to_owned(), 400),
    ] {
        assert_eq!(preview(&anna, &url, &[]).await.status, status, "{url}");
    }
    let missing = get(&anna, "/_matrix/client/v1/media/preview_url", &[]).await;
    missing.expect_error(400, "M_MISSING_PARAM");
    let nobody = server.client();
    preview(&nobody, &site, &[])
        .await
        .expect_error(401, "M_MISSING_TOKEN");
    let off = super::server("[previews]\nenabled = false\n").await;
    let bert = off.register("bert").await;
    preview(&bert, &site, &[])
        .await
        .expect_error(404, "M_UNRECOGNIZED");
    // Without a network that is allowed, this machine is private too.
    let closed = super::server("").await;
    let carl = closed.register("carl").await;
    preview(&carl, &site, &[])
        .await
        .expect_error(403, "M_FORBIDDEN");
}
