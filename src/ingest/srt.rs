//! The main side of SRT ingest: owns the gateway process and turns its messages into [`IngestEvent`](super::IngestEvent)s.
