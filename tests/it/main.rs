//! End-to-end tests: one binary, one file a feature.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod assertions;
mod capture;
mod central;
mod change;
mod completion;
mod config;
mod confine;
mod demo;
mod doctor;
mod egress;
mod formats;
mod fuzz;
mod generated;
mod guard;
mod layers;
mod look;
mod metrics;
mod otlp;
mod progress;
mod readme;
mod records;
mod reports;
mod resilience;
mod routes;
mod serve;
mod shell;
mod status;
mod supervise;
mod support;
mod tls;
mod trust;
mod wire;
