//! One TOML file under examination: finds *every* mistake, not just the first, and knows where each one stands.
//!
//! In:    the text.
//! Out:   a `File` of any kind, and mistakes with line, column and key path.
//! Never: judges what a key means; that is `validate`'s.
//!
//! serde stops at the first key it cannot read. So that key is noted, cut out of the tree, and the rest is read again,
//! until nothing is left to complain of. Every key of a `File` is optional, so a cut leaves a default and no second
//! complaint; whether a key was required is asked later ([`Document::missing`]), when it is known what was cut.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::report::{MISTAKES_MAX, Mistake, Report};

/// Longest config file. A hundred channels take about a tenth of it.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Where something stands in the text, in bytes.
pub(super) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Mark<T> {
    pub span: Span,
    pub value: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Mark<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Mark<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// One TOML file under examination.
pub(super) struct Document<'t> {
    name: String,
    text: &'t str,
    tree: Spanned<DeTable<'t>>,
    /// Paths of keys that could not be read and were cut out.
    cut: BTreeSet<String>,
    report: Report,
    well_formed: bool,
}

impl<'t> Document<'t> {
    /// Parses the text; `name` is what mistakes call the file.
    pub fn parse(name: &str, text: &'t str) -> Self {
        let mut report = Report::default();
        let text = if text.len() > TEXT_BYTES_MAX {
            let wrong = format!("{} bytes; a config has at most {TEXT_BYTES_MAX}", text.len());
            report.add(Mistake::whole_file(name, wrong, "is this the right file?".into()));
            ""
        } else {
            text
        };
        let (tree, errors) = DeTable::parse_recoverable(text);
        let well_formed = errors.is_empty() && report.is_empty();
        let mut document = Self { name: name.to_owned(), text, tree, cut: BTreeSet::new(), report, well_formed };
        for error in errors {
            let wrong = format!("not TOML: {}", error.message());
            document.add(error.span().unwrap_or(0..0), String::new(), wrong, "see https://toml.io".into());
        }
        document
    }

    /// Reads the tree into a `File`, noting each key that does not fit. Of a text that is no TOML nothing is read: after
    /// one lost bracket every key looks misplaced.
    pub fn read<T: DeserializeOwned + Default>(&mut self) -> T {
        if !self.well_formed {
            return T::default();
        }
        let mut rest = self.tree.clone();
        lift_types(rest.get_mut());
        while self.report.len() < MISTAKES_MAX {
            let error = match T::deserialize(toml::de::Deserializer::from(rest.clone())) {
                Ok(file) => return file,
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let path = self.path(&span);
            // What is left of an entry after a cut may not fit either; that is no mistake of its own.
            if path.is_empty() || !self.was_cut(&path) {
                let (wrong, mend) = explain(error.message());
                self.add(span.clone(), path.clone(), wrong, mend);
            }
            if !cut(rest.get_mut(), &span) {
                break;
            }
            self.cut.insert(path);
        }
        T::default()
    }

    /// Whether the text is TOML at all. What is missing from a text that is not says nothing.
    pub fn is_well_formed(&self) -> bool {
        self.well_formed
    }

    /// Notes a mistake of the value at `span`.
    pub fn mistake(&mut self, span: &Span, wrong: impl Into<String>, mend: impl Into<String>) {
        self.add(span.clone(), self.path(span), wrong.into(), mend.into());
    }

    /// Notes a mistake that an error of ours puts as `what is wrong: how to mend it`.
    pub fn refuse(&mut self, span: &Span, error: &dyn std::error::Error) {
        let (wrong, mend) = explain(&error.to_string());
        self.mistake(span, wrong, mend);
    }

    /// Notes that the table at `span` lacks `key`, unless the key is there and was already complained of.
    pub fn missing(&mut self, span: &Span, key: &str, mend: impl Into<String>) {
        if self.well_formed && !self.lost(span, key) {
            self.add(span.clone(), join(&self.path(span), key), "is missing".into(), mend.into());
        }
    }

    /// Whether `key` of the table at `span`, or something below it, was written but could not be read.
    pub fn lost(&self, span: &Span, key: &str) -> bool {
        self.was_cut(&join(&self.path(span), key))
    }

    fn was_cut(&self, path: &str) -> bool {
        self.cut.iter().any(|c| c.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with(['.', '['])))
    }

    /// What was found.
    pub fn into_report(self) -> Report {
        self.report
    }

    fn add(&mut self, span: Span, path: String, wrong: String, mend: String) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.report.add(Mistake { file: self.name.clone(), line, column, path, wrong, mend });
    }

    /// The key path of the node at `span`; empty for the file itself.
    fn path(&self, span: &Span) -> String {
        find_in_table(self.tree.get_ref(), span, String::new()).unwrap_or_default()
    }
}

impl fmt::Debug for Document<'_> {
    /// Without the text: it is not ours to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("name", &self.name).field("report", &self.report).finish_non_exhaustive()
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn find_in_table(table: &DeTable<'_>, span: &Span, path: String) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let here = join(&path, key.get_ref());
        if key.span() == *span { Some(here) } else { find_in_value(value, span, here) }
    })
}

/// Inside first: a list of `[[tables]]` has the span of its first one.
fn find_in_value(value: &Spanned<DeValue<'_>>, span: &Span, path: String) -> Option<String> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, span, path.clone()),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            // An entry with an id is easier to find by it than by counting.
            let id = item.get_ref().get("id").and_then(|id| id.get_ref().as_str()).map(super::units::excerpt);
            let label = id.unwrap_or_else(|| index.to_string());
            find_in_value(item, span, format!("{path}[{label}]"))
        }),
        _ => None,
    };
    inside.or_else(|| (value.span() == *span).then_some(path))
}

/// Removes the entry whose key or value stands at `span`, the innermost if there are several; false if there is none.
fn cut(table: &mut DeTable<'_>, span: &Span) -> bool {
    if table.iter_mut().any(|(_, value)| cut_in_value(value.get_mut(), span)) {
        return true;
    }
    let found = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(key) = found.map(|(key, _)| key.get_ref().to_string()) {
        table.remove(&*key);
        return true;
    }
    false
}

fn cut_in_value(value: &mut DeValue<'_>, span: &Span) -> bool {
    match value {
        DeValue::Table(table) => cut(table, span),
        DeValue::Array(items) => {
            if items.iter().any(|item| item.span() == *span) {
                *items =
                    std::mem::replace(items, DeArray::new()).into_iter().filter(|item| item.span() != *span).collect();
                return true;
            }
            items.iter_mut().any(|item| cut_in_value(item.get_mut(), span))
        }
        _ => false,
    }
}

/// The keys whose entries say by `type` what they are.
const TYPED: [&str; 2] = ["source", "output"];

/// Turns `{ type = "srt", … }` into `{ srt = { … } }` in lists of sources and outputs. serde reads the second form with positions, but
/// loses them in the first, as it must look for `type` before it knows what the other keys are.
fn lift_types(table: &mut DeTable<'_>) {
    for (key, value) in table.iter_mut() {
        match value.get_mut() {
            DeValue::Table(table) => lift_types(table),
            DeValue::Array(items) => items.iter_mut().for_each(|item| {
                let span = item.span();
                if let DeValue::Table(table) = item.get_mut() {
                    if TYPED.contains(&&**key.get_ref()) { lift_type(table, span) } else { lift_types(table) }
                }
            }),
            _ => {}
        }
    }
}

/// An entry that does not say its type becomes an empty one: its reader then complains of that, and of nothing else.
fn lift_type(table: &mut DeTable<'_>, span: Span) {
    let keys = std::mem::take(table);
    let Some(kind) = keys.get("type").cloned() else { return };
    let DeValue::String(name) = kind.get_ref() else { return };
    let mut keys = keys;
    keys.remove("type");
    table.insert(Spanned::new(kind.span(), name.clone()), Spanned::new(span, DeValue::Table(keys)));
}

/// A serde message as (what is wrong, how to mend it). Values that were written are not repeated, but for text that one
/// of our own readers found harmless to repeat.
fn explain(message: &str) -> (String, String) {
    let expected = || message.split_once("expected ").map_or("", |(_, rest)| rest);
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let name = rest.split('`').next().unwrap_or_default();
        return ("unknown key".into(), nearest(name, names(expected())));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let name = rest.split('`').next().unwrap_or_default();
        return (format!("`{}` is not possible here", super::units::excerpt(name)), nearest(name, names(expected())));
    }
    if let Some(rest) = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: ")) {
        // `integer `5`, expected a duration …` or `string "x", expected …`: the kind is what stands before the value.
        let kind = rest.split([' ', ',']).next().unwrap_or_default();
        let kind = if kind == "string" { "text" } else { kind };
        let wanted = match expected() {
            "a sequence" => "a list, such as [\"one\", \"two\"]",
            "a string" => "text in quotes",
            other if other.starts_with("struct ") => "a table of keys",
            other => other,
        };
        return (format!("{kind} does not fit here"), format!("write {wanted}"));
    }
    if message.starts_with("wanted exactly 1 element") {
        return ("`type` is missing, or no text".into(), "write type = \"srt\", \"rtp\", \"udp\" or \"test\"".into());
    }
    match message.rsplit_once(": ") {
        Some((wrong, mend)) => (wrong.to_owned(), mend.to_owned()),
        None => (message.to_owned(), "see `tandem schema`".into()),
    }
}

/// The names in backticks that a serde message lists.
fn names(expected: &str) -> impl Iterator<Item = &str> {
    expected.split('`').skip(1).step_by(2)
}

/// "did you mean" for a name that is like a known one, or the list of them.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|k| (distance(name, k), *k)).min();
    match near {
        Some((d, k)) if d <= 1 + k.len() / 4 => format!("did you mean `{k}`?"),
        Some(_) => format!("possible here: {}", known.join(", ")),
        None => "remove it".into(),
    }
}

/// Levenshtein's distance: single-letter changes from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    // Names are short; a longer one is like none of ours.
    for (i, a) in from.chars().take(80).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_messages_are_put_plainly() {
        for (name, message, wrong, mend) in [
            (
                "typo",
                "unknown field `segmnt`, expected one of `id`, `segment`",
                "unknown key",
                "did you mean `segment`?",
            ),
            ("other", "unknown field `zzz`, expected `id` or `segment`", "unknown key", "possible here: id, segment"),
            (
                "kind",
                "invalid type: integer `5`, expected a string",
                "integer does not fit here",
                "write text in quotes",
            ),
            ("secret", "invalid type: string \"hunter2\", expected u16", "text does not fit here", "write u16"),
            ("own", "`5` cannot be read: write a duration", "`5` cannot be read", "write a duration"),
        ] {
            assert_eq!(explain(message), (wrong.into(), mend.into()), "{name}");
        }
    }

    #[test]
    fn distances() {
        for (from, to, want) in [("", "", 0), ("a", "", 1), ("segmnt", "segment", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(from, to), want, "{from} → {to}");
            assert_eq!(distance(to, from), want, "{to} → {from}");
        }
    }
}
