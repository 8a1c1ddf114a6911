//! `kvd`: one member of the replicated key-value service. All of it is in the library.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match quorum_example::kvd(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "kvd: {failure}");
            ExitCode::FAILURE
        }
    }
}
