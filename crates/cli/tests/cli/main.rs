//! The command line as a user has it: the built program, run in a folder of its own.

mod faults;
mod networks;
mod run;
mod shells;
mod signals;
mod support;
mod testbeds;
