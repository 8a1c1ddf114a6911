//! `kvctl`: the client of the replicated key-value service. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorum_example::kvctl(std::env::args_os().skip(1), std::env::var("KVCTL_SERVERS").ok())
}
