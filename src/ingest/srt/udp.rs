//! What the kernel knows of our UDP ports: buffers too small, and datagrams it dropped because of that.

use std::collections::BTreeSet;
use std::fs;

use crate::srt::socket::UDP_BUFFER_BYTES;

/// Datagrams the kernel dropped at these local ports since their sockets were opened.
pub(super) fn drops(ports: &BTreeSet<u16>) -> u64 {
    ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|table| drops_in(&table, ports))
        .sum()
}

/// `proc_pid_net(5)`: the second column is the local address as hex `address:port`, the last one counts drops.
fn drops_in(table: &str, ports: &BTreeSet<u16>) -> u64 {
    let row = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let (_, port) = columns.nth(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        ports.contains(&port).then(|| columns.last()?.parse::<u64>().ok()).flatten()
    };
    table.lines().skip(1).filter_map(row).sum()
}

/// What to tell the operator when the kernel will not give us the buffer we ask for.
pub(super) fn buffer_warning() -> Option<String> {
    let given: i64 = fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()?;
    (given < i64::from(UDP_BUFFER_BYTES)).then(|| {
        format!(
            "the kernel limits UDP receive buffers to {given} bytes, so bursts may be lost: \
             sysctl -w net.core.rmem_max={UDP_BUFFER_BYTES}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_summed_by_local_port() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  123: 0100007F:25EE 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41 2 0000000000000000 17
  124: 00000000:25EF 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 42 2 0000000000000000 5
  125: 0100007F:1F90 0100007F:25EE 07 00000000:00000000 00:00000000 00000000     0        0 43 2 0000000000000000 900
nonsense
";
        assert_eq!(drops_in(table, &BTreeSet::from([9710])), 17);
        assert_eq!(drops_in(table, &BTreeSet::from([9710, 9711])), 22);
        assert_eq!(drops_in("", &BTreeSet::from([9710])), 0);
    }

    #[test]
    fn this_kernel_has_such_a_table() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        let to = socket.local_addr().expect("bound");
        // More than any default buffer holds, and nobody reads.
        for _ in 0..4000 {
            socket.send_to(&[0; 1400], to).expect("sent");
        }
        assert!(drops(&BTreeSet::from([port])) > 0);
    }
}
