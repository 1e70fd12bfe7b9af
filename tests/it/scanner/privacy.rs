//! What stays of a file that was scanned: nothing that opens it, and no name in the log.

use std::{fs, path::Path};

use sqlx::{PgConnection, Row as _};

use super::{Clamd, encrypted_named, post, scan, sealed};
use crate::harness::{
    process::{Process, until},
    server::TestOptions,
};

/// All that the database holds, as text.
async fn contents(conn: &mut PgConnection) -> String {
    let tables = "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name \
                  FROM information_schema.tables \
                  WHERE table_type = 'BASE TABLE' \
                  AND table_schema NOT IN ('pg_catalog', 'information_schema')";
    let tables = sqlx::query(tables).fetch_all(&mut *conn).await.unwrap();
    let mut text = String::new();
    for table in tables {
        let name: String = table.get("name");
        let rows = format!("SELECT t::text AS row FROM {name} t");
        let rows = sqlx::query(sqlx::AssertSqlSafe(rows))
            .fetch_all(&mut *conn)
            .await
            .unwrap();
        for row in rows {
            text.push_str(row.get("row"));
            text.push('\n');
        }
    }
    text
}

/// Whether any file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = fs::read_dir(folder).unwrap();
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn r_04_nothing_stays_of_a_scanned_file_that_opens_it_and_the_log_does_not_name_it() {
    const PLAIN: &[u8] = b"what only two people shall read, and nobody else";
    let clamd = Clamd::start();
    let options = TestOptions::with(&format!(
        "[logging]\nlevel = \"trace\"\n\n[scanner]\nclamd = \"unix:{}\"\n",
        clamd.path()
    ));
    let process = Process::start(&options).await;
    let anna = process.register("anna").await;
    let name = "plan-des-locaux-secret.pdf";
    let (path, body) = encrypted_named(&anna, PLAIN, name).await;
    let file = &body["file"];
    let opens = [
        file["key"]["k"].as_str().unwrap().to_owned(),
        file["iv"].as_str().unwrap().to_owned(),
        // The same key as the database writes bytes.
        "07".repeat(32),
    ];
    let mut open = body.clone();
    open["file"]["name"] = name.into();
    for body in [&open, &sealed(&anna, &open).await] {
        post(&anna, "scan_encrypted", body).await.expect_ok();
        let file = post(&anna, "download_encrypted", body).await;
        assert_eq!(file.status, 200);
    }
    // One that fails is written about, without saying more.
    let mut broken = open.clone();
    broken["file"]["hashes"]["sha256"] = "AAAA".into();
    let refused = post(&anna, "scan_encrypted", &broken).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    scan(&anna, &path).await;
    assert!(clamd.saw(PLAIN), "the engine saw what is inside");

    // What was written about the requests is there once the last of them is.
    let written = async || process.output().contains("unstable/scan/");
    until("written", String::new, written).await;
    let log = process.output();
    assert!(log.contains("scan_encrypted"), "{log}");
    let mut conn = process.database().connect().await;
    let kept = contents(&mut conn).await;
    assert!(kept.contains("@anna:"), "the database was read");
    for secret in &opens {
        assert!(!log.contains(secret), "the log holds {secret}");
        assert!(!kept.contains(secret), "the database holds {secret}");
    }
    assert!(!log.contains(name), "the log names the file");
    let plain = std::str::from_utf8(PLAIN).unwrap();
    assert!(!log.contains(plain) && !kept.contains(plain));
    assert!(!holds(&process.data_folder(), PLAIN), "a copy stays");
}
