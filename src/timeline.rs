//! Anchors: source time → channel time.
