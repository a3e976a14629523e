//! What amb costs without load: the time to launch a command, and memory.

use std::{
    error::Error,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::{runtime, time::Instant};

use super::{
    amb::{self, Amb},
    load::{self, Way},
    origin::Origin,
};

/// How often `true` is run, with and without amb.
const LAUNCHES: usize = 200;

/// How many tunnels are open at once.
const TUNNELS: u32 = 1000;

/// How long `true` takes bare and under amb, one pair after the other, the order reversed in every second one.
///
/// # Errors
/// It cannot be run, or fails.
pub(crate) fn launches() -> Result<[Vec<Duration>; 2], Box<dyn Error>> {
    let mut taken = [Vec::new(), Vec::new()];
    for pair in 0..LAUNCHES {
        for side in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            let mut command = if side == 0 { amb::bare("true") } else { amb::command() };
            if side == 1 {
                command.args(["run", "--", "true"]);
            }
            taken[side].push(launch(command)?);
        }
    }
    Ok(taken)
}

/// How long a command takes from its start until it has ended.
///
/// # Errors
/// It cannot be run, or fails.
fn launch(mut command: Command) -> Result<Duration, Box<dyn Error>> {
    // What amb says when no request came has no place in the table.
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status()?;
    let lasted = began.elapsed();
    if status.success() {
        Ok(lasted)
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

/// amb's resident memory once its command runs, in bytes.
///
/// # Errors
/// amb cannot be started or looked at.
pub(crate) fn idle() -> Result<u64, Box<dyn Error>> {
    Ok(Amb::start()?.memory("status", "VmRSS")?)
}

/// What an idle tunnel adds to amb's own memory, in bytes; what the kernel holds for it is not in it. Each tunnel has
/// carried one small response before.
///
/// # Errors
/// A tunnel does not open or carry, or amb cannot be looked at.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(crate) fn per_tunnel(origin: &Origin) -> Result<f64, Box<dyn Error>> {
    let amb = Amb::start()?;
    let before = amb.memory("smaps_rollup", "Pss")?;
    let way = Way {
        origin: origin.address,
        proxy: Some(amb.address),
    };
    let request = way.request(load::BODY, false, false);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (tunnels, after) = runtime.block_on(async {
        let mut tunnels = Vec::new();
        let mut response = Vec::with_capacity(1024);
        for _ in 0..TUNNELS {
            let mut tunnel = way.tunnel().await?;
            load::exchange(&mut tunnel, &request, &mut response).await?;
            tunnels.push(tunnel);
        }
        amb.memory("smaps_rollup", "Pss").map(|after| (tunnels, after))
    })?;
    drop(tunnels);
    Ok(after.saturating_sub(before) as f64 / f64::from(TUNNELS))
}
