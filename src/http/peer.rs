//! Where a request comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The header in which proxies note whom they speak for, the nearest last.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client, as an extension of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Finds the client: the peer of the connection, or whom trusted proxies name.
    ///
    /// A header that anybody can send is believed only as far as a chain of trusted proxies
    /// reaches, from the connection backwards.
    pub(super) fn find(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
                peer.0.ip().to_canonical()
            });
        Self(behind_proxies(peer, headers, trusted))
    }

    /// The address that [`Self::find`] left with a request.
    pub(super) fn of(extensions: &Extensions) -> IpAddr {
        extensions
            .get::<Self>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.0)
    }
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut client = peer;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for named in value.to_str().unwrap_or_default().rsplit(',') {
            let Some(named) = address(named.trim()) else {
                return client;
            };
            client = named;
            if !is_trusted(client) {
                return client;
            }
        }
    }
    client
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse().ok().or_else(with_port)?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::{FORWARDED_FOR, IpAddr, behind_proxies};

    #[test]
    fn only_trusted_proxies_say_whom_they_speak_for() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let cases = [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
            ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
            ("fd00::1", "::ffff:198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "nonsense", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"),
        ];
        for (peer, header, client) in cases {
            let headers = [(FORWARDED_FOR.parse().unwrap(), header.parse().unwrap())];
            let found = behind_proxies(
                peer.parse().unwrap(),
                &headers.into_iter().collect(),
                &trusted,
            );
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {header}");
        }
    }
}
