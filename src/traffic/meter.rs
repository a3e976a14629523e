//! Sums records up.
