//! The HTTP origin players and CDNs pull from.
