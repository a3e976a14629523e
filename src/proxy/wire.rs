//! The wire: HTTP/1.1 as bytes, HTTP/2 in its shape, and the connections that carry them.
//!
//! Heads are kept as they came and edited as lists of lines; bodies move without being re-framed. Only httparse parses heads.
//! Nothing in here knows a policy, a record or where a request goes.

pub(crate) mod buffer;
pub(crate) mod chunked;
pub(crate) mod connection;
pub(crate) mod framing;
pub(crate) mod gather;
pub(crate) mod head;
pub(crate) mod hop;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod pace;
pub(crate) mod pump;
pub(crate) mod splice;
pub(crate) mod tape;
pub(crate) mod tls;
