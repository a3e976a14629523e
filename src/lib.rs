//! amb
pub mod traffic;
pub mod units;
