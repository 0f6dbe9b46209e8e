//! SRT through libsrt: the only unsafe, C-calling room beside GStreamer. Used by child processes only.
