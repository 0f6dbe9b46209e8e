//! What is wrong with a config, all of it, each with its place and its mend.

use std::fmt;

/// More mistakes than this are not listed: the file is not a config.
pub(super) const MISTAKES_MAX: usize = 100;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The key, such as `channel[demo].source[s1].latency`; empty for the file as a whole.
    pub path: String,
    /// What is wrong. Never holds a secret.
    pub wrong: String,
    /// How to mend it.
    pub mend: String,
}

impl Mistake {
    /// A mistake that has no place inside the file.
    pub(super) fn whole_file(file: &str, wrong: String, mend: String) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, path: String::new(), wrong, mend }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}\n    mend: {}", self.wrong, self.mend)
    }
}

/// All mistakes of a config, in the order of its lines. As an error it prints them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    mistakes: Vec<Mistake>,
}

impl Report {
    /// The mistakes, by file and line.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.mistakes.len()
    }

    pub(super) fn add(&mut self, mistake: Mistake) {
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push(mistake);
        }
    }

    /// Takes another file's mistakes in, behind this one's; two channels that share a file complain once.
    pub(super) fn append(&mut self, other: Self) {
        for mistake in other.mistakes {
            if !self.mistakes.contains(&mistake) {
                self.add(mistake);
            }
        }
    }

    pub(super) fn sort(&mut self) {
        self.mistakes.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}")?;
        }
        match self.mistakes.len() {
            1 => write!(f, "1 mistake"),
            n if n >= MISTAKES_MAX => write!(f, "{n} mistakes; more are not listed"),
            n => write!(f, "{n} mistakes"),
        }
    }
}

impl std::error::Error for Report {}
