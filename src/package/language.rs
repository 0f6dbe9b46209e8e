//! Languages of sound: ISO 639-2, as broadcast streams and the ladder spell them; BCP 47, as playlists and manifests do.

/// A language as each format wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Language {
    /// BCP 47: two letters where there are such (RFC 5646 §2.2.1 asks for the shortest code), else ISO 639-2/T as it is.
    pub tag: String,
    /// ISO 639-2/T, for `mdhd`.
    pub code: [u8; 3],
    /// What speakers call it, for menus; `None` where we do not know.
    pub name: Option<&'static str>,
}

/// ISO 639-2/T, ISO 639-2/B where it is another, ISO 639-1, name. The languages that European, American and Asian
/// contribution feeds commonly carry; one that is not here is spelled with its three letters, which every player takes.
const KNOWN: &[(&[u8; 3], &[u8; 3], &str, &str)] = &[
    (b"ara", b"ara", "ar", "العربية"),
    (b"ben", b"ben", "bn", "বাংলা"),
    (b"bul", b"bul", "bg", "Български"),
    (b"cat", b"cat", "ca", "Català"),
    (b"ces", b"cze", "cs", "Čeština"),
    (b"cym", b"wel", "cy", "Cymraeg"),
    (b"dan", b"dan", "da", "Dansk"),
    (b"deu", b"ger", "de", "Deutsch"),
    (b"ell", b"gre", "el", "Ελληνικά"),
    (b"eng", b"eng", "en", "English"),
    (b"est", b"est", "et", "Eesti"),
    (b"eus", b"baq", "eu", "Euskara"),
    (b"fas", b"per", "fa", "فارسی"),
    (b"fin", b"fin", "fi", "Suomi"),
    (b"fra", b"fre", "fr", "Français"),
    (b"gle", b"gle", "ga", "Gaeilge"),
    (b"glg", b"glg", "gl", "Galego"),
    (b"heb", b"heb", "he", "עברית"),
    (b"hin", b"hin", "hi", "हिन्दी"),
    (b"hrv", b"hrv", "hr", "Hrvatski"),
    (b"hun", b"hun", "hu", "Magyar"),
    (b"ind", b"ind", "id", "Bahasa Indonesia"),
    (b"isl", b"ice", "is", "Íslenska"),
    (b"ita", b"ita", "it", "Italiano"),
    (b"jpn", b"jpn", "ja", "日本語"),
    (b"kor", b"kor", "ko", "한국어"),
    (b"lav", b"lav", "lv", "Latviešu"),
    (b"lit", b"lit", "lt", "Lietuvių"),
    (b"mkd", b"mac", "mk", "Македонски"),
    (b"msa", b"may", "ms", "Bahasa Melayu"),
    (b"nld", b"dut", "nl", "Nederlands"),
    (b"nor", b"nor", "no", "Norsk"),
    (b"pol", b"pol", "pl", "Polski"),
    (b"por", b"por", "pt", "Português"),
    (b"ron", b"rum", "ro", "Română"),
    (b"rus", b"rus", "ru", "Русский"),
    (b"slk", b"slo", "sk", "Slovenčina"),
    (b"slv", b"slv", "sl", "Slovenščina"),
    (b"spa", b"spa", "es", "Español"),
    (b"sqi", b"alb", "sq", "Shqip"),
    (b"srp", b"srp", "sr", "Српски"),
    (b"swe", b"swe", "sv", "Svenska"),
    (b"tam", b"tam", "ta", "தமிழ்"),
    (b"tha", b"tha", "th", "ไทย"),
    (b"tur", b"tur", "tr", "Türkçe"),
    (b"ukr", b"ukr", "uk", "Українська"),
    (b"urd", b"urd", "ur", "اردو"),
    (b"vie", b"vie", "vi", "Tiếng Việt"),
    (b"zho", b"chi", "zh", "中文"),
];

impl Language {
    /// From three letters of ISO 639-2, either kind. What is no such code, as streams have it at times, is undetermined.
    pub fn of_code(code: [u8; 3]) -> Self {
        let code = code.map(|b| b.to_ascii_lowercase());
        if !code.iter().all(u8::is_ascii_lowercase) {
            return Self::of_tag("und");
        }
        match KNOWN.iter().find(|(t, b, ..)| **t == code || **b == code) {
            Some(&(t, _, short, name)) => Self { tag: short.to_owned(), code: *t, name: Some(name) },
            None => Self { tag: code.iter().copied().map(char::from).collect(), code, name: None },
        }
    }

    /// From a BCP 47 tag, which stays as it is.
    pub fn of_tag(tag: &str) -> Self {
        let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
        let known = KNOWN.iter().find(|(t, _, short, _)| *short == primary || t[..] == *primary.as_bytes());
        let (code, name) = match known {
            Some(&(t, _, _, name)) => (*t, Some(name)),
            None => (primary.as_bytes().try_into().unwrap_or(*b"und"), None),
        };
        Self { tag: tag.to_owned(), code, name }
    }

    /// Whether a word means it: its tag, or either of its codes of three letters.
    pub fn is(&self, word: &str) -> bool {
        let tag = |tag: &str| self.tag.eq_ignore_ascii_case(tag);
        tag(word) || word.as_bytes().try_into().is_ok_and(|code| tag(&Self::of_code(code).tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_tags() {
        for (code, tag, three, name) in [
            (b"eng", "en", b"eng", Some("English")),
            (b"ger", "de", b"deu", Some("Deutsch")),
            (b"deu", "de", b"deu", Some("Deutsch")),
            (b"FRE", "fr", b"fra", Some("Français")),
            (b"gsw", "gsw", b"gsw", None),
            (b"qaa", "qaa", b"qaa", None),
            (b"\0\0\0", "und", b"und", None),
            (b"e n", "und", b"und", None),
        ] {
            assert_eq!(Language::of_code(*code), Language { tag: tag.into(), code: *three, name }, "{code:?}");
        }
        for (tag, three, name) in [
            ("en", b"eng", Some("English")),
            ("pt-BR", b"por", Some("Português")),
            ("und", b"und", None),
            ("tlh", b"tlh", None),
            ("x-klingon", b"und", None),
        ] {
            assert_eq!(Language::of_tag(tag), Language { tag: tag.into(), code: *three, name }, "{tag}");
        }
    }

    #[test]
    fn no_code_stands_twice() {
        let codes = KNOWN.iter().flat_map(|(t, b, ..)| if t == b { vec![*t] } else { vec![*t, *b] });
        let mut codes: Vec<_> = codes.collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(KNOWN.iter().all(|(_, _, short, _)| short.len() == 2));
    }
}
