//! Which addresses a message may go to: what an operator writes into a URL, or what its name resolves to, must not reach what only this
//! machine can reach, unless the receiver allows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::alerts::receiver::Network;

/// Why an address is not spoken to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("{0} is link-local, a cloud's metadata service or no host at all; no receiver may be there")]
    Never(IpAddr),
    #[error("{0} is within this machine or a private network; add allow = [\"{0}\"] to the receiver if it is meant")]
    NotAllowed(IpAddr),
    #[error("the name {name} is not resolved: {reason}")]
    Unresolved { name: String, reason: String },
}

/// Addresses of metadata services that are in networks which may be allowed otherwise.
const METADATA: [IpAddr; 6] = [
    // Azure's is a public address; the last ones of each family are of AWS (time) and Google.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Resolves a host and checks **every** address it has; the caller connects to these and to no other.
///
/// # Errors
/// When it does not resolve, or one of its addresses is not allowed.
pub async fn resolve(host: &str, port: u16, allow: &[Network]) -> Result<Vec<SocketAddr>, PolicyError> {
    let unresolved = |reason: String| PolicyError::Unresolved { name: host.to_owned(), reason };
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| unresolved(error.to_string()))?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err(unresolved("it has no address".to_owned()));
    }
    for address in &addresses {
        check(address.ip(), allow)?;
    }
    Ok(addresses)
}

/// Checks one address.
///
/// # Errors
/// When it is not allowed.
pub fn check(address: IpAddr, allow: &[Network]) -> Result<(), PolicyError> {
    let real = unwrapped(address);
    if METADATA.contains(&real) || is_never(real) {
        return Err(PolicyError::Never(address));
    }
    if is_global(real) || allow.iter().any(|network| network.contains(real) || network.contains(address)) {
        return Ok(());
    }
    Err(PolicyError::NotAllowed(address))
}

/// The IPv4 address within an IPv6 address that is translated or tunnelled to it.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let segments = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match segments {
        // ::ffff:a.b.c.d, ::ffff:0:a.b.c.d (translated), 64:ff9b::a.b.c.d and 64:ff9b:1::/48 (NAT64)
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        // 6to4
        | [0x2002, high, low, ..] => v4(high, low),
        // ::a.b.c.d, of old
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        // Teredo: the client's address, inverted.
        [0x2001, 0, _, _, _, _, high, low] => v4(!high, !low),
        _ => address,
    }
}

/// What no host of a receiver has.
fn is_never(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0 || v4.octets()[0] >= 240
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6.is_unspecified() || v6.is_multicast() || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0
        }
    }
}

/// Whether an address is part of the internet.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special = (a, b, c) == (192, 0, 0) || (a == 198 && (b == 18 || b == 19));
            !(v4.is_loopback() || v4.is_private() || shared || special || v4.is_documentation())
        }
        // 2000::/3 is all that is assigned, without documentation.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0xdb8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(address: &str, allow: &[&str]) -> Result<(), PolicyError> {
        let allow: Vec<Network> = allow.iter().map(|network| network.parse().unwrap()).collect();
        check(address.parse().unwrap(), &allow)
    }

    #[test]
    fn the_internet_is_allowed_and_what_is_near_is_not() {
        for address in
            ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "2002:808:808::1", "::ffff:8.8.8.8"]
        {
            assert_eq!(checked(address, &[]), Ok(()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::",
            "2002:0a00:0001::1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "2001:db8::1",
            "192.0.2.1",
            "4000::1",
        ] {
            assert!(
                matches!(checked(address, &[]), Err(PolicyError::NotAllowed(_))),
                "{address}: {:?}",
                checked(address, &[])
            );
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_and_no_more() {
        assert_eq!(checked("127.0.0.1", &["127.0.0.1"]), Ok(()));
        assert_eq!(checked("::ffff:127.0.0.1", &["127.0.0.0/8"]), Ok(()));
        assert!(checked("127.0.0.2", &["127.0.0.1"]).is_err());
        assert!(checked("10.0.0.1", &["127.0.0.0/8", "192.168.0.0/16"]).is_err());
    }

    #[test]
    fn metadata_and_link_local_are_never_allowed() {
        let everything = ["0.0.0.0/0", "::/0"];
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "fec0::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "240.0.0.1",
            "224.0.0.1",
            "ff02::1",
        ] {
            assert!(matches!(checked(address, &everything), Err(PolicyError::Never(_))), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_is_checked_by_what_it_resolves_to() {
        let refused = resolve("localhost", 80, &[]).await.unwrap_err();
        assert!(matches!(refused, PolicyError::NotAllowed(_)), "{refused}");
        assert!(refused.to_string().contains("add allow = [\""), "{refused}");
        let found = resolve("localhost", 80, &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
        assert!(matches!(resolve("169.254.169.254", 80, &[]).await, Err(PolicyError::Never(_))));
    }
}
