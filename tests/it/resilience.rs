//! What amb does about servers that fail, are slow or are asked too much.

mod breaker;
mod limits;
