//! The addresses that are listened at.
//!
//! They are reserved before anything else is done, and opened when the server can answer: until
//! then clients are refused, as they are where nothing runs.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{config::Listener, http::Server};

/// How many connections the system keeps waiting at each address.
const BACKLOG: u32 = 4096;

/// Sockets that have their address and do not listen yet.
pub(super) struct Listeners(Vec<(TcpSocket, SocketAddr)>);

impl Listeners {
    /// Takes the addresses.
    pub(super) fn reserve(listeners: &[Listener]) -> anyhow::Result<Self> {
        let sockets = listeners.iter().map(|listener| {
            let address = listener.address;
            reserve(address).with_context(|| format!("cannot listen at {address}"))
        });
        Ok(Self(sockets.collect::<anyhow::Result<_>>()?))
    }

    /// The addresses, with the ports that the system chose.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_, address)| *address).collect()
    }

    /// Gives an address whose port is 0 the port of the first listener.
    pub(super) fn complete(&self, url: &mut Url) {
        if url.port() == Some(0)
            && let Some((_, address)) = self.0.first()
        {
            // Only a URL without a host refuses, and is no URL of a server.
            let _ = url.set_port(Some(address.port()));
        }
    }

    /// Opens the addresses, and serves a router at each until `soft`.
    pub(super) fn serve(
        self,
        server: &Server,
        routers: Vec<Router>,
        soft: &CancellationToken,
    ) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
        let mut serving = Vec::new();
        for ((socket, address), router) in self.0.into_iter().zip(routers) {
            let listener: TcpListener = socket
                .listen(BACKLOG)
                .with_context(|| format!("cannot listen at {address}"))?;
            tracing::info!(%address, "listening");
            serving.push(server.clone().serve(listener, router, soft.clone()));
        }
        Ok(async move {
            join_all(serving).await;
        })
    }
}

fn reserve(address: SocketAddr) -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A server that was just killed leaves connections behind, which would hold the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
