//! `netsplit schema`, `completions`, `man`: made from the code, never written by hand.

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use netsplit_model::{Record, VerdictFile};
use serde_json::Value;

use crate::args::{Cli, CompletionsArgs, ManArgs, SchemaArgs, SchemaOf};
use crate::output::Output;

pub(crate) fn schema(args: &SchemaArgs, output: Output) -> anyhow::Result<ExitCode> {
    output.out(serde_json::to_string_pretty(&schema_of(args.of)?)?);
    Ok(ExitCode::SUCCESS)
}

fn schema_of(of: SchemaOf) -> anyhow::Result<Value> {
    Ok(match of {
        SchemaOf::Scenario => netsplit_scenario::schema(),
        SchemaOf::Events => serde_json::to_value(schemars::schema_for!(Record))?,
        SchemaOf::Verdict => serde_json::to_value(schemars::schema_for!(VerdictFile))?,
    })
}

pub(crate) fn completions(args: &CompletionsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "netsplit", &mut text);
    output.out(String::from_utf8(text)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(&args.dir).with_context(|| format!("`{}` cannot be made", args.dir.display()))?;
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .with_context(|| format!("`{}` cannot be written", args.dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use netsplit::netmodel::nat::{NatBehaviour, NatKind, NatRule, Ports};

    use super::*;

    /// `UPDATE=1 cargo test -p netsplit-cli committed` writes them anew.
    #[test]
    fn the_committed_schemas_are_these() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema");
        for of in SchemaOf::value_variants() {
            let name = of.to_possible_value().unwrap().get_name().to_owned();
            let text = serde_json::to_string_pretty(&schema_of(*of).unwrap()).unwrap() + "\n";
            check_committed(&format!("{folder}/{name}.json"), &text);
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scenario.md");
        check_committed(page, &netsplit_scenario::reference());
        check_tables("faults.md", &super::super::presets::tables());
        check_tables("networks.md", &[("kinds", kinds())]);
    }

    /// What the code knows in a page that is written by hand.
    fn check_tables(page: &str, tables: &[(&str, String)]) {
        let page = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
        let mut text = fs::read_to_string(&page).unwrap();
        for (name, table) in tables {
            let begin = format!("<!-- made: {name} -->\n");
            let at = text.find(&begin).expect("the page has a place for it") + begin.len();
            let end = at + text[at..].find("<!-- end -->").expect("the place has an end");
            text.replace_range(at..end, table);
        }
        check_committed(&page, &text);
    }

    /// What routers do, by their kinds.
    fn kinds() -> String {
        let mut table = "| kind | IPv4 outside | who gets in | ports outside | from inside to the outside address | UDP is forgotten after |\n\
                         | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for kind in NatKind::ALL {
            let NatBehaviour { mapping, filtering, ports, hairpin, udp_timeout, .. } = kind.behaviour();
            let is_translator = mapping.is_some();
            let addresses = match mapping {
                None => "as inside",
                Some(NatRule::EndpointIndependent) => "the router's, a port for each port inside",
                Some(NatRule::AddressDependent) => "the router's, a port for each address spoken to",
                Some(NatRule::AddressAndPortDependent) => "the router's, a port for each port spoken to",
            };
            let who = match filtering {
                None => "all",
                Some(NatRule::EndpointIndependent) => "all, at ports that have spoken to anybody",
                Some(NatRule::AddressDependent) => "any port of an address that was spoken to",
                Some(NatRule::AddressAndPortDependent) => "the very port that was spoken to",
            };
            let ports = match ports {
                _ if !is_translator => "-".to_owned(),
                Ports::Kept => "as inside, if free".to_owned(),
                Ports::Random => "random".to_owned(),
                Ports::Blocks(count) => format!("{count} for each host"),
            };
            let back = if !is_translator {
                "-"
            } else if hairpin {
                "passes"
            } else {
                "does not pass"
            };
            let minutes = udp_timeout.as_secs() / 60;
            let forgets = if filtering.is_some() { format!("{minutes} min") } else { "-".to_owned() };
            table += &format!("| `{kind}` | {addresses} | {who} | {ports} | {back} | {forgets} |\n");
        }
        table
    }

    fn check_committed(path: &str, text: &str) {
        let committed = fs::read_to_string(path).unwrap_or_default();
        if committed != text && std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            return;
        }
        assert!(committed == text, "{path} is not what the code makes; UPDATE=1 writes it anew");
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
