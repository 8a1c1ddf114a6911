//! Scenario files.
#![allow(dead_code, missing_docs)]
mod source;
mod toml;
