//! Whether sources that come as bare datagrams, RTP and UDP, make sense: addresses, groups, interfaces, ports of FEC.

use std::net::{IpAddr, SocketAddr};

use super::checks::{Checks, Transport};
use super::document::{Mark, Span};
use super::file::{RtpSourceFile, UdpSourceFile};
use super::units::excerpt;
use super::{Cidr, DatagramInput, FecPorts, Interface, RtpInput};

/// Linux: IFNAMSIZ, less the final zero.
const INTERFACE_BYTES_MAX: usize = 15;
/// ST 2022-1 §7: columns are sent to the media's port and 2, rows to that and 4.
const COLUMNS_BEHIND: u16 = 2;
const ROWS_BEHIND: u16 = 4;

/// An RTP source.
pub(super) fn rtp(checks: &mut Checks<'_, '_>, span: &Span, file: &RtpSourceFile) -> Option<RtpInput> {
    let keys = Keys { address: &file.address, interface: &file.interface, from: &file.from, allow: &file.allow };
    let datagrams = datagrams(checks, span, &keys);
    let reorder = checks.time(file.reorder.as_ref(), "50ms", "0s", "2s");
    let fec = fec(checks, file, datagrams.as_ref().map(|input| input.address));
    Some(RtpInput { datagrams: datagrams?, reorder, fec })
}

/// A UDP source.
pub(super) fn udp(checks: &mut Checks<'_, '_>, span: &Span, file: &UdpSourceFile) -> Option<DatagramInput> {
    let keys = Keys { address: &file.address, interface: &file.interface, from: &file.from, allow: &file.allow };
    datagrams(checks, span, &keys)
}

/// An allow-list; empty where none is written.
pub(super) fn allow(checks: &mut Checks<'_, '_>, list: Option<&Mark<Vec<Mark<String>>>>) -> Vec<Cidr> {
    let Some(list) = list else { return Vec::new() };
    if list.value.is_empty() {
        checks.document.mistake(&list.span, "lets nobody in", "list ranges such as \"10.0.0.0/8\", or leave it out");
    }
    let mut ranges = Vec::new();
    for text in &list.value {
        match Cidr::parse(&text.value) {
            Some(range) => ranges.push(range),
            None => {
                let wrong = format!("`{}` is no range of addresses", excerpt(&text.value));
                let mend = "write such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.7\", with nothing behind the counted bits";
                checks.document.mistake(&text.span, wrong, mend);
            }
        }
    }
    ranges
}

/// What both kinds have.
struct Keys<'f> {
    address: &'f Option<Mark<String>>,
    interface: &'f Option<Mark<String>>,
    from: &'f Option<Mark<Vec<Mark<String>>>>,
    allow: &'f Option<Mark<Vec<Mark<String>>>>,
}

fn datagrams(checks: &mut Checks<'_, '_>, span: &Span, keys: &Keys<'_>) -> Option<DatagramInput> {
    let allow = allow(checks, keys.allow.as_ref());
    if keys.address.is_none() {
        let mend = "add address = \"0.0.0.0:5004\" to receive from any host, or a multicast group and port";
        checks.document.missing(span, "address", mend);
        return None;
    }
    let address = checks.receive(keys.address.as_ref()?)?;
    let from = from(checks, keys.from.as_ref(), address);
    let interface = keys.interface.as_ref().and_then(|text| interface(checks, text, address, false));
    Some(DatagramInput { address, interface, from, allow })
}

/// Source-specific join: only groups have it.
fn from(checks: &mut Checks<'_, '_>, list: Option<&Mark<Vec<Mark<String>>>>, address: SocketAddr) -> Vec<IpAddr> {
    let Some(list) = list else { return Vec::new() };
    if !address.ip().is_multicast() {
        let mend = "remove it; `allow` says who may send to an address of this host's own";
        checks.document.mistake(&list.span, "means something with a multicast address only", mend);
    } else if list.value.is_empty() {
        checks.document.mistake(&list.span, "lists no sender", "list their addresses, or leave it out");
    }
    let mut senders = Vec::new();
    for text in &list.value {
        let sender = text.value.parse::<IpAddr>().ok();
        match sender.filter(|ip| !ip.is_multicast() && ip.is_ipv4() == address.is_ipv4()) {
            Some(sender) => senders.push(sender),
            None => {
                let wrong = format!("`{}` cannot be a sender to {}", excerpt(&text.value), address.ip());
                let kind = if address.is_ipv4() { "192.0.2.7" } else { "2001:db8::7" };
                checks.document.mistake(&text.span, wrong, format!("write an address such as \"{kind}\""));
            }
        }
    }
    senders
}

/// An interface to receive at `address` by, or to send there (`sends`).
pub(super) fn interface(
    checks: &mut Checks<'_, '_>,
    text: &Mark<String>,
    address: SocketAddr,
    sends: bool,
) -> Option<Interface> {
    if let Ok(ip) = text.value.parse::<IpAddr>() {
        if !sends && !address.ip().is_multicast() {
            let mend = "write that address into `address` instead, or the interface's name here";
            checks.document.mistake(&text.span, "an address chooses an interface for multicast only", mend);
            return None;
        }
        if ip.is_ipv4() != address.is_ipv4() {
            let mend = "write the interface's name, or an address of the same kind";
            checks.document.mistake(&text.span, format!("{ip} is of another kind than {}", address.ip()), mend);
            return None;
        }
        return Some(Interface::Address(ip));
    }
    // netdevice(7): what the kernel takes as a name.
    let possible = |name: &str| {
        (1..=INTERFACE_BYTES_MAX).contains(&name.len())
            && name != "."
            && name != ".."
            && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':')
    };
    if !possible(&text.value) {
        let wrong = format!("`{}` is no interface", excerpt(&text.value));
        checks.document.mistake(&text.span, wrong, "write a name such as \"eth0\", or an address of the interface");
        return None;
    }
    Some(Interface::Name(text.value.clone()))
}

fn fec(checks: &mut Checks<'_, '_>, file: &RtpSourceFile, media: Option<SocketAddr>) -> Option<FecPorts> {
    if file.fec.as_ref().is_none_or(|fec| !fec.value) {
        for key in [&file.fec_columns, &file.fec_rows].into_iter().flatten() {
            checks.document.mistake(&key.span, "means something with FEC only", "add fec = true, or remove it");
        }
        return None;
    }
    let (switch, media) = (file.fec.as_ref()?, media?);
    let mut port = |key: &Option<Mark<u16>>, behind: u16, name: &str| -> Option<u16> {
        let (port, span) = match key {
            Some(key) => (Some(key.value), &key.span),
            None => (media.port().checked_add(behind), &switch.span),
        };
        let Some(port) = port.filter(|port| *port != 0) else {
            let mend = format!("write {name} = 5006, or another port, or take a lower one for the media");
            checks.document.mistake(span, format!("there is no port for {name}"), mend);
            return None;
        };
        checks.reserve(SocketAddr::new(media.ip(), port), span, Transport::Udp);
        Some(port)
    };
    let columns = port(&file.fec_columns, COLUMNS_BEHIND, "fec_columns");
    let rows = port(&file.fec_rows, ROWS_BEHIND, "fec_rows");
    Some(FecPorts { columns: columns?, rows: rows? })
}
