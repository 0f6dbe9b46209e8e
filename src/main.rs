//! The `tandem` binary: see [`tandem::cli`].

fn main() {}
