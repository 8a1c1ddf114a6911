//! Scenario files: reading them, finding every mistake in them, and what a runner needs to run them. Nothing here runs
//! anything.
//!
//! Start at [`Scenario::load`]. A [`Loaded`] scenario has nothing unknown in it: its [`Case`]s have [`Test`]s, these
//! have [`Step`]s, and a step is one [`Verb`] with exactly the words that may follow it. What is wrong comes back as
//! [`Mistakes`], all at once, and draws itself. [`Values`] fills in `%{…}` while it runs. The language itself is data in
//! `grammar.rs`: [`schema()`] for editors and [`reference()`] for people are made from it.

mod draw;
mod fault;
mod fields;
mod grammar;
mod ledger;
mod load;
mod names;
mod new;
mod read;
mod reference;
mod scenario;
mod schema;
mod source;
mod step;
mod toml;
mod values;

pub use netsplit_report::draw::Level;
pub use netsplit_report::paint::Paint;

pub use crate::{
    draw::Mistakes,
    fault::{Capture, Fault, FaultLinks, Heal, LinkEnds, Regions},
    load::{Linted, Overrides, lint},
    new::new_scenario,
    reference::reference,
    scenario::{
        Build, Case, Deadlines, File, Limit, Loaded, Need, Network, Role, Router, Scenario, StepAt, Test,
        Variable,
    },
    schema::schema,
    source::Sources,
    step::{
        Checks, Command, Content, Env, Exit, Expect, Find, Get, HowMany, JsonCheck, JsonValue, Judged,
        Listen, LocalPath, Matcher, Never, Number, Pattern, Process, ProcessRef, Program, Put, Run, Same,
        Save, Saved, Select, Since, Start, Step, Stop, Text, Verb, Wait, WaitFor, Where,
    },
    values::{FileTemplate, HostFacts, Values},
};
