//! The rules of `ARCHITECTURE.md` that a compiler does not know: imports point one way, one module knows GStreamer, one
//! reads clocks. A message names file, line and rule.

#![allow(clippy::unwrap_used)] // a test's helpers may fail as its assertions do

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the ground up. Each may use those above it in this list and itself; the data path runs downwards.
/// A path of two names is a joint: types that the modules between it and its parent may know.
const ORDER: &[&str] = &[
    "media",
    "clock",
    "wire",
    "measure",
    "encode::ladder",
    "encode::template",
    "encode::ipc",
    "probe::ipc",
    "monitor",
    "config",
    "ingest::IngestEvent",
    "merge",
    "demux",
    "timeline",
    "failover",
    "dvr::Place",
    "package",
    "dvr",
    "child",
    "output",
    "channel",
    "srt",
    "ingest",
    "encode",
    "probe",
    "origin",
    "control",
    "signal",
    "inspect",
    "capacity",
    "supervisor",
    "cli",
];

/// The measuring stick shares no code with what it measures.
const STRANGERS: &[(&str, &[&str])] = &[
    ("signal", &["wire", "demux", "package", "encode", "origin", "channel", "ingest"]),
    ("inspect", &["wire", "demux", "package", "encode", "origin", "channel", "ingest", "config"]),
];

/// (what, where it may stand, rule)
const CONFINED: &[(&[&str], &[&str], &str)] = &[
    (
        &["gstreamer::", "gstreamer_", "use gstreamer", "gst::"],
        &["encode", "probe", "signal", "inspect"],
        "only encode, probe, signal and inspect know GStreamer",
    ),
    (&["extern \""], &["srt"], "only srt calls C"),
    (
        &["SystemTime::now", "Instant::now", ".elapsed()"],
        &["clock"],
        "only clock.rs reads a clock; take the time as an argument",
    ),
];

/// Names that say nothing of what is inside.
const NO_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc"];

/// Split by reason to change long before this.
const LINES_MAX: usize = 700;

#[test]
fn the_source_keeps_its_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    read_rust_files(&root, &root, &mut files);
    assert!(files.len() > 20, "the source is there");
    let broken = violations(&files);
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn read_rust_files(root: &Path, folder: &Path, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_rust_files(root, &path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            into.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Every breach in `files`, which are (path below src, text).
fn violations(files: &[(String, String)]) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, text) in files {
        let module = module_path(path);
        let mut tell = |line: usize, rule: String| broken.push(format!("src/{path}:{line}: {rule}"));
        if let Some(name) = module.iter().find(|name| NO_NAMES.contains(&name.as_str())) {
            tell(1, format!("`{name}` says nothing of what is inside; name it after what it knows"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            tell(lines, format!("{lines} lines, more than {LINES_MAX}: split it by reason to change"));
        }
        if is_test_file(&module) {
            continue;
        }
        let code = product_code(text);
        let top = module.first().map_or("", String::as_str);
        for (needles, homes, rule) in CONFINED {
            for needle in needles.iter().filter(|_| !homes.contains(&top)) {
                for (at, _) in code.match_indices(needle) {
                    // `gst::` inside `reggst::` is another word.
                    let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                    if whole || needle.starts_with('.') {
                        tell(line_of(&code, at), format!("`{}`: {rule}", needle.trim_end_matches(':')));
                    }
                }
            }
        }
        // The table of contents and the binary's three lines stand outside of the order.
        if !top.is_empty() {
            imports(&code, &module).into_iter().for_each(|(line, used)| {
                if let Some(rule) = import_rule(&module, &used) {
                    tell(line, rule);
                }
            });
        }
    }
    let known: BTreeSet<&str> = ORDER.iter().map(|name| name.split("::").next().unwrap()).collect();
    let tops: BTreeSet<String> = files.iter().filter_map(|(path, _)| module_path(path).first().cloned()).collect();
    for top in tops.iter().filter(|top| !known.contains(top.as_str())) {
        broken.push(format!(
            "src/{top}: has no place in ORDER of tests/layering.rs; give it one, and say so in ARCHITECTURE.md"
        ));
    }
    broken
}

/// `encode/ipc.rs` → `encode`, `ipc`; `lib.rs` and `main.rs` → nothing.
fn module_path(path: &str) -> Vec<String> {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let names = stem.split('/').map(str::to_owned);
    names.filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).collect()
}

fn is_test_file(module: &[String]) -> bool {
    module.last().is_some_and(|name| name == "tests" || name.ends_with("_tests") || name == "sim")
}

/// Why `module` may not use `used`, if so.
fn import_rule(module: &[String], used: &[String]) -> Option<String> {
    let (from, to) = (rank(module)?, rank(used)?);
    let (top, target) = (module[0].as_str(), used[0].as_str());
    if top == target {
        return None;
    }
    if let Some((_, strangers)) = STRANGERS.iter().find(|(name, _)| *name == top)
        && strangers.contains(&target)
    {
        return Some(format!("`{top}` uses `{}`, and must share no code with what it measures", used.join("::")));
    }
    (to >= from).then(|| {
        let (lower, upper) = (ORDER[from], ORDER[to]);
        format!(
            "`{}` uses `{}`, but imports point one way: {upper} stands after {lower}",
            module.join("::"),
            used.join("::")
        )
    })
}

/// The place of the longest entry of ORDER that begins the path.
fn rank(path: &[String]) -> Option<usize> {
    let joint = path.get(..2).map(|two| two.join("::"));
    let joint = joint.and_then(|joint| ORDER.iter().position(|name| *name == joint));
    joint.or_else(|| ORDER.iter().position(|name| path.first().is_some_and(|top| top == name)))
}

/// Every path below `crate` that the code names, with its line; `super` that leaves the module counts too.
fn imports(code: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            use_tree(code, at + "crate::".len(), &mut Vec::new(), &mut found);
        }
    }
    for (at, _) in code.match_indices("super::") {
        // Only the first of a chain, and only if the chain climbs out of the top-level module.
        if code[..at].ends_with("super::") || code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let mut end = at;
        let mut climbs = 0;
        while code[end..].starts_with("super::") {
            end += "super::".len();
            climbs += 1;
        }
        if climbs >= module.len() {
            use_tree(code, end, &mut Vec::new(), &mut found);
        }
    }
    found.into_iter().map(|(at, path)| (line_of(code, at), path)).collect()
}

/// Reads `a::b`, `a::{b, c::d}`, `{a, b}` from `at` on; returns where it ends.
fn use_tree(code: &str, mut at: usize, prefix: &mut Vec<String>, found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let start = at;
    let depth = prefix.len();
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        let rest = &code[at..];
        if rest.starts_with('{') {
            at += 1;
            while let Some(c) = code[at..].chars().next() {
                if c == '}' {
                    at += 1;
                    break;
                }
                if c == ',' || c.is_whitespace() {
                    at += c.len_utf8()
                } else {
                    at = use_tree(code, at, prefix, found).max(at + c.len_utf8())
                }
            }
            break;
        }
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            break;
        }
        at += name.len();
        if name != "self" {
            prefix.push(name);
        }
        if !code[at..].starts_with("::") {
            found.push((start, prefix.clone()));
            break;
        }
        at += 2;
    }
    prefix.truncate(depth);
    at
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The text without comments, without what strings say, and without its tests; every line stays where it is.
fn product_code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (length, quoted) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (block_comment(rest), true)
        } else if let Some(length) =
            raw_string(rest).filter(|_| !code.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        {
            (length, true)
        } else if c == '"' {
            (string(rest), true)
        } else if let Some(length) = char_literal(rest) {
            (length, true)
        } else {
            (c.len_utf8(), false)
        };
        let (token, after) = rest.split_at(length);
        if quoted {
            let edge = if c == '"' { '"' } else { ' ' };
            code.push(edge);
            code.extend(token.chars().filter(|c| *c == '\n'));
            code.push(edge);
        } else {
            code.push(c);
        }
        rest = after;
    }
    // Tests stand at the end of a file; what they do is their own affair.
    let tests = code.match_indices("#[cfg(test)]").find(|(at, found)| {
        let next = code[at + found.len()..].trim_start();
        next.starts_with("mod ")
            && next.split(['{', ';']).next().is_some_and(|head| next[head.len()..].starts_with('{'))
    });
    if let Some((at, _)) = tests {
        code.truncate(at);
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r').or_else(|| text.strip_prefix("br"))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let head = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| head + at + end.len()))
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `'x'` or `'\n'`, but not the lifetime `'x`.
fn char_literal(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        return body[1..].char_indices().skip(1).find(|(_, c)| *c == '\'').map(|(at, _)| at + 3);
    }
    body[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

#[test]
fn planted_breaches_are_found_and_what_is_allowed_is_not() {
    let long = "// line\n".repeat(LINES_MAX + 1);
    for (name, path, text, want) in [
        (
            "backwards",
            "media/mod.rs",
            "\nuse crate::package::Snapshot;",
            Some("src/media/mod.rs:2: `media` uses `package::Snapshot`"),
        ),
        ("forwards", "package/mod.rs", "use crate::media::Slot;", None),
        (
            "inside a group",
            "demux.rs",
            "use crate::{\n  media::{A, B},\n  origin::{C},\n};",
            Some("`demux` uses `origin::C`"),
        ),
        ("group of one module", "demux.rs", "use crate::media::{A, time::{B, C}};", None),
        ("in passing", "wire/ts/mod.rs", "fn f() { crate::channel::go() }", Some("`wire::ts` uses `channel::go`")),
        (
            "by climbing",
            "wire/ts/psi.rs",
            "use super::super::super::package::X;",
            Some("`wire::ts::psi` uses `package::X`"),
        ),
        ("climbing at home", "wire/ts/psi.rs", "use super::super::codec::X;", None),
        ("a joint", "monitor/status.rs", "use crate::encode::ipc::Showing;", None),
        ("beside the joint", "monitor/status.rs", "use crate::encode::worker::X;", Some("encode stands after monitor")),
        ("out of a joint", "encode/ipc.rs", "use crate::monitor::Event;", Some("`encode::ipc` uses `monitor::Event`")),
        ("the judge and the judged", "inspect/hls.rs", "use crate::package::hls;", Some("share no code")),
        ("clock", "channel/mod.rs", "let t = std::time::Instant::now();", Some("src/channel/mod.rs:1: `Instant::now`")),
        ("clock by elapsed", "origin/mod.rs", "t.elapsed()", Some("only clock.rs reads a clock")),
        ("clock at home", "clock.rs", "SystemTime::now()", None),
        ("clock in a test", "demux.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn t() { Instant::now(); } }", None),
        (
            "clock behind a test item",
            "demux.rs",
            "#[cfg(test)]\nfn g() {}\nfn f() { Instant::now(); }",
            Some("demux.rs:3"),
        ),
        ("gstreamer", "package/mod.rs", "use gstreamer as gst;", Some("know GStreamer")),
        ("gstreamer at home", "encode/gst.rs", "use gstreamer as gst; gst::init()", None),
        (
            "gstreamer as a word",
            "monitor/mod.rs",
            "/// gstreamer::init\nstruct S { gstreamer: String } // gst::x",
            None,
        ),
        ("C", "child/mod.rs", "unsafe extern \"C\" { fn f(); }", Some("only srt calls C")),
        ("C at home", "srt/ffi.rs", "unsafe extern \"C\" { fn f(); }", None),
        ("in a comment", "media/mod.rs", "/* crate::origin::x /* Instant::now() */ */ // crate::cli::x", None),
        (
            "in a string",
            "media/mod.rs",
            "let s = (\"crate::cli::x\", r#\"\"Instant::now\"#, '\"', '\\'', \"\\\"\");",
            None,
        ),
        ("after a string", "media/mod.rs", "let s = ('\"', \"\\\\\");\nuse crate::cli::x;", Some("src/media/mod.rs:2")),
        ("a lifetime", "media/mod.rs", "fn f<'a>(x: &'a str) { crate::cli::x('b') }", Some("`media` uses `cli::x`")),
        ("name", "wire/utils.rs", "", Some("`utils` says nothing")),
        ("newcomer", "extras/mod.rs", "", Some("has no place in ORDER")),
        ("long", "media/mod.rs", &long, Some("701 lines")),
        ("the table of contents", "lib.rs", "pub mod cli; use crate::cli::x;", None),
    ] {
        let found = violations(&[(path.to_owned(), text.to_owned())]);
        match want {
            None => assert!(found.is_empty(), "{name}: {found:?}"),
            Some(want) => {
                assert_eq!(found.len(), 1, "{name}: {found:?}");
                assert!(found[0].contains(want), "{name}: `{want}` is not in {found:?}");
            }
        }
    }
}
