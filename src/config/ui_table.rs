//! The table `[ui]`: a page that shows a run while it goes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::run_table::ListenAddress;

/// The table `[ui]`, its flag and its variable `AMB_UI__LISTEN`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct UiOptions {
    /// Show requests as they end on a page on this machine, whose address is written to stderr [default: no page]
    ///
    /// It is for the user who starts amb alone, with a token in its address, and there as long as the run. Without ADDR it takes
    /// a free port of 127.0.0.1.
    #[arg(
        id = "ui.listen",
        long = "ui",
        value_name = "ADDR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "127.0.0.1:0",
        help_heading = "Observability"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-danger" = "opens a page that shows the requests"))]
    pub listen: Option<ListenAddress>,
}
