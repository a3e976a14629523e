//! demo
use crate::{cli::DemoArgs, exit::Exit};
/// demo
pub fn run(_: &DemoArgs) -> Exit {
    Exit::Done
}
