//! TS bytes of one source → items on the source timeline.
