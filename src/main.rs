//! The `tandem` binary: see [`tandem::cli`].

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("encode-worker") {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        tandem::encode::worker::run()?;
    }
    Ok(())
}
