//! The program that the tests put under `amb run`.
fn main() {}
