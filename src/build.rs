//! How the program is linked: a word for packagers stands in the README.

use std::env;

/// Links the program to a fixed address, unless `AMB_BUILD_PIE` is set.
///
/// Every start of a program that can be loaded anywhere begins with writing eight thousand addresses into it, which takes a
/// fifth of the time that amb adds to a launch. Stack, heap and libraries are placed at random all the same.
fn main() {
    println!("cargo::rerun-if-env-changed=AMB_BUILD_PIE");
    let target = |what| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" && env::var_os("AMB_BUILD_PIE").is_none() {
        println!("cargo::rustc-link-arg-bin=amb=-no-pie");
    }
}
