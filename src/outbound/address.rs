//! Which addresses are everybody's, and which belong to a network of somebody's own.
//!
//! The IANA registries of special-purpose addresses (RFC 6890 and what came after) decide.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The addresses that may be reached.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    networks: Vec<IpNet>,
}

impl Allowed {
    /// All public addresses, and those of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self { networks }
    }

    /// Whether an address may be reached.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || self
                .networks
                .iter()
                .any(|network| network.contains(&address))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        // This network, private, loopback, multicast, reserved, broadcast.
        0 | 10 | 127 | 224.. => true,
        // Shared by providers (RFC 6598).
        100 => (64..128).contains(&b),
        // Link-local; the metadata services of clouds are here.
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => {
            b == 168
                // Protocol assignments, documentation, the old relays to IPv6.
                || (b == 0 && (c == 0 || c == 2))
                || (b == 88 && c == 99)
        }
        // Measurements between networks, and documentation.
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // An IPv4 address behind a translator (RFC 6052) is what it is there.
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else {
        return is_public_segment(address);
    };
    let [[first, second], [third, fourth]] = [high, low].map(u16::to_be_bytes);
    is_public_v4(Ipv4Addr::new(first, second, third, fourth))
}

fn is_public_segment(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Public addresses are 2000::/3; in it are protocol assignments with Teredo (2001::/23),
    // documentation (2001:db8::/32 and 3fff::/20) and 6to4, which hides an IPv4 address.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b < 0x200)
        && !(a == 0x2001 && b == 0xdb8)
        && a != 0x2002
        && !(a == 0x3fff && b < 0x1000)
}
