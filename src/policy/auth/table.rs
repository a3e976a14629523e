//! The tables that `auth` is made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AuthStyle, Reference, Text, signature::HmacOptions, sigv4::SigV4Options};
use crate::policy::matching::{host::HostPattern, several::Several};

/// An entry of `[auth]`, or the `auth` of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AuthTable {
    /// Authorization: Bearer, with this secret
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Reference>,
    /// Authorization: Basic, with a user and a password
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicOptions>,
    /// A header of this name
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderOptions>,
    /// A parameter of the query
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryOptions>,
    /// A bearer token that a token server gives amb for its own credentials
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2_client_credentials: Option<TokenOptions>,
    /// A signature of AWS, version 4
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_sigv4: Option<SigV4Options>,
    /// A keyed hash of parts of the request, in a header
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacOptions>,
    /// The hosts that it is for, in a route [default: those of its match]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Several<HostPattern>>,
    /// Take the place of what the application has put there itself [default: true]
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub overrides: Option<bool>,
    /// Send it by plain http, too; what stays on this machine always may [default: false]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub allow_plain_http: Option<bool>,
}

/// `basic`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BasicOptions {
    /// The user, or secret:NAME
    pub user: Text,
    /// The password, as secret:NAME
    pub password: Reference,
}

/// `header`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HeaderOptions {
    /// The header's name
    pub name: String,
    /// The header's value, as secret:NAME
    pub value: Reference,
    /// What stands before the value, with the space if there is to be one [default: nothing]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// `query`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QueryOptions {
    /// The parameter's name
    pub name: String,
    /// The parameter's value, as secret:NAME
    pub value: Reference,
}

/// `oauth2-client-credentials`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TokenOptions {
    /// Where tokens are got: https, or http on this machine
    pub token_url: String,
    /// Who asks, or secret:NAME
    pub client_id: Text,
    /// The client's secret, as secret:NAME
    pub client_secret: Reference,
    /// What the token is to be good for; of a list, all of it [default: what the server gives]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Several<String>>,
    /// Whom it is to be good for, where the server asks that [default: not said]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Where the proof stands: in a header or in the body [default: header]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "header"))]
    pub auth_style: Option<AuthStyle>,
}
