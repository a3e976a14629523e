//! `amb run`: the life of a run on one page.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    cli::RunArgs,
    config::Config,
    exit::Exit,
    inject,
    proxy::Proxy,
    supervise::{Signals, Spawn, Supervisor, write_stderr},
};

/// Runs the command.
pub fn run(args: &RunArgs, config: &Config) -> Exit {
    let run_id = format!(
        "{:x}{:x}",
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos(),
        std::process::id()
    );
    let Ok(mut signals) = Signals::listen(config.supervise.process_group.resolve()) else {
        return Exit::Failed;
    };
    let proxy = match Proxy::bind(config.listen, config.threads) {
        Ok(proxy) => proxy,
        Err(reason) => {
            write_stderr(&format!("amb: cannot listen on {}: {reason}\n", config.listen));
            return Exit::Failed;
        }
    };
    let address = proxy.address();
    let inherited: BTreeMap<OsString, OsString> = env::vars_os().collect();
    let changes = inject::changes(&inherited, address, &run_id, &config.inject);
    let mut command = args.command.iter().cloned();
    let mut spawn = Spawn::new(command.next().unwrap_or_default(), command);
    spawn.environment = changes
        .into_iter()
        .map(|change| (change.name.into(), change.value))
        .collect();
    let child = match spawn.start(&config.supervise, &mut signals) {
        Ok(child) => child,
        Err(error) => {
            write_stderr(&format!("amb: {error}\n"));
            return Exit::from(&error);
        }
    };
    let policy = Arc::clone(&config.policy);
    let Ok(serving) = proxy.serve(&policy, &run_id, None) else {
        return Exit::Failed;
    };
    let ended = Supervisor::new(child, &config.supervise).run(&mut signals);
    let draining = serving.drain(config.drain);
    if let (Ok(asked), Some(over)) = (signals.end_on_request(), draining.over()) {
        signals.wait_drained(config.drain + Duration::from_millis(100), over, &asked);
    }
    let drained = draining.finish();
    let traffic = drained.meter.finish();
    if env::var_os("AMB_DEBUG").is_some() {
        write_stderr(&format!("{traffic:#?}\n{:?}\n", drained.lost));
    }
    Exit::from(ended)
}
