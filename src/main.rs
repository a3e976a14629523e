//! The `amb` program.
fn main() {}
