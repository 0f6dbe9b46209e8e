//! Stream ids: how a publisher says which source it is, and a reader which output it wants.
//!
//! Two forms: plain `channel/source`, and the access-control form of SRT's guidelines, `#!::r=channel/source,m=publish` or
//! `#!::r=channel/output,m=request` (`h`, `u`, `s`, `t` and unknown keys are let pass: they say nothing that matters here).

use crate::media::{ChannelId, OutputId, OutputName, SourceId, SourceName};
use crate::srt::Reject;

/// SRTO_STREAMID's limit.
const BYTES_MAX: usize = 512;
/// The access-control form begins so; after the colons could be other formats, of which nobody makes use.
const KEYED: &str = "#!::";

/// Why a stream id was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamIdError {
    /// It names nothing that could be a source.
    #[error("a stream id is `channel/source` or `#!::r=channel/source,m=publish`")]
    Malformed,
    /// It asks for something that is not possible with what it names.
    #[error("m=publish is possible with a source, m=request with an output")]
    BadMode,
}

impl StreamIdError {
    /// SRT's code for it.
    pub fn reject(self) -> Reject {
        match self {
            Self::Malformed => Reject::BAD_REQUEST,
            Self::BadMode => Reject::BAD_MODE,
        }
    }
}

/// What a caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The first part of the name.
    pub channel: ChannelId,
    /// The second part: a source's or an output's.
    pub name: String,
    /// Whether it said so.
    pub intent: Intent,
}

/// Which way media is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It did not say.
    Unsaid,
    /// It brings media.
    Publish,
    /// It wants media.
    Request,
}

impl Wish {
    /// As an output's name.
    pub fn output(&self) -> Option<OutputId> {
        Some(OutputId { channel: self.channel.clone(), output: OutputName::new(&self.name).ok()? })
    }

    fn source(self) -> Result<SourceId, StreamIdError> {
        let source = SourceName::new(&self.name).map_err(|_| StreamIdError::Malformed)?;
        Ok(SourceId { channel: self.channel, source })
    }
}

/// The source a publisher's stream id names.
pub fn parse(bytes: &[u8]) -> Result<SourceId, StreamIdError> {
    let wish = wish(bytes)?;
    if wish.intent == Intent::Request { Err(StreamIdError::BadMode) } else { wish.source() }
}

/// What a caller wants, by its stream id.
pub fn wish(bytes: &[u8]) -> Result<Wish, StreamIdError> {
    let text = std::str::from_utf8(bytes).map_err(|_| StreamIdError::Malformed)?;
    if text.len() > BYTES_MAX {
        return Err(StreamIdError::Malformed);
    }
    let Some(keyed) = text.strip_prefix(KEYED) else { return named(text, Intent::Unsaid) };
    let (mut resource, mut mode) = (None, None);
    for pair in keyed.split(',') {
        let (key, value) = pair.split_once('=').ok_or(StreamIdError::Malformed)?;
        let place = match key {
            "r" => &mut resource,
            "m" => &mut mode,
            _ => continue,
        };
        // Said twice, it could be read one way by us and another way by whoever logs or filters.
        if place.replace(value).is_some() {
            return Err(StreamIdError::Malformed);
        }
    }
    let wish = named(resource.ok_or(StreamIdError::Malformed)?, Intent::Unsaid)?;
    let intent = match mode {
        None => Intent::Unsaid,
        Some("publish") => Intent::Publish,
        Some("request") => Intent::Request,
        Some(_) => return Err(StreamIdError::BadMode),
    };
    Ok(Wish { intent, ..wish })
}

fn named(text: &str, intent: Intent) -> Result<Wish, StreamIdError> {
    let (channel, name) = text.split_once('/').ok_or(StreamIdError::Malformed)?;
    // Sources and outputs have the same alphabet.
    let name = SourceName::new(name).map_err(|_| StreamIdError::Malformed)?.as_str().to_owned();
    Ok(Wish { channel: ChannelId::new(channel).map_err(|_| StreamIdError::Malformed)?, name, intent })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_name_a_source() {
        for text in [
            "live/main",
            "#!::r=live/main",
            "#!::r=live/main,m=publish",
            "#!::m=publish,r=live/main",
            "#!::h=host.example,u=me,s=42,t=stream,r=live/main,m=publish,x_own=1",
            "#!::u=a=b,r=live/main",
            "#!::u=,r=live/main",
        ] {
            assert_eq!(parse(text.as_bytes()).expect(text).to_string(), "live/main", "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_code() {
        use StreamIdError::{BadMode, Malformed};
        let long = format!("#!::u={},r=live/main", "x".repeat(600));
        for (text, why) in [
            ("", Malformed),
            ("live", Malformed),
            ("/live/main", Malformed),
            ("live/main/", Malformed),
            ("live/main/more", Malformed),
            ("publish:live/main", Malformed),
            ("Live/Main", Malformed),
            ("live/main ", Malformed),
            ("#!::", Malformed),
            ("#!::r", Malformed),
            ("#!::m=publish", Malformed),
            ("#!::r=live/main,,m=publish", Malformed),
            ("#!::r=live/main,r=live/backup", Malformed),
            ("#!::r=live/main,m=publish,m=request", Malformed),
            ("#!:{r: live/main}", Malformed),
            ("#!::r=live/main,m=request", BadMode),
            ("#!::r=live/main,m=bidirectional", BadMode),
            ("#!::r=live/main,m=", BadMode),
            (&long, Malformed),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(why), "{text}");
        }
        assert_eq!(parse(b"live/main\xff"), Err(Malformed));
        assert_eq!((Malformed.reject().0, BadMode.reject().0), (1400, 1405));
    }

    #[test]
    fn readers_say_so_or_say_nothing() {
        for (text, intent) in [
            ("live/out", Intent::Unsaid),
            ("#!::r=live/out", Intent::Unsaid),
            ("#!::r=live/out,m=request", Intent::Request),
            ("#!::m=request,u=me,r=live/out", Intent::Request),
            ("#!::r=live/out,m=publish", Intent::Publish),
        ] {
            let wish = wish(text.as_bytes()).expect(text);
            assert_eq!(
                (wish.intent, wish.output().expect("a name").to_string()),
                (intent, "live/out".into()),
                "{text}"
            );
        }
        assert_eq!(wish(b"#!::r=live/out,m=bidirectional"), Err(StreamIdError::BadMode));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_a_source_is_called_names_it(
            channel in "[a-z0-9][a-z0-9_-]{0,63}",
            source in "[a-z0-9][a-z0-9_-]{0,63}",
            user in "[^,=\u{0}]{0,20}",
        ) {
            let name = format!("{channel}/{source}");
            for text in [name.clone(), format!("#!::r={name},m=publish"), format!("#!::u={user},r={name}")] {
                prop_assert_eq!(parse(text.as_bytes()).map(|id| id.to_string()), Ok(name.clone()));
            }
        }

        #[test]
        fn near_misses_never_name_another_source(text in "(#!::)?([rmhu]=)?[a-z/,=]{0,24}") {
            if let Ok(id) = parse(text.as_bytes()) {
                prop_assert!(text.contains(&id.to_string()));
            }
        }
    }
}
