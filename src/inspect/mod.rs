//! The judge: reads a stream as a stranger would and accounts for every frame.
