//! Which names a request may call us by.
//!
//! A page of another site can make a browser here fetch from any name that resolves to loopback (DNS rebinding) and
//! then read the answer, as for the browser it is the same site. What such a page cannot do is send another `Host` than
//! the name it was loaded from, so names that are not ours are refused. An address literal has no DNS to rebind.

use std::net::IpAddr;

/// The host of a `Host` field or authority, without port and brackets; `None` when it is malformed.
pub fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port_fine = port.is_none_or(|p| p.is_empty() || p.parse::<u16>().is_ok() && !p.starts_with('+'));
    let host_fine =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    (port_fine && host_fine).then_some(host)
}

/// Whether a request that calls us `host` is answered on a loopback address.
pub fn is_ours(host: &str, configured: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    // `.localhost` never leaves the machine (RFC 6761 §6.3).
    host.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || host.len() > 10
            && host.is_char_boundary(host.len() - 10)
            && host[host.len() - 10..].eq_ignore_ascii_case(".localhost")
        || configured.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// The host as it stands in a URL: an IPv6 address in brackets.
pub fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let configured = ["tandem.example".to_owned()];
        for (authority, want) in [
            ("localhost:8081", Some(true)),
            ("LOCALHOST", Some(true)),
            ("a.localhost:8081", Some(true)),
            ("127.0.0.1:8081", Some(true)),
            ("192.0.2.7", Some(true)),
            ("[::1]:8081", Some(true)),
            ("[::1]", Some(true)),
            ("tandem.example:8081", Some(true)),
            ("Tandem.Example", Some(true)),
            ("localhost.:8081", Some(true)),
            ("evil.example:8081", Some(false)),
            ("localhost.evil.example", Some(false)),
            ("127.0.0.1.evil.example", Some(false)),
            ("evillocalhost", Some(false)),
            ("", None),
            (":8081", None),
            ("[::1", None),
            ("[evil.example]", None),
            ("[::1]x", None),
            ("localhost:99999", None),
            ("localhost:8081:1", None),
            ("a b", None),
            ("a\"b", None),
            ("é.example", None),
        ] {
            assert_eq!(host_of(authority).map(|host| is_ours(host, &configured)), want, "{authority}");
        }
        assert_eq!(in_url(host_of("[::1]:8081").unwrap()), "[::1]");
    }
}
