//! Fails early, and says what to do, when the page that the binary embeds has not been built.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
    if !Path::new("web/dist/index.html").is_file() {
        println!("cargo::error=the page is missing (web/dist/index.html): run `make web` first");
    }
}
