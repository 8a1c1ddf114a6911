//! The command `kv`: one member, or a client of some.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    ExitCode::from(kv_example::run(std::env::args().skip(1).collect()).await)
}
