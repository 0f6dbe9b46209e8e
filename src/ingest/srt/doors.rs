//! Which gateway processes there are to be, and what goes through each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::ipc::{Call, Feed, Key, Listen};
use crate::config::{Input, Source, SrtListener, SrtMode};

/// What a gateway is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    /// Publishers and readers of everything in mode "shared".
    Shared(SocketAddr),
    /// One source or output, which is called.
    Own(SocketAddr),
    /// One source or output, which calls from there.
    Meeting(SocketAddr),
    /// Everything that calls from wherever it may.
    Calls,
}

impl Door {
    pub(super) fn of(mode: &SrtMode, shared: SocketAddr) -> Self {
        match mode {
            SrtMode::Shared => Self::Shared(shared),
            SrtMode::Listener(address) => Self::Own(*address),
            SrtMode::Rendezvous { listen, .. } => Self::Meeting(*listen),
            SrtMode::Caller { .. } => Self::Calls,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Shared(address) | Self::Own(address) => format!("srt://{address}"),
            Self::Meeting(address) => format!("srt rendezvous {address}"),
            Self::Calls => "srt callers".into(),
        }
    }

    pub(super) fn listen(self) -> Option<Listen> {
        match self {
            Self::Shared(address) => Some(Listen { address, shared: true }),
            Self::Own(address) => Some(Listen { address, shared: false }),
            Self::Meeting(_) | Self::Calls => None,
        }
    }

    /// Nobody else may use its port.
    pub(super) fn is_for_one(self) -> bool {
        matches!(self, Self::Own(_) | Self::Meeting(_))
    }
}

/// Sources by the gateway they need: a flood on a public port must not touch a private one.
pub(super) fn doors(listener: &SrtListener, sources: &[Source]) -> BTreeMap<Door, Vec<Feed>> {
    let mut doors: BTreeMap<Door, Vec<Feed>> = BTreeMap::new();
    for source in sources {
        let Input::Srt(input) = &source.input else { continue };
        // A caller makes the keys even where it only receives; in a rendezvous the sender's length is to hold.
        let key_length = matches!(input.mode, SrtMode::Caller { .. }).then_some(input.key_length);
        doors.entry(Door::of(&input.mode, listener.listen)).or_default().push(Feed {
            id: source.id.clone(),
            latency: input.latency,
            passphrase: input.passphrase.as_ref().map(|secret| Key(secret.reveal().to_owned())),
            allow: input.allow.clone(),
            call: call(&input.mode, key_length),
        });
    }
    doors
}

/// Whom to call, if we do.
pub(super) fn call(mode: &SrtMode, key_length: Option<u8>) -> Option<Call> {
    match mode {
        SrtMode::Shared | SrtMode::Listener(_) => None,
        SrtMode::Caller { address, stream_id } => {
            Some(Call { address: address.clone(), from: None, stream_id: stream_id.clone(), key_length })
        }
        SrtMode::Rendezvous { listen, address } => {
            Some(Call { address: address.clone(), from: Some(*listen), stream_id: None, key_length })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Secret, SrtInput};
    use crate::media::SourceId;

    fn source(name: &str, mode: SrtMode) -> Source {
        let id: Vec<_> = name.split('/').collect();
        Source {
            id: SourceId {
                channel: crate::media::ChannelId::new(id[0]).expect("a name"),
                source: crate::media::SourceName::new(id[1]).expect("a name"),
            },
            input: Input::Srt(SrtInput {
                mode,
                latency: Duration::from_millis(200),
                passphrase: Some(Secret::new("correct horse".into())),
                key_length: 16,
                allow: Vec::new(),
            }),
            program: None,
        }
    }

    #[test]
    fn a_gateway_a_port_and_one_for_all_calls() {
        let listen: SocketAddr = "127.0.0.1:9710".parse().expect("an address");
        let own: SocketAddr = "127.0.0.1:9711".parse().expect("an address");
        let meeting: SocketAddr = "127.0.0.1:9712".parse().expect("an address");
        let call = |address: &str| SrtMode::Caller { address: address.into(), stream_id: None };
        let listener = SrtListener { listen, memory_max: 1 << 30 };
        let sources = [
            source("a/one", SrtMode::Shared),
            source("b/one", SrtMode::Shared),
            source("a/two", SrtMode::Listener(own)),
            source("a/three", call("one.example:1")),
            source("a/four", call("two.example:2")),
            source("a/five", SrtMode::Rendezvous { listen: meeting, address: "three.example:3".into() }),
        ];
        let plan: Vec<(String, Vec<String>)> = doors(&listener, &sources)
            .into_iter()
            .map(|(door, feeds)| (door.name(), feeds.iter().map(|f| f.id.to_string()).collect()))
            .collect();
        let strings = |names: &[&str]| names.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            plan,
            [
                ("srt://127.0.0.1:9710".into(), strings(&["a/one", "b/one"])),
                ("srt://127.0.0.1:9711".into(), strings(&["a/two"])),
                ("srt rendezvous 127.0.0.1:9712".into(), strings(&["a/five"])),
                ("srt callers".into(), strings(&["a/three", "a/four"])),
            ]
        );
        let everything = format!("{:?}", doors(&listener, &sources));
        assert!(!everything.contains("correct horse"), "{everything}");
    }
}
