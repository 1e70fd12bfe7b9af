//! What happens to uploads when the store of S3 is away, or says nothing.

use std::{net::TcpListener, time::Duration};

use tokio::time::{Instant, timeout};

use super::*;
use crate::harness::process::free_port;

fn settings(port: u16) -> String {
    format!(
        "[media.s3]\nbucket = \"media\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
         access_key_id = \"id\"\nsecret_access_key = \"key\"\ntimeout = \"1s\"\n"
    )
}

#[tokio::test]
async fn an_upload_fails_in_time_where_the_store_is_away_or_silent() {
    // It takes connections, and does nothing with them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for port in [free_port(), silent_port] {
        let server = server(&settings(port)).await;
        let anna = server.register("anna").await;
        let small = try_upload(&anna, "", "text/plain", b"text");
        let small = timeout(Duration::from_secs(20), small).await.unwrap();
        small.expect_error(500, "M_UNKNOWN");
        // In parts.
        let since = Instant::now();
        let large = anna.chunked("/_matrix/media/v3/upload", vec![vec![7; 1 << 20]; 12]);
        let large = timeout(Duration::from_secs(20), large).await.unwrap();
        large.expect_error(500, "M_UNKNOWN");
        assert!(since.elapsed() < Duration::from_secs(15));
        // Nothing is left of them.
        let list = format!("/_synapse/admin/v1/users/{}/media", encode(&anna.user_id));
        let admin = server.register_admin("admin").await;
        assert_eq!(admin.get(&list).await.expect_ok()["total"], 0);
    }
}
