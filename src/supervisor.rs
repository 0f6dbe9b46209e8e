//! Builds channels, origin and control from a config, and takes them down again.
