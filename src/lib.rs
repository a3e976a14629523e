//! amb
pub mod cli;
pub mod config;
pub mod demo;
pub mod exit;
pub mod inject;
pub mod policy;
pub mod proxy;
pub mod report;
pub mod run;
pub mod supervise;
pub mod traffic;
pub mod units;
