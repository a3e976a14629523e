//! Whether amb says in `Via` that it was here ([RFC 9110 §7.6.3]).
//!
//! [RFC 9110 §7.6.3]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.3

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The table `[headers]`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ViaOptions {
    /// Add a Via header to requests and responses [default: on]
    #[arg(
        id = "headers.via",
        long = "no-via",
        help = "Leave out the Via header that amb adds to requests and responses",
        num_args = 0,
        default_missing_value = "false",
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub via: Option<bool>,
}
