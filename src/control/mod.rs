//! The control port: page, API, metrics. Loopback unless told otherwise.
