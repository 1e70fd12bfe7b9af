//! What people upload and download.

mod admin;
pub(crate) mod images;
mod previews;
mod s3;
mod uploads;

use reqwest::{Method, Response, header::HeaderMap};
use serde_json::Value;

use crate::harness::{
    client::{Answer, Client, encode},
    server::{TestOptions, TestServer},
};

/// A server whose settings of media are these.
async fn server(settings: &str) -> TestServer {
    TestServer::start(TestOptions::with(settings)).await
}

/// Uploads bytes, and gives the answer.
async fn try_upload(client: &Client, query: &str, kind: &str, bytes: &[u8]) -> Answer {
    let path = format!("/_matrix/media/v3/upload{query}");
    client
        .raw(
            Method::POST,
            &path,
            &[("content-type", kind)],
            bytes.to_vec(),
        )
        .await
}

/// Uploads bytes, and gives the server and the id of the mxc: URI as a path has them.
async fn upload(client: &Client, kind: &str, bytes: &[u8]) -> String {
    let answer = try_upload(client, "", kind, bytes).await.expect_ok();
    path_of(&answer)
}

/// The part of a path that names what was uploaded.
fn path_of(answer: &Value) -> String {
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

/// Downloads something.
async fn download(client: &Client, path: &str, headers: &[(&str, &str)]) -> Download {
    let path = format!("/_matrix/client/v1/media/download/{path}");
    get(client, &path, headers).await
}

async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Download {
    let response: Response = client.respond(Method::GET, path, headers, Vec::new()).await;
    Download {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        bytes: response.bytes().await.unwrap().to_vec(),
    }
}

/// What was downloaded.
#[derive(Debug)]
struct Download {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Download {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn errcode(&self) -> String {
        let json: Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        json["errcode"].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn expect_error(&self, status: u16, errcode: &str) {
        assert_eq!(
            (self.status, self.errcode().as_str()),
            (status, errcode),
            "{self:?}"
        );
    }
}

/// How many files there are in the media folder of a server.
fn objects(server: &TestServer) -> usize {
    let folders = std::fs::read_dir(server.folder().join("media")).unwrap();
    let files = folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count());
    files.sum()
}
