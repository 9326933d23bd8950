//! Which addresses of the network a fetch may speak to.
//!
//! A repository that a person names may be anywhere that person can name; one that a crate names
//! must be on the public network, or a crate could have this machine ask its neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who named the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The user: the loopback and any other address that is written as such, and private networks
    /// behind a name.
    Named,
    /// A crate: public addresses only.
    Public,
}

impl Reach {
    /// Whether a connection to `address` is allowed for an address on `host`.
    pub(crate) fn allows(self, host: &str, address: IpAddr) -> bool {
        let address = plain(address);
        match self {
            Self::Public => is_public(address),
            // The name itself says which machine it is.
            Self::Named if host == "localhost" => address.is_loopback(),
            Self::Named if host.parse::<IpAddr>().is_ok() => true,
            // A name of a company's own; never the loopback, nor what clouds keep secrets at.
            Self::Named => is_public(address) || is_private(address),
        }
    }
}

/// The address that one of version 6 only wraps.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else {
        return address;
    };
    let [a, b, c, d, e, f, high, low] = six.segments();
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        // Mapped, translated (RFC 6052), and compatible.
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => four(high, low),
        [0, 0, 0, 0, 0, 0] if high != 0 => four(high, low),
        // 6to4.
        [0x2002, ..] => four(b, c),
        _ => address,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_private() || is_shared(four),
        IpAddr::V6(six) => six.is_unique_local(),
    }
}

/// The range that providers share out (RFC 6598), which private networks use too.
fn is_shared(four: Ipv4Addr) -> bool {
    let [a, b, ..] = four.octets();
    a == 100 && (64..128).contains(&b)
}

/// Whether an address is somebody's on the public network, by the registries of special ranges
/// (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, _] = four.octets();
            let reserved = a == 0
                || a >= 240
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19));
            !(reserved
                || four.is_private()
                || is_shared(four)
                || four.is_loopback()
                || four.is_link_local()
                || four.is_multicast()
                || four.is_documentation())
        }
        IpAddr::V6(six) => is_public_six(six),
    }
}

fn is_public_six(six: Ipv6Addr) -> bool {
    let [a, b, ..] = six.segments();
    let is_global = (a & 0xe000) == 0x2000;
    let is_special = a == 0x2001 && (b < 0x200 || b == 0xdb8);
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_reach_public_addresses_only() {
        let public = [
            "140.82.121.4",
            "1.1.1.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ];
        let others = [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
        ];
        for text in public {
            let address = text.parse().expect("an address");
            assert!(Reach::Public.allows("h.invalid", address), "{text}");
            assert!(Reach::Named.allows("h.invalid", address), "{text}");
        }
        for text in others {
            let address = text.parse().expect("an address");
            assert!(!Reach::Public.allows("h.invalid", address), "{text}");
            assert!(!Reach::Public.allows(text, address), "{text}");
        }
    }

    #[test]
    fn people_reach_what_they_name() {
        let allows = |host: &str, address: &str| {
            let address = address.parse().expect("an address");
            Reach::Named.allows(host, address)
        };
        assert!(allows("127.0.0.1", "127.0.0.1"));
        assert!(allows("::1", "::1"));
        assert!(allows("localhost", "::1"));
        assert!(!allows("localhost", "10.0.0.1"));
        assert!(allows("git.corp.invalid", "10.0.0.1"));
        assert!(allows("git.corp.invalid", "fd00::1"));
        assert!(!allows("git.corp.invalid", "127.0.0.1"));
        assert!(!allows("git.corp.invalid", "::ffff:127.0.0.1"));
        assert!(!allows("git.corp.invalid", "169.254.169.254"));
    }
}
