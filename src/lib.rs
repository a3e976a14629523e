//! amb: the Ambassador pattern for one process.
//!
//! `amb run -- COMMAND` binds a proxy to a free port of the loopback address, starts the command with variables that point
//! it there, carries its requests, supervises it, and ends as it ended. Two promises outrank everything: **the wrapper is
//! invisible** (the oracle is the bare command) and **nothing passes unseen or unexplained** (each exchange and tunnel ends
//! in exactly one record, which says whose fault a failure was).
//!
//! # Reading order
//!
//! | Module | What is in it |
//! | --- | --- |
//! | [`run`] | `amb run` and `amb shell`: the life of the program on one page; `run/serve.rs`, the same without a command |
//! | [`proxy`] | the proxy; then `proxy/exchange.rs`, one HTTP exchange from the child's request to its answer, `proxy/wire.rs`, the bytes, and `proxy/intercept.rs`, TLS that is decrypted |
//! | [`mod@capture`] | connections of programs that know of no proxy, led to amb by the kernel |
//! | [`supervise`] | the child: its start, its signals, its end; then `supervise/decide.rs`, what is done about a signal |
//! | [`inject`] | which variables change in the child's environment |
//! | [`trust`] | the certificates that let the child trust amb when it decrypts HTTPS |
//! | [`policy`] | what is to happen to a request: by which route, what is changed on the way, where a name leads, by which proxy, within what time |
//! | [`traffic`] | a record for each exchange and tunnel, and their sums |
//! | [`mod@assert`] | what must hold of it |
//! | [`monitor`] | what shows a run while it goes on |
//! | [`mod@top`] | `amb top`: a run on a terminal |
//! | [`otlp`] | what tells a collector of it, as traces and metrics |
//! | [`report`] | what people and programs read of it |
//! | [`config`] | layers, their sources, all mistakes at once; `config/stack.rs` has the layers in their order |
//! | [`cli`] | subcommands, flags, help, and how amb's own lines are written |
//! | [`ca`] | `amb ca`: a certificate authority that is kept |
//! | [`doctor`] | `amb doctor`: what stands in the way on this machine, and what goes around amb |
//! | [`exit`] | every way in which amb ends |
//! | [`secret`] | secrets, from where they are kept |
//! | [`veil`] | the funnel through which goes all that amb writes |
//! | [`spelling`] | the word that was meant |
//! | [`units`] | durations and sizes as people write them |
//! | [`demo`] | a program and its servers, to show all this |
//! | `sabotage` | what tests need to see amb itself fail; nothing in a release build |
//!
//! # From above
//!
//! ```text
//!  main thread                                      proxy threads, one unless --threads
//!  ───────────                                      ─────────────────────────────────────
//!  config::load ─→ Config { policy, … }
//!  Signals::listen                                  accept → whose process? → first byte
//!  Proxy::bind ──────────── address ──┐               ├ http   → exchange ─→ upstream
//!  Tls::prepare                       │               │                 ↑ HTTP inside, or inside TLS: intercept
//!  inject::changes ←──────────────────┘               │                 │
//!  Spawn::start ─→ connect(2)? amb-capture: a thread  └ CONNECT, socks, captured → tunnel ─→ upstream
//!  Proxy::serve ─────────── policy ──────────────→      each end: Record → Meter
//!  Supervisor::run … the child has ended
//!  Serving::drain ────────────────────────────→     what is open may end
//!  summary, reports ←────── sums ─────────────────  Meter
//!  Exit::leave
//! ```
//!
//! Policies are decisions and not middleware: plain functions over plain values, whose order are the lines of
//! `proxy/exchange.rs`. One options struct a policy is its flags, its table in `amb.toml` and its variables at once.
//!
//! # Invariants
//!
//! Each names what holds it: a test in `tests/it`, a lint of `Cargo.toml` or `clippy.toml`, or a type.
//!
//! 1. **A module uses only modules below it.** `run` alone knows everything; `supervise` and `proxy` do not know each
//!    other; `policy` knows `units`, `spelling` and what stands in the place of a secret (`veil`) alone, `inject` the files of
//!    `trust`, which knows nothing. Test: `layers::every_module_keeps_to_its_layer`.
//! 2. **A policy is pure**: no input or output, no clock, no dice; what it needs is an argument. It cannot fail once it
//!    was built. Test: `layers::every_module_keeps_to_its_layer`, which knows what a decision has no need of.
//! 3. **The supervisor is synchronous, alone on the main thread**, which also starts the child: the kernel ties "tell me
//!    when my parent dies" to the thread. Test: `supervise::signals::a_killed_amb_takes_its_child_along`.
//! 4. **A worker is a thread with a local runtime** and a listening socket, a pool and sums of its own. On the request path
//!    workers share no lock but a policy's that was asked for, held for a decision and never for a wait. Type: what its tasks hold is not `Send`. Lint: `disallowed-methods` forbids `tokio::spawn`.
//! 5. **HTTP/1.1 is carried by a wire of amb's own**, on which heads stay as they came and are edited by line; only httparse
//!    parses them. hyper carries what is amb's own: requests for tokens, the demo's servers. Test: `layers::every_module_keeps_to_its_layer`.
//! 6. **Every exchange and tunnel ends in exactly one [`traffic::Record`]**, to which a drop guard sees, so the sums add up.
//!    A tunnel that turns out to carry plain HTTP is no tunnel: its exchanges are the records.
//!    Tests: `records::whatever_becomes_of_a_request_it_is_one_record`,
//!    `records::whatever_becomes_of_a_tunnel_it_is_one_record`.
//! 7. **stdout is the child's**: `amb run` writes nothing to it. Its own lines go to stderr, before the child starts and
//!    after it has ended; in between only what `--progress` and the logs were asked for. Lints: `print_stdout`, `print_stderr`. Test: `supervise::inherited::much_data_passes_unharmed`.
//! 8. **What has left [`config::load`] is valid**: no other module checks it again. Test:
//!    `config::mistakes_in_all_layers_are_told_at_once`.
//! 9. **The child inherits what amb inherited**: signal mask, ignored signals, limits, open files, the environment in its
//!    order. Tests: `supervise::inherited::ignored_and_blocked_signals_stay_so`,
//!    `supervise::inherited::open_files_are_the_same`,
//!    `supervise::inherited::the_environment_keeps_its_order_and_gains_only_documented_names`.
//! 10. **Crates that shape a module are named in it alone**: `signal_hook` in `supervise`, `command_group` in `secret`,
//!     `figment` in `config`, `indicatif` and `prometheus_client` in `report`, `httparse`, `rustls` and `rcgen` in `proxy`, `cel` and `json_patch` in `policy`, `cel`
//!     in `assert`, too, `opentelemetry_proto` in `otlp`. Test:
//!     `layers::every_module_keeps_to_its_layer`.
//! 11. **Unsafe code is in five files** of `supervise`, in one of `capture` and in `main.rs`, each of which says why. Lint: `unsafe_code`. Test:
//!     `layers::every_module_keeps_to_its_layer`.
//! 12. **README, man pages and completions are what the program is.** Tests:
//!     `readme::the_table_of_options_is_that_of_the_help`, `generated::the_man_pages_are_those_of_this_command_line`.
//!
//! 13. **A key is declared in one place**: the field of its options, with what it is for, its default, its flag, whether it is
//!     dangerous in a file that was merely found. Schema, `amb config` and documentation are read off it. Tests:
//!     `config::commands::explain_names_every_layer_and_the_winner`,
//!     `config::gallery::every_mistake_is_told_so_that_it_can_be_mended`.
//!
//! 14. **What is secret is written nowhere.** All that amb writes goes through [`veil`], which knows the values; a value of
//!     `[secret]` is a [`secret::Secret`], which shows itself to nobody and is wiped. Test:
//!     `guard::leaks::no_value_is_in_anything_that_amb_writes`.
//!
//! `readme::every_invariant_names_tests_that_exist` holds this list.

// In the order of reading; blank lines, or rustfmt would sort them.

pub mod run;

pub mod proxy;

pub mod capture;

pub mod supervise;

pub mod inject;

pub mod trust;

pub mod policy;

pub mod traffic;

pub mod assert;

pub mod monitor;

pub mod otlp;
pub mod top;

pub mod report;

pub mod config;

pub mod cli;

pub mod ca;

pub mod doctor;

pub mod exit;

pub mod secret;

pub mod veil;

pub mod spelling;

pub mod units;

pub mod demo;

mod sabotage;
