//! One pipeline's choice among its sources.
