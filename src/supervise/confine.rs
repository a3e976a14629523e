//! Holds the child, and all that comes from it, to the proxy: TCP can be connected to the proxy's port and to nothing else.
//!
//! The kernel does it, by Landlock, without privileges and without a cost to what is allowed. The ruleset is made here; the
//! child enters it between fork and exec ([`super::child`]).

use std::{
    fmt,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use landlock::{AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the command is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confine {
    /// It may connect to whatever it likes
    #[default]
    Off,
    /// TCP leads to amb's proxy only
    Tcp,
}

/// Why nothing can be confined.
#[derive(Clone, Debug, Error)]
#[error(
    "this kernel cannot hold a command to the proxy: {reason}\nhint: --confine tcp needs Linux 6.7, with landlock among its \
     security modules; amb doctor says whether it is"
)]
pub struct ConfineError {
    /// In the kernel's or the library's words.
    pub reason: String,
}

/// What a child may connect to, as the kernel knows it.
pub struct Confinement {
    /// Closed by exec, and by amb when the child has been started.
    ruleset: OwnedFd,
}

impl fmt::Debug for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Confinement({})", self.ruleset.as_raw_fd())
    }
}

impl Confinement {
    /// TCP to this port and to no other. Rules know ports and no addresses: this port of every host.
    ///
    /// # Errors
    /// The kernel cannot.
    pub fn to(port: u16) -> Result<Self, ConfineError> {
        let because = |reason: &dyn fmt::Display| ConfineError {
            reason: reason.to_string(),
        };
        let ruleset = Ruleset::default()
            // The library leaves out what a kernel does not know, unless it is told that all is wanted.
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessNet::ConnectTcp)
            .and_then(Ruleset::create)
            .and_then(|ruleset| ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp)))
            .map_err(|reason| because(&reason))?;
        let ruleset: Option<OwnedFd> = ruleset.into();
        let ruleset = ruleset.ok_or_else(|| because(&"it knows no rules"))?;
        Ok(Self { ruleset })
    }

    /// Whether the kernel can.
    ///
    /// # Errors
    /// Why not.
    pub fn possible() -> Result<(), ConfineError> {
        Self::to(1).map(drop)
    }

    /// The ruleset, for the child to enter.
    pub(super) fn ruleset(&self) -> RawFd {
        self.ruleset.as_raw_fd()
    }
}
