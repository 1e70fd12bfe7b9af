//! The client against servers of this machine, and the table of addresses.

use std::time::Duration;

use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use url::Url;

use super::{Allowed, Bounds, Outbound, OutboundError, Settings};

const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(5),
    max_bytes: 1_000,
    max_redirects: 3,
};

#[test]
fn only_public_addresses_are_reached() {
    let allowed = Allowed::default();
    let cases = [
        ("8.8.8.8", true),
        ("0.0.0.0", false),
        ("10.1.2.3", false),
        ("100.64.0.1", false),
        ("100.128.0.1", true),
        ("127.0.0.1", false),
        ("169.254.169.254", false),
        ("172.15.0.1", true),
        ("172.16.0.1", false),
        ("192.0.0.8", false),
        ("192.0.2.1", false),
        ("192.168.1.1", false),
        ("198.18.0.1", false),
        ("198.51.100.1", false),
        ("203.0.113.1", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("2001:4860:4860::8888", true),
        ("::", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("::ffff:8.8.8.8", true),
        ("64:ff9b::a00:1", false),
        ("64:ff9b::808:808", true),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("2002:a00:1::", false),
        ("3fff::1", false),
        ("fc00::1", false),
        ("fe80::1", false),
        ("ff02::1", false),
    ];
    for (address, expected) in cases {
        assert_eq!(
            allowed.allows(address.parse().unwrap()),
            expected,
            "{address}"
        );
    }
}

#[test]
fn a_listed_network_is_reached() {
    let allowed = Allowed::new(vec!["10.1.0.0/16".parse().unwrap()]);
    assert!(allowed.allows("10.1.2.3".parse().unwrap()));
    assert!(allowed.allows("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!allowed.allows("10.2.2.3".parse().unwrap()));
}

/// A server that answers each connection with the next of these texts; gives its port.
#[expect(clippy::disallowed_methods, reason = "a server of a test ends with it")]
async fn serve(answers: Vec<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn answer(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn redirect(to: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

fn client(networks: &[&str]) -> Outbound {
    let allow_networks = networks.iter().map(|network| network.parse().unwrap());
    Outbound::new(&Settings {
        allow_networks: allow_networks.collect(),
        ..Settings::default()
    })
    .unwrap()
}

async fn get(client: &Outbound, url: &str) -> Result<String, OutboundError> {
    let url = Url::parse(url).unwrap();
    let answer = client.get(&url, HeaderMap::new(), BOUNDS).await?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_private_address_is_refused_by_number_and_by_name() {
    let port = serve(vec![answer("secret"), answer("secret")]).await;
    let client = client(&[]);
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
    ] {
        let refused = get(&client, &format!("http://{host}:{port}/")).await;
        assert!(
            matches!(refused, Err(OutboundError::Refused)),
            "{host}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn an_allowed_address_answers() {
    let port = serve(vec![answer("hello"), answer("hello")]).await;
    let client = client(&["127.0.0.0/8", "::1/128"]);
    let body = get(&client, &format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(body.unwrap(), "hello");
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused() {
    let port = serve(vec![redirect("http://10.0.0.1/")]).await;
    let client = client(&["127.0.0.1/32"]);
    let refused = get(&client, &format!("http://127.0.0.1:{port}/")).await;
    assert!(
        matches!(refused, Err(OutboundError::Refused)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn redirects_are_followed_so_far() {
    let port = serve(vec![redirect("/next"), answer("there")]).await;
    let client = client(&["127.0.0.1/32"]);
    let body = get(&client, &format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(body.unwrap(), "there");

    let port = serve(vec![redirect("/again"); 8]).await;
    let lost = get(&client, &format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(lost, Err(OutboundError::Redirects)), "{lost:?}");
}

#[tokio::test]
async fn a_long_body_is_given_up() {
    let long = "x".repeat(1_001);
    let unannounced = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{long}");
    let port = serve(vec![answer(&long), unannounced]).await;
    let client = client(&["127.0.0.1/32"]);
    for _ in 0..2 {
        let refused = get(&client, &format!("http://127.0.0.1:{port}/")).await;
        assert!(
            matches!(refused, Err(OutboundError::TooLarge)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn other_schemes_are_refused() {
    let client = client(&["127.0.0.1/32"]);
    for url in ["file:///etc/passwd", "ftp://127.0.0.1/"] {
        let refused = get(&client, url).await;
        assert!(matches!(refused, Err(OutboundError::Scheme)), "{url}");
    }
}
