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

/// How often `true` is run in each way.
const LAUNCHES: usize = 300;

/// What people put before a command, amb first; the others where they are installed.
const WRAPPERS: [(&str, &[&str]); 4] = [
    ("amb", &["run", "--"]),
    ("env", &[]),
    ("tini", &["--"]),
    ("dumb-init", &["--"]),
];

/// How many tunnels are open at once.
const TUNNELS: u32 = 1000;

/// How long `true` takes: bare, and under each wrapper with its name.
pub(crate) struct Launches {
    /// Bare.
    pub(crate) bare: Vec<Duration>,
    /// Wrapped, in the same order; amb first.
    pub(crate) wrapped: Vec<(&'static str, Vec<Duration>)>,
}

/// Runs `true` in all ways, one after the other, the order reversed in every second round.
///
/// # Errors
/// It cannot be run, or fails.
pub(crate) fn launches() -> Result<Launches, Box<dyn Error>> {
    let there = |program: &str| program == "amb" || Command::new(program).arg("--version").output().is_ok();
    let wrappers: Vec<_> = WRAPPERS.into_iter().filter(|(name, _)| there(name)).collect();
    let mut taken = vec![Vec::new(); wrappers.len() + 1];
    for round in 0..LAUNCHES {
        let mut ways: Vec<usize> = (0..taken.len()).collect();
        if round % 2 == 1 {
            ways.reverse();
        }
        for way in ways {
            let mut command = match way.checked_sub(1).map(|wrapper| wrappers[wrapper]) {
                None => amb::bare("true"),
                Some(("amb", words)) => {
                    let mut command = amb::command();
                    command.args(words).arg("true");
                    command
                }
                Some((name, words)) => {
                    let mut command = amb::bare(name);
                    command.args(words).arg("true");
                    command
                }
            };
            // What amb says when no request came has no place in the table.
            command.stdin(Stdio::null()).stderr(Stdio::null());
            taken[way].push(launch(command)?);
        }
    }
    let mut taken = taken.into_iter();
    Ok(Launches {
        bare: taken.next().unwrap_or_default(),
        wrapped: wrappers.iter().map(|(name, _)| *name).zip(taken).collect(),
    })
}

/// How long a command takes from its start until it has ended.
///
/// # Errors
/// It cannot be run, or fails.
fn launch(mut command: Command) -> Result<Duration, Box<dyn Error>> {
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
