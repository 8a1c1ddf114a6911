//! `netsplit explain NAME`: the page of a message.

use std::process::ExitCode;

use netsplit_model::{Reason, Trouble, nearest};

use crate::args::ExplainArgs;
use crate::output::Output;

/// A section a name; also docs/errors.md.
const PAGES: &str = include_str!("../errors.md");

pub(crate) fn run(args: &ExplainArgs, output: Output) -> anyhow::Result<ExitCode> {
    let Some(name) = &args.name else {
        for reason in Reason::ALL {
            output.out(format!("{reason:<22}{}", first_line(*reason)));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let wanted = name.trim_matches(['[', ']']);
    let Some(reason) = Reason::named(wanted) else {
        let near = nearest(wanted, Reason::ALL.iter().map(|reason| reason.as_str()));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Trouble::new(Reason::UnknownName, format!("no message is called `{wanted}`{hint}"))
            .guess("netsplit explain")
            .into());
    };
    output.out(page(reason).unwrap_or_default().trim());
    Ok(ExitCode::SUCCESS)
}

fn first_line(reason: Reason) -> String {
    let page = page(reason).unwrap_or_default();
    page.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// The section called `reason`, with its heading.
fn page(reason: Reason) -> Option<&'static str> {
    let heading = format!("## {reason}\n");
    let start = PAGES.find(&heading)?;
    let rest = &PAGES[start + heading.len()..];
    let end = rest.find("\n## ").map_or(PAGES.len(), |end| start + heading.len() + end);
    Some(&PAGES[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_page() {
        for reason in Reason::ALL {
            let page = page(*reason).unwrap_or_default();
            assert!(page.len() > 60, "`{reason}` needs a page in errors.md");
        }
        let sections = PAGES.lines().filter_map(|line| line.strip_prefix("## "));
        for name in sections {
            assert!(Reason::named(name).is_some(), "`{name}` in errors.md is no name");
        }
    }

    #[test]
    fn the_document_is_the_same() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let document = std::fs::read_to_string(document).unwrap();
        assert!(document == PAGES, "cp docs/errors.md crates/cli/src/errors.md");
    }
}
